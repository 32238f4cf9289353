"""Golden texts, made of the golden JSON of the wire: what people read, at 80 columns."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.api.client import NotPermitted, Rejected
from qsup.cli.render.amounts import age, precise_moment
from qsup.cli.render.audit_text import audit_text, explain_text, rules_text
from qsup.cli.render.columns import aligned
from qsup.cli.render.command_line import command_line_text, explained_text
from qsup.cli.render.event_line import event_line
from qsup.cli.render.fault import fault_text
from qsup.cli.render.host_status import host_text
from qsup.cli.render.start_timeline import timeline_text
from qsup.cli.render.verify_table import mended_text, table_text, verify_text
from qsup.cli.render.vm_list import list_text
from qsup.cli.render.vm_status import status_text
from qsup.cli.render.wait_text import history_text, wait_text
from qsup.cli.terminal import PLAIN, Style, printable, style_of

WIRE = Path(__file__).parents[1] / "api" / "golden"
GOLDEN = Path(__file__).parent / "golden"
NOW_S = 1_769_871_384.0
VERIFIED_S = 1_769_864_060.0


def wire(name: str) -> Any:
    return json.loads((WIRE / f"{name}.json").read_text())


def fault(name: str) -> str:
    return fault_text(Rejected(500, wire(f"error-{name}")), "web1")


def verified_pages() -> Any:
    """Base pages that are huge in part, and pages of which only smaps tells."""
    row = {**wire("verify")["memory"][0], "page_size_bytes": 4096, "page_size_in_force_bytes": 4096}
    huge = {**row, "pages": [{"host_node": 0, "count": 1 << 20}], "transparent_huge_bytes": 3 << 30}
    untold: dict[str, object] = {"pages": [], "policy_in_force": None, "local_percent": None, "verdict": "unknown"}
    memory = [huge, {**row, "backend": "mem1", **untold, "note": "no numa_maps", "transparent_huge_bytes": 0}]
    return {**wire("verify"), "threads": [], "nics": [], "disks": [], "memory": memory}


TEXTS: dict[str, Callable[[], str]] = {
    "list": lambda: list_text(wire("vms")["vms"], PLAIN, 80),
    "list-piped": lambda: list_text(wire("vms")["vms"], PLAIN, None),
    "list-coloured": lambda: list_text(wire("vms")["vms"], Style(True), 80),
    "list-empty": lambda: list_text([], PLAIN, 80),
    "list-starting": lambda: list_text(wire("vms-starting")["vms"], PLAIN, 120),
    "status-full": lambda: status_text(wire("vm-full"), PLAIN, NOW_S),
    "status-mixed-pages": lambda: status_text(
        {**wire("vm-full"), "page_size_bytes": None, "page_sizes_bytes": [1 << 30, 4096]}, PLAIN, NOW_S
    ),
    "status-bare": lambda: status_text(wire("vm-bare"), PLAIN, NOW_S),
    "status-refused": lambda: status_text(wire("vm-refused"), PLAIN, NOW_S),
    "status-starting": lambda: status_text(wire("vm-starting"), PLAIN, NOW_S),
    "status-silent": lambda: status_text({**wire("vm-full"), "phase": "unresponsive", "silent_s": 95.2}, PLAIN, NOW_S),
    "status-trouble": lambda: status_text({**wire("vm-refused"), "refusal": []}, PLAIN, NOW_S),
    "verify": lambda: table_text(wire("verify"), PLAIN, VERIFIED_S, 120),
    "verify-80": lambda: table_text(wire("verify"), PLAIN, VERIFIED_S, 80),
    "verify-piped": lambda: table_text(wire("verify"), PLAIN, VERIFIED_S, None),
    "verify-coloured": lambda: table_text(wire("verify"), Style(True), VERIFIED_S, 120),
    "verify-all": lambda: verify_text(wire("verify-all")["vms"], PLAIN, VERIFIED_S, 80),
    "verify-pages": lambda: table_text(verified_pages(), PLAIN, VERIFIED_S, 80),
    "verify-none": lambda: verify_text([], PLAIN, VERIFIED_S, 80),
    "audit": lambda: audit_text(wire("audit"), PLAIN, 80),
    "audit-brief": lambda: audit_text(wire("audit"), PLAIN, 80, brief=True),
    "audit-coloured": lambda: audit_text(wire("audit"), Style(True), 120),
    "audit-sound": lambda: audit_text({**wire("audit"), "findings": [], "unknown": [], "notes": []}, PLAIN, 80),
    "audit-rule": lambda: explain_text(wire("audit-rule"), PLAIN, 80),
    "audit-rules": lambda: rules_text([wire("audit-rule")], PLAIN, None),
    "repair-memory": lambda: mended_text(wire("repair-memory")),
    "repair-memory-idle": lambda: mended_text({**wire("repair-memory"), "backends": []}),
    "host": lambda: host_text(wire("host")),
    "wait": lambda: wait_text(wire("wait"), False, PLAIN, 80),
    "wait-piped": lambda: wait_text(wire("wait"), False, PLAIN, None),
    "wait-coloured": lambda: wait_text(wire("wait"), False, Style(True), 80),
    "wait-of-one": lambda: wait_text(wire("wait-of-one"), True, PLAIN, None),
    "wait-history": lambda: history_text(wire("wait-of-one")["history"], PLAIN, 80),
    "timeline": lambda: timeline_text("web1", wire("vm-full")["starts"], PLAIN, 80),
    "timeline-two": lambda: timeline_text("web1", wire("timeline")["starts"], PLAIN, 80),
    "events": lambda: "\n".join(event_line(event, PLAIN) for event in wire("events")["events"]),
    "cmdline": lambda: command_line_text(["qemu", "-name", "guest=a b", "-append", "x 'y'", "-S"]),
    "cmdline-explained": lambda: explained_text("qemu", wire("cmdline")["options"]),
    **{f"fault-{path.stem[6:]}": lambda name=path.stem[6:]: fault(name) for path in WIRE.glob("error-*.json")},  # type: ignore[misc]
    "fault-not-permitted": lambda: fault_text(NotPermitted("you may not", "be root")),
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_golden_text(name: str, regenerate: bool) -> None:
    path = GOLDEN / f"{name}.txt"
    text = TEXTS[name]() + "\n"
    if regenerate:
        path.write_text(text)
    assert text == path.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == sorted(TEXTS)


@pytest.mark.parametrize(
    "name", ["list", "timeline", "timeline-two", "host", "verify-80", "verify-pages", "wait", "wait-history"]
)
def test_fits_80_columns(name: str) -> None:
    assert max(map(len, TEXTS[name]().splitlines())) <= 80


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7384, "2 h 3 min"),
        (1e6, "11 d 13 h"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_moments_round_into_the_next_second() -> None:
    assert precise_moment(0.9996) == "1970-01-01 00:00:01.000"


@given(st.text())
def test_printable_text_steers_no_terminal(text: str) -> None:
    assert all(char in "\n\t" or not (ord(char) < 32 or 127 <= ord(char) < 160) for char in printable(text))


@given(st.lists(st.lists(st.text("ab –", max_size=30), min_size=3, max_size=3), max_size=6), st.integers(20, 200))
def test_columns_are_aligned(rows: list[list[str]], width: int) -> None:
    lines = aligned([[cell.strip() for cell in row] for row in rows], width=width)
    assert len(lines) == len(rows)


@pytest.mark.parametrize(
    ("is_terminal", "environment", "coloured"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {}, True),
        (False, {"TERM": "xterm"}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_when_there_are_colours(is_terminal: bool, environment: dict[str, str], coloured: bool) -> None:
    assert style_of(is_terminal, environment).colour("red", "x") == ("\x1b[31mx\x1b[0m" if coloured else "x")


def test_without_a_wish_there_are_no_colours() -> None:
    assert PLAIN.colour("red", "x") == "x"
    assert Style(True).colour("red", "x") == "\x1b[31mx\x1b[0m"
    assert Style(True).colour("red", "") == ""
