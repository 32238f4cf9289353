"""The launch record: what was launched, written before QEMU runs, read by every later daemon.

Strategy: adoption believes this record and never plans anew. `format_version` grows with every change that an older qsup
cannot read; records of all released versions stay readable (a golden file of each lies with the tests), one of a newer
version is refused with its number. A field that is added needs a default, then older records of the same version are whole.
"""

from __future__ import annotations

from typing import Any, Literal

from attrs import frozen

from qsup.argv.option import Option
from qsup.plan.vmplan import VmPlan
from qsup.process.atomic import write_atomically
from qsup.process.identity import ProcessIdentity
from qsup.process.json_shape import document_of, structure, text_of

FORMAT_VERSION = 1
_LARGEST_BYTES = 16 << 20

Stage = Literal["spawned", "greeted", "running"]


@frozen
class LaunchRecord:
    """One launch. `argv` is the argument vector as it ran, `options` the same with the reasons.

    `stage` is the last one that this VM is known to have reached. "spawned": a stub, or a QEMU that may not have greeted yet;
    "greeted": QMP answered once, so that silence means trouble; "running": its vCPUs were let go. `identity` None: written
    before the spawn. `qemu_version` is what the binary said of itself. `scope` is the systemd unit.
    """

    name: str
    identity: ProcessIdentity | None
    argv: tuple[str, ...]
    plan: VmPlan
    spec_text: str
    spec_file: str
    qemu_version: tuple[int, int, int]
    uid: int | None
    scope: str | None
    created_at_s: float
    boot_id: str
    daemon_version: str
    options: tuple[Option, ...] = ()
    stage: Stage = "spawned"
    format_version: int = FORMAT_VERSION


@frozen
class UnreadableRecord:
    """There is a record, but it cannot be used; `reason` is one sentence. `format_version` as far as it could be read."""

    path: str
    reason: str
    format_version: int | None = None


def write_record(path: str, record: LaunchRecord) -> None:
    """Write the record, whole or not at all.

    Raises:
        KernelRefused: process.write-refused, process.disk-full.
    """
    write_atomically(path, text_of(record).encode())


def read_record(path: str) -> LaunchRecord | UnreadableRecord | None:
    """The record at the path; None where there is none.

    Returns:
        UnreadableRecord where it is not a record, is damaged, or comes from a newer qsup.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        return UnreadableRecord(path, f"it cannot be read: {error.strerror}")
    if len(data) > _LARGEST_BYTES:
        return UnreadableRecord(path, f"it is larger than {_LARGEST_BYTES} bytes")
    return record_of(path, data)


def record_of(path: str, data: bytes) -> LaunchRecord | UnreadableRecord:
    """The record in these bytes; the path is for the message only."""
    try:
        document = document_of(data.decode("utf-8"))
    except ValueError as error:
        return UnreadableRecord(path, f"it is damaged: {error}")
    version = document.get("format_version")
    if type(version) is not int:
        return UnreadableRecord(path, "it has no format_version")
    if version not in _READERS:
        known = ", ".join(map(str, _READERS))
        return UnreadableRecord(path, f"it has format version {version}, this qsup reads {known}: use a newer qsup", version)
    try:
        return structure(_READERS[version](document), LaunchRecord)
    except ValueError as error:
        return UnreadableRecord(path, f"it is damaged: {error}", version)


def _as_it_is(document: dict[str, Any]) -> dict[str, Any]:
    return document


# format version → what makes a document of it one of the newest
_READERS = {1: _as_it_is}
