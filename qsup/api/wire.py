"""Views and errors as JSON. Field names are those of `supervisor/view.py`: they are an interface (tests/api/golden).

Strategy: a view becomes a dict of plain JSON values with the same names, None as null, tuples as lists. The client reads
these dicts as they are; the golden files under tests/api/golden keep both sides equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import cattrs

from qsup.errors import (
    BadRequest,
    InvalidInput,
    KernelRefused,
    Problem,
    QemuFailed,
    QmpLost,
    QmpRefused,
    QsupError,
    Refused,
)
from qsup.supervisor.view import CmdlineView, EventView, Outcome, VmView

Json = dict[str, object]

_converter = cattrs.Converter()

_SUMMARY_FIELDS = (
    "name",
    "phase",
    "power",
    "phase_since_s",
    "config_state",
    "description",
    "pid",
    "adopted",
    "qemu_status",
    "silent_s",
    "starting",
    "vcpus",
    "memory_bytes",
    "placement",
    "host_nodes",
    "trouble",
    "last_ending",
    "restarts",
    "next_start_in_s",
)


def vm_json(view: VmView) -> Json:
    """Everything about one VM."""
    return _object_of(view)


def vm_summary_json(view: VmView) -> Json:
    """One VM as in the list: the fields that a line needs, and how many problems, changes and reasons there are."""
    summary: Json = {name: getattr(view, name) for name in _SUMMARY_FIELDS}
    summary["host_nodes"] = list(view.host_nodes)
    summary["starting"] = _converter.unstructure(view.starting)
    summary["problem_count"] = len(view.problems)
    summary["warning_count"] = len(view.warnings)
    summary["pending_count"] = len(view.pending)
    summary["refusal_count"] = len(view.refusal)
    return summary


def vms_json(views: Sequence[VmView]) -> Json:
    """The list of VMs."""
    return {"vms": [vm_summary_json(view) for view in views]}


def timeline_json(view: VmView) -> Json:
    """The last starts of one VM, oldest first."""
    starts = sorted(view.starts, key=lambda start: start.started_at_s)
    return {"vm": view.name, "starts": [_object_of(start) for start in starts]}


def event_json(event: EventView) -> Json:
    """One event."""
    return _object_of(event)


def events_json(events: Iterable[EventView], last_seq: int) -> Json:
    """Events, and the number from which following goes on without a gap (0 where nothing has happened yet)."""
    return {"events": [event_json(event) for event in events], "last_seq": last_seq}


def cmdline_json(view: CmdlineView) -> Json:
    """A command line. `options` are objects with flag, value (or null) and why."""
    return {
        "words": list(view.words),
        "options": [{"flag": flag, "value": value, "why": why} for flag, value, why in view.options],
        "running": view.running,
    }


def outcome_json(outcome: Outcome) -> Json:
    """What a lifecycle verb did."""
    return _object_of(outcome)


def problem_json(problem: Problem) -> Json:
    """One problem of a file or of a request."""
    return _object_of(problem)


def _object_of(view: object) -> Json:
    plain = _converter.unstructure(view)
    if not isinstance(plain, dict):
        raise TypeError(f"{type(view).__name__} is no attrs class")
    return plain


_KINDS: tuple[tuple[type[QsupError], str, int, tuple[str, ...]], ...] = (
    (InvalidInput, "invalid-input", 422, ()),
    (Refused, "refused", 409, ()),
    (KernelRefused, "kernel-refused", 500, ("where", "errno")),
    (QemuFailed, "qemu-failed", 502, ("ending", "last_words")),
    (QmpRefused, "qmp-refused", 502, ("command", "error_class")),
    (QmpLost, "qmp-lost", 504, ("command", "outcome_known")),
    (BadRequest, "bad-request", 409, ()),
    (QsupError, "failed", 500, ()),
)

_STATUS_OF_CODE: Mapping[str, int] = {
    "api.unknown-vm": 404,
    "api.no-such-path": 404,
    "api.wrong-method": 405,
    "api.not-permitted": 403,
    "api.bad-json": 400,
    "api.bad-http": 400,
    "api.bad-query": 400,
    "api.needs-upgrade": 426,
    "api.slow-request": 408,
    "api.body-too-large": 413,
    "api.headers-too-large": 431,
    "api.too-many-connections": 503,
}


def error_json(error: QsupError) -> tuple[int, Json]:
    """The HTTP status and the error object: kind, code, message, hint, problems, reasons, suggestions, and its kind's own."""
    kind, status, extras = _kind_of(error)
    body: Json = {"kind": kind, "code": error.code, "message": error.message, "hint": error.hint}
    body["problems"] = _converter.unstructure(error.problems) if isinstance(error, InvalidInput) else []
    body["reasons"] = _converter.unstructure(error.reasons) if isinstance(error, Refused) else []
    body["suggestions"] = list(error.suggestions) if isinstance(error, Refused) else []
    body.update({name: getattr(error, name) for name in extras})
    return _STATUS_OF_CODE.get(error.code, status), body


def _kind_of(error: QsupError) -> tuple[str, int, tuple[str, ...]]:
    return next((kind, status, extras) for cls, kind, status, extras in _KINDS if isinstance(error, cls))


def internal_error_json() -> Json:
    """The error object for a fault of qsup itself; what happened stands in the daemon's log only."""
    return {
        "kind": "internal",
        "code": "api.internal",
        "message": "qsup met a fault of its own",
        "hint": "read the daemon's log: journalctl -u qsup",
        "problems": [],
        "reasons": [],
        "suggestions": [],
    }


def to_bytes(value: object) -> bytes:
    """JSON text as UTF-8, one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
