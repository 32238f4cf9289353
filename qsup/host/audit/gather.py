"""read_audit_facts: everything that the rules look at, in one go. Blocks: call it in a worker thread, and only when asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qsup.host.agents import read_agents
from qsup.host.audit.images import read_image, read_mounts
from qsup.host.audit.interrupts import read_interrupts
from qsup.host.audit.kvm import read_kvm
from qsup.host.audit.memory import read_memory
from qsup.host.audit.network import read_network
from qsup.host.audit.processes import read_process_limits
from qsup.host.audit.processor import read_processor
from qsup.host.audit.settings import told
from qsup.plan.host_facts import HostFacts
from qsup.plan.vmplan import VmPlan
from qsup.truth.audit.facts import AioEvents, AuditFacts, ImageTuning, VmFacts


def read_audit_facts(
    host: HostFacts,
    plans: Iterable[VmPlan],
    pids: Mapping[str, int],
    pages_taken: Mapping[tuple[int, int], int] | None,
    root: str = "/",
) -> AuditFacts:
    """The machine and its VMs as the rules see them.

    Args:
        host: the machine as the planner knows it, with the images and bridges of the plans.
        plans: of all VMs that count, running or not.
        pids: the processes of those that run, by name.
        pages_taken: the hugepages of these processes, by (host node, page size); None: not known.

    Touches:
        /proc, /sys, /etc/{tuned,default,sysconfig}, the images of the plans.
    """
    wanted = tuple(sorted(plans, key=lambda plan: plan.name))
    return AuditFacts(
        host=host,
        vms=tuple(_vm(plan, pids.get(plan.name), root) for plan in wanted),
        kvm=read_kvm(root),
        processor=read_processor(root, host.index.online),
        interrupts=read_interrupts(root),
        memory=read_memory(root, host),
        network=read_network(root, (nic.bridge for plan in wanted for nic in plan.nics)),
        images=_images(wanted, root),
        agents=read_agents(root),
        aio_events=AioEvents(told(root, "/proc/sys/fs/aio-nr"), told(root, "/proc/sys/fs/aio-max-nr")),
        pages_taken=pages_taken,
    )


def _vm(plan: VmPlan, pid: int | None, root: str) -> VmFacts:
    return VmFacts(plan, None if pid is None else read_process_limits(pid, root))


def _images(plans: Iterable[VmPlan], root: str) -> dict[str, ImageTuning]:
    """The top image of each disk."""
    tops = {disk.chain[0].path: disk.chain[0].format for plan in plans for disk in plan.disks if disk.chain}
    mounts = read_mounts(root) if tops else ()
    return {path: read_image(root, path, image_format, mounts) for path, image_format in tops.items()}
