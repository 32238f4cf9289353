"""What a start opens for its QEMU, in one turn of a worker thread: taps, vhost, images, sockets, logs, the way to KVM."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from attrs import frozen

from qsup.argv.option import Argv
from qsup.host.links import attach_tap, create_bridge
from qsup.host.taps import open_tap
from qsup.host.vhost import open_vhost
from qsup.plan.vmplan import NicPlan, VmPlan
from qsup.process.fds import FdBundle, open_fds
from qsup.process.kvm_access import grant_kvm

Queues = dict[str, Sequence[int]]


@frozen
class Opened:
    """The descriptors, which the caller closes, and the supplementary groups that QEMU needs."""

    bundle: FdBundle
    groups: tuple[int, ...]


def open_all(plan: VmPlan, argv: Argv, mark: Callable[[str], None]) -> Opened:
    """Open all that the command line names. Blocks: call it in a worker thread.

    Args:
        mark: told of each stage that has ended, "taps" and "files".

    Raises:
        KernelRefused: by its code, what the kernel refused. Nothing stays open then.

    Touches: /dev/net/tun, /dev/vhost-net, the files of the command line, the ACL of /dev/kvm.
    """
    with _Nics() as nics:
        for nic in plan.nics:
            nics.open(nic)
        mark("taps")
        bundle = open_fds(argv, taps=nics.taps, vhosts=nics.vhosts)
    try:
        groups = grant_kvm(plan.uid) if plan.uid is not None and plan.accel == "kvm" else ()
    except BaseException:
        bundle.close()
        raise
    mark("files")
    return Opened(bundle, groups)


def join_bridges(plan: VmPlan) -> None:
    """Make each nic's tap, which somebody holds open, a port of its bridge. Blocks: call it in a worker thread.

    Raises:
        KernelRefused: by its code, what the kernel refused.

    Touches: what `create_bridge` and `attach_tap` touch.
    """
    for nic in plan.nics:
        if nic.create_bridge:
            create_bridge(nic.bridge)
        attach_tap(nic.tap, nic.bridge, nic.mtu)


class _Nics:
    """The open taps and vhost descriptors of a VM, by nic id; left, they are closed, since the bundle has copies."""

    def __init__(self) -> None:
        self.taps: Queues = {}
        self.vhosts: Queues = {}

    def __enter__(self) -> _Nics:
        return self

    def open(self, nic: NicPlan) -> None:
        self.taps[nic.nic_id] = open_tap(nic.tap, nic.queues)
        if nic.vhost:
            self.vhosts[nic.nic_id] = open_vhost(nic.queues)

    def __exit__(self, *_: object) -> None:
        for queues in (*self.taps.values(), *self.vhosts.values()):
            for descriptor in queues:
                os.close(descriptor)
