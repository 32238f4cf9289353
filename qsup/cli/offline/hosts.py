"""The machine that an offline verb looks at: this one, or a recorded one (a tree, or a tree packed into a JSON file)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from attrs import evolve, frozen

from qsup.errors import BadRequest, InvalidInput, Problem
from qsup.host.assumptions import assumptions_of
from qsup.host.block_locality import node_of_path
from qsup.host.facts import read_host_facts
from qsup.host.record import parse_tree, write_tree
from qsup.plan.host_facts import BridgeFacts, FileFacts, HostFacts, ImageFacts
from qsup.plan.ledger import Ledger
from qsup.spec.vmspec import VmSpec

THIS_HOST = "this host"
_LARGEST_BYTES = 64 << 20
_ROOTS = ("sys", "proc")
_MEMORY_DIR = "/dev/shm"
_RIGHTS = "the daemon's rights there are not known: KVM, vhost and everything else is permitted"
_FILES = "images, boot files and bridges that VMs name are there"
_MOST_NAMED = 3


@frozen
class Host:
    """One machine. `root` stands before /sys and /proc; `recorded` is None for this machine, else where it came from."""

    root: str
    recorded: str | None
    assumptions: tuple[str, ...]

    @property
    def name(self) -> str:
        """For people."""
        return self.recorded or THIS_HOST


@contextmanager
def open_host(recorded: str | None) -> Iterator[Host]:
    """This machine, or the recorded one at a path.

    Raises:
        BadRequest: cli.no-such-host. InvalidInput: cli.not-a-recording.

    Touches: with a JSON file a temporary directory, which is removed.
    """
    if recorded is None:
        yield Host("/", None, assumptions_of("/"))
        return
    if os.path.isdir(recorded):
        yield _recorded(recorded, os.path.abspath(recorded))
        return
    with tempfile.TemporaryDirectory(prefix="qsup-host-", dir=_memory_dir()) as root:
        _unpack(recorded, root)
        yield _recorded(recorded, root)


def _memory_dir() -> str | None:
    """Where thousands of small files cost nothing; None (the default directory) where that place cannot be written."""
    return _MEMORY_DIR if os.access(_MEMORY_DIR, os.W_OK | os.X_OK) else None


def _recorded(path: str, root: str) -> Host:
    if root == "/" or not any(os.path.isdir(os.path.join(root, name)) for name in _ROOTS):
        raise no_recording(path, "it holds neither sys/ nor proc/")
    return Host(root, path, assumptions_of(root))


def _unpack(path: str, root: str) -> None:
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        hint = "record one with: qsup topology --record DIR"
        raise BadRequest("cli.no-such-host", f"{path} cannot be read: {error.strerror}", hint) from None
    except ValueError as error:
        raise BadRequest("cli.no-such-host", f"{path!r} cannot be read: {error}", "name a directory or a file") from None
    try:
        if len(data) > _LARGEST_BYTES:
            raise ValueError(f"it is larger than {_LARGEST_BYTES >> 20}MiB")
        write_tree(parse_tree(data.decode("utf-8")), root)
    except (ValueError, OSError, RecursionError) as error:
        raise no_recording(path, str(error) or type(error).__name__) from None


def no_recording(path: str, why: str) -> InvalidInput:
    """The refusal of something that is no recorded host."""
    hint = "name a directory that qsup topology --record made, or such a tree as one JSON file"
    return InvalidInput((Problem("cli.not-a-recording", f"this is no recorded host: {why}", hint, file=path),))


def facts_of(host: Host, specs: Iterable[VmSpec], ledger: Ledger) -> tuple[HostFacts, tuple[str, ...]]:
    """The machine with everything that the VMs name, and what was assumed of it beyond `host.assumptions`.

    Images that a VM of the ledger has open count as unlocked: the ledger itself says who may write what.
    """
    named = tuple(specs)
    bridges = {nic.bridge for spec in named for nic in spec.nics}
    images = {disk.path: disk.format for spec in named for disk in spec.disks}
    files = {path for spec in named for path in _boot_files(spec)}
    if host.recorded is None:
        facts = read_host_facts(bridges=sorted(bridges), images=sorted(images.items()), files=sorted(files))
        facts = _without_own_locks(facts, ledger)
        return (facts, ()) if os.geteuid() == 0 else (_permitted(facts), (_RIGHTS,))
    facts = read_host_facts(bridges=sorted(bridges), root=host.root)
    facts = evolve(
        _permitted(facts),
        bridges={name: facts.bridges.get(name) or BridgeFacts(name, 1500) for name in bridges},
        links=facts.links - bridges,
        images={
            path: ImageFacts(path, image_format, file_id=path, host_node=node_of_path(path, host.root))
            for path, image_format in images.items()
        },
        files={path: FileFacts(path) for path in files},
    )
    return facts, (_RIGHTS, *((_assumed_of_devices(facts),) if bridges or images or files else ()))


def _assumed_of_devices(facts: HostFacts) -> str:
    """That what the VMs name is there; and of which of it nobody knows where its hardware sits."""
    adrift = sorted(bridge.name for bridge in facts.bridges.values() if bridge.host_node is None)
    adrift += sorted(image.path for image in facts.images.values() if image.host_node is None)
    if not adrift:
        return _FILES
    more = f" and {len(adrift) - _MOST_NAMED} more" if len(adrift) > _MOST_NAMED else ""
    return f"{_FILES}; where the hardware of {', '.join(adrift[:_MOST_NAMED])}{more} sits is not known"


def _boot_files(spec: VmSpec) -> Iterable[str]:
    boot = spec.boot
    named = (boot.bios, boot.kernel, boot.initrd, boot.uefi_code, boot.uefi_vars)
    return (path for path in named if path is not None)


def _permitted(facts: HostFacts) -> HostFacts:
    """The host as a daemon with all rights would find it."""
    return evolve(
        facts,
        kvm_problem=None,
        vhost_net=True,
        may_network=True,
        may_grow_pools=True,
        may_change_uid=True,
        may_bind_memory=True,
    )


def _without_own_locks(facts: HostFacts, ledger: Ledger) -> HostFacts:
    held = {image.path for holding in ledger.holdings.values() for disk in holding.plan.disks for image in disk.chain}
    return evolve(
        facts,
        images={
            path: evolve(image, locked_by_other=False, written_by_other=False) if path in held else image
            for path, image in facts.images.items()
        },
    )
