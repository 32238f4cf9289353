"""What runs on this host right now: from the daemon, else from the launch records of its run directory."""

from __future__ import annotations

import os
from collections.abc import Mapping

from attrs import field, frozen

from qsup.api.client import Client, ClientError, DaemonAbsent, NotPermitted, vm_path
from qsup.api.ledger_wire import ledger_of
from qsup.errors import InvalidInput, KernelRefused, QsupError
from qsup.host.pages import pages_taken
from qsup.plan.ledger import Holding, Ledger
from qsup.process.offline import status_offline
from qsup.process.record import LaunchRecord, read_record
from qsup.process.run_dir import LAUNCH_RECORD, vm_dir_of, vm_names
from qsup.spec.parse import parse_vm
from qsup.spec.vmspec import VmSpec

_DAEMON = "the running daemon"
_SMALLEST_HUGEPAGE_BYTES = 1 << 21


@frozen
class Current:
    """Who holds what. `specs` are what running VMs were asked for, as far as known.

    `waiting` are files of VMs that are wanted and do not run, `files` those of all VMs that the daemon knows. `basis` is for
    people; `notes` say what could not be found out.
    """

    ledger: Ledger = field(factory=Ledger)
    basis: str = "nothing runs"
    specs: Mapping[str, VmSpec] = field(factory=dict)
    waiting: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    by_daemon: bool = False


def current_of(run_dir: str, *, with_files: bool = True) -> Current:
    """The VMs of this host. Never raises for a daemon that is not there or may not be asked: the notes say so.

    Args:
        with_files: also what the running VMs were asked for, and the files of those that wait; one request more each.
    """
    client = Client(run_dir)
    try:
        ledger = ledger_of(client.get("/v1/ledger"))
        return _by_daemon(client, ledger) if with_files else Current(ledger, _DAEMON, by_daemon=True)
    except DaemonAbsent:
        return _by_records(run_dir, ())
    except NotPermitted as fault:
        return _by_records(run_dir, (f"{fault.message}: its VMs are not seen",))
    except (ClientError, ValueError) as fault:
        return _by_records(run_dir, (f"the daemon does not tell what its VMs hold ({fault}): launch records are read",))


def _by_daemon(client: Client, ledger: Ledger) -> Current:
    specs: dict[str, VmSpec] = {}
    files: list[str] = []
    waiting: list[str] = []
    for vm in client.get("/v1/vms")["vms"]:
        path = client.get(vm_path(vm["name"]))["config_file"]
        if not path or vm["config_state"] == "removed":
            continue
        files.append(path)
        if vm["name"] not in ledger.holdings:
            waiting += [path] if vm["power"] != "off" else []
        elif (spec := _spec_at(path, vm["name"])) is not None:
            specs[vm["name"]] = spec
    return Current(ledger, _DAEMON, specs, tuple(waiting), tuple(files), by_daemon=True)


def _spec_at(path: str, name: str) -> VmSpec | None:
    try:
        with open(path, encoding="utf-8") as file:
            return parse_vm(file.read(), file=path, name=name)
    except (OSError, ValueError, InvalidInput):
        return None


def _by_records(run_dir: str, notes: tuple[str, ...]) -> Current:
    try:
        names = vm_names(run_dir)
    except QsupError as error:
        return Current(notes=(*notes, f"no launch record can be read: {error.message}"))
    ledger, specs, unread = Ledger(), dict[str, VmSpec](), list[str]()
    for name in names:
        state = status_offline(run_dir, name)
        if state == "not-running":
            continue
        record = read_record(os.path.join(vm_dir_of(run_dir, name), LAUNCH_RECORD))
        if not isinstance(record, LaunchRecord):
            unread.append(f"{name} seems to run, but its launch record cannot be read: what it holds is not counted")
            continue
        ledger = ledger.reserved(_holding_of(record))
        if (spec := _spec_of(record)) is not None:
            specs[name] = spec
    basis = "launch records, without a daemon" if ledger.holdings else "nothing runs"
    return Current(ledger, basis, specs, notes=(*notes, *unread))


def _spec_of(record: LaunchRecord) -> VmSpec | None:
    try:
        return parse_vm(record.spec_text, file=record.spec_file, name=record.name)
    except InvalidInput:
        return None


def _holding_of(record: LaunchRecord) -> Holding:
    try:
        pages = pages_taken(record.identity.pid) if record.identity is not None else {}
    except KernelRefused:
        pages = {}
    huge = {key: count for key, count in pages.items() if key[1] >= _SMALLEST_HUGEPAGE_BYTES}
    base: dict[int, int] = {}
    for (node, size), count in pages.items():
        if size < _SMALLEST_HUGEPAGE_BYTES:
            base[node] = base.get(node, 0) + count * size
    return Holding(record.plan, huge, base, grown=True)
