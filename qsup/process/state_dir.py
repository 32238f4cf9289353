"""The state directory: what must survive a reboot. And the note of added hugepages, which must not.

    STATE_DIR/vms/NAME/       0700
      guest.json              the guest-visible hardware (GuestRecord)
      power.json              the operator's last order, with the boot it was given in; why the VM is left down
      uefi-vars.fd            the VM's own copy of the UEFI variables (PathsPlan says where exactly)
    RUN_DIR/vms/NAME/
      pools.json              hugepages added for this VM

A file that is damaged is never taken for a missing one: a guest would silently get other hardware.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Literal, TypeVar

from attrs import frozen

from qsup.errors import InvalidInput, Problem
from qsup.plan.guest_record import GuestRecord
from qsup.plan.vmplan import PathsPlan
from qsup.process.atomic import write_atomically
from qsup.process.identity import ProcessIdentity
from qsup.process.json_shape import document_of, structure, text_of
from qsup.process.procfs import boot_id
from qsup.process.refusals import refusing

T = TypeVar("T")
Power = Literal["on", "paused", "off"]

GUEST_RECORD = "guest.json"
POWER_NOTE = "power.json"
POOLS_NOTE = "pools.json"


@frozen
class EndOrder:
    """This very process is to end, whoever is the daemon by then: to start again, or without asking the guest."""

    identity: ProcessIdentity
    restart: bool = False
    force: bool = False


@frozen
class LeftDown:
    """Why a VM is not started again by itself, and the SHA-256 (hex) of the file with which it failed."""

    reason: str
    file_sha256: str


@frozen
class PowerNote:
    """The operator's last order, which holds until the host reboots; `end` is what is still to be done for it."""

    power: Power
    boot_id: str
    end: EndOrder | None = None
    left_down: LeftDown | None = None


@frozen
class GrowthNote:
    """`count` pages were to be added to a pool that had `before` pages in all; `done`: they came.

    Written before they are added, and again after: a daemon that dies in between leaves one that is not `done`.
    """

    host_node: int
    page_size_bytes: int
    before: int
    count: int
    done: bool = False


@frozen
class _GrowthNotes:
    boot_id: str
    notes: tuple[GrowthNote, ...]


def state_dir_of(state_dir: str, name: str) -> str:
    """The state directory of one VM."""
    return os.path.join(state_dir, "vms", name)


def read_guest_record(state_dir: str, name: str) -> GuestRecord | None:
    """What the guest has seen of its hardware; None before its first start.

    Raises:
        InvalidInput: process.note-unreadable.
    """
    return _read(_file_of(state_dir, name, GUEST_RECORD), GuestRecord)


def write_guest_record(state_dir: str, name: str, record: GuestRecord) -> None:
    """Keep what the guest sees of its hardware.

    Raises:
        KernelRefused: process.state-dir-refused, process.write-refused, process.disk-full.
    """
    _write(_file_of(state_dir, name, GUEST_RECORD), record)


def read_order(state_dir: str, name: str) -> PowerNote | None:
    """The operator's last order of this boot of the host; None where there is none.

    Raises:
        InvalidInput: process.note-unreadable.
    """
    note = _read(_file_of(state_dir, name, POWER_NOTE), PowerNote)
    return note if note is not None and note.boot_id == boot_id() else None


def write_order(
    state_dir: str, name: str, power: Power, end: EndOrder | None = None, left_down: LeftDown | None = None
) -> None:
    """Keep the operator's order until the host reboots.

    Raises:
        KernelRefused: process.state-dir-refused, process.write-refused, process.disk-full.
    """
    _write(_file_of(state_dir, name, POWER_NOTE), PowerNote(power, boot_id(), end, left_down))


def ensure_uefi_vars(path: str, template: str) -> bool:
    """Give the VM its own copy of the UEFI variables, once.

    Returns:
        True where the copy was made now.

    Raises:
        KernelRefused: process.uefi-template-refused, process.state-dir-refused, process.write-refused, process.disk-full.
    """
    if os.path.exists(path):
        return False
    with refusing("process.uefi-template-refused", template, "read the UEFI variables' template"), open(template, "rb") as file:
        content = file.read()
    _make_directory(os.path.dirname(path))
    write_atomically(path, content)
    return True


def read_growth_notes(paths: PathsPlan) -> tuple[GrowthNote, ...]:
    """Hugepages added for this VM, in the order they were. Those of an earlier boot are gone with it.

    Raises:
        InvalidInput: process.note-unreadable.
    """
    notes = _read(os.path.join(paths.run_dir, POOLS_NOTE), _GrowthNotes)
    return notes.notes if notes is not None and notes.boot_id == boot_id() else ()


def write_growth_notes(paths: PathsPlan, notes: tuple[GrowthNote, ...]) -> None:
    """Keep the notes; none at all removes the file.

    Raises:
        KernelRefused: process.write-refused, process.disk-full.
    """
    path = os.path.join(paths.run_dir, POOLS_NOTE)
    if notes:
        write_atomically(path, text_of(_GrowthNotes(boot_id(), notes)).encode())
        return
    with refusing("process.write-refused", path, "remove"), suppress(FileNotFoundError):
        os.unlink(path)


def _file_of(state_dir: str, name: str, file: str) -> str:
    return os.path.join(state_dir_of(state_dir, name), file)


def _write(path: str, value: object) -> None:
    """Write what is not there already: a start writes what the last one wrote, and a disk takes its time to confirm."""
    data = text_of(value).encode()
    with suppress(OSError), open(path, "rb") as file:
        if file.read(len(data) + 1) == data:
            return
    _make_directory(os.path.dirname(path))
    write_atomically(path, data)


def _make_directory(path: str) -> None:
    with refusing("process.state-dir-refused", path, "make"):
        os.makedirs(path, 0o700, exist_ok=True)


def _read(path: str, kind: type[T]) -> T | None:
    try:
        with refusing("process.state-dir-refused", path, "read"), suppress(FileNotFoundError), open(path, "rb") as file:
            return structure(document_of(file.read().decode()), kind)
        return None
    except ValueError as error:
        message = f"{path} is damaged: {error}"
        hint = "restore it from a backup, or remove it and accept that qsup decides anew"
        raise InvalidInput((Problem("process.note-unreadable", message, hint, file=path),)) from error
