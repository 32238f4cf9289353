"""JSON shapes: golden files, which tests/cli reads too, so that both sides stay equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from attrs import evolve

from qsup.api import wire
from qsup.api.audit_wire import audit_json, rule_json
from qsup.api.top_wire import top_json
from qsup.api.verify_wire import all_verified_json, mended_json, verified_json
from qsup.api.wait_wire import wait_json, wait_line
from qsup.errors import (
    BadRequest,
    InvalidInput,
    KernelRefused,
    QemuFailed,
    QmpLost,
    QmpRefused,
    QsupError,
    Refused,
)
from qsup.truth.audit.table import rule_of
from qsup.truth.wait import ThreadWait, VmWait
from tests.api import audited, reports, tops, verified, views

GOLDEN = Path(__file__).parent / "golden"

ERRORS: dict[str, tuple[int, QsupError]] = {
    "invalid-input": (422, InvalidInput((views.PROBLEM,))),
    "refused": (409, Refused((views.REASON,), views.REFUSED_VM.suggestions)),
    "kernel-refused": (500, KernelRefused("host.tap", "/dev/net/tun", 1, "no tap: Operation not permitted", "be root")),
    "qemu-failed": (502, QemuFailed("process.died", "QEMU died", "exit status 1", "could not load\nthe bios")),
    "qmp-refused": (502, QmpRefused("stop", "GenericError", "not now")),
    "qmp-lost": (504, QmpLost("qmp.silent", "quit", "no answer after 5 s", outcome_known=False)),
    "bad-request": (409, BadRequest("supervisor.not-now", "db1 is absent: pause works when it is running")),
    "unknown-vm": (404, BadRequest("api.unknown-vm", "there is no VM called 'web'", "did you mean web1?")),
    "failed": (500, QsupError("supervisor.failed", "it did not start")),
}
SHAPES: dict[str, object] = {
    "vm-full": wire.vm_json(views.FULL_VM),
    "vm-bare": wire.vm_json(views.BARE_VM),
    "vm-refused": wire.vm_json(views.REFUSED_VM),
    "vm-starting": wire.vm_json(views.STARTING_VM),
    "vms": wire.vms_json([views.REFUSED_VM, views.BARE_VM, views.FULL_VM]),
    "vms-starting": wire.vms_json([views.STARTING_VM]),
    "verify": verified_json(verified.TROUBLED),
    "verify-all": all_verified_json([verified.ABSENT, verified.SOUND, verified.TROUBLED]),
    "repair-memory": mended_json(verified.MENDED),
    "audit": audit_json(audited.TROUBLED, audited.AT_S),
    "audit-rule": rule_json(rule_of("cpu.clocksource")),
    "events": wire.events_json([views.EVENT, views.HOST_EVENT], 8),
    "cmdline": wire.cmdline_json(views.CMDLINE),
    "outcome": wire.outcome_json(views.OUTCOME),
    "host": views.HOST,
    "wait": wait_json(reports.WAIT_REPORT, None, None),
    "wait-of-one": wait_json(reports.WAIT_REPORT, "web1", reports.WAIT_MINUTES),
    "wait-not-yet": wait_json(None, None, None),
    "top": top_json(tops.TOP_FRAME),
    "top-of-one": top_json(tops.top_of_one("web1")),
    "timeline": wire.timeline_json(evolve(views.FULL_VM, starts=tops.STARTS)),
    "error-internal": wire.internal_error_json(),
    **{f"error-{name}": wire.error_json(error)[1] for name, (_, error) in ERRORS.items()},
}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_golden_json(name: str, regenerate: bool) -> None:
    path = GOLDEN / f"{name}.json"
    text = json.dumps(SHAPES[name], indent=2, ensure_ascii=False) + "\n"
    if regenerate:
        path.write_text(text)
    assert text == path.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == sorted(SHAPES)


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_status_of_each_class(name: str) -> None:
    status, error = ERRORS[name]
    assert wire.error_json(error)[0] == status


def test_summary_fields_are_fields_of_the_view() -> None:
    whole = wire.vm_json(views.FULL_VM)
    summary = wire.vm_summary_json(views.FULL_VM)
    shared = {name: value for name, value in summary.items() if not name.endswith("_count")}
    plain = json.loads(wire.to_bytes(whole))
    assert {name: plain[name] for name in shared} == json.loads(wire.to_bytes(shared))


def test_bytes_survive_lone_surrogates() -> None:
    assert json.loads(wire.to_bytes({"text": "a\ud800b"})) == {"text": "a?b"}


def test_a_row_of_waiting_has_every_field() -> None:
    vm: dict[str, Any] = json.loads(wire.to_bytes(wait_json(reports.WAIT_REPORT, None, None)))["vms"][0]
    assert list(vm) == [field.name for field in attrs.fields(VmWait) if field.name != "classes"]
    assert list(vm["threads"][0]) == [field.name for field in attrs.fields(ThreadWait)]


@pytest.mark.parametrize("vm", [None, "web1", "nobody"])
def test_a_line_of_the_stream_says_the_same(vm: str | None) -> None:
    idle = ThreadWait("vcpu 0", "vcpu", 77, 3, 0.0, 0.0)
    (first, *rest) = reports.WAIT_REPORT.interval.vms
    fleet = (attrs.evolve(first, threads=(*first.threads, idle, idle)), *rest)
    report = attrs.evolve(reports.WAIT_REPORT, interval=attrs.evolve(reports.WAIT_REPORT.interval, vms=fleet))
    for _ in range(2):
        assert wait_line(report, vm) == wire.to_bytes(wait_json(report, vm, None))
