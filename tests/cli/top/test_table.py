"""Pages and tables: what is shown, in which order, of what; always as wide as the screen."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.cli.terminal import PLAIN, Style
from qsup.cli.top.cells import amount, milliseconds, percent, short_age, who_ran
from qsup.cli.top.columns import Page
from qsup.cli.top.frame_text import frame_text, summary
from qsup.cli.top.pages import MEMORY, PAGES, THREADS, VMS, WAITING
from qsup.cli.top.table import Table
from tests.cli.top.frames import crowd, of_one, three

GOLDEN = Path(__file__).parent / "golden"
SCREENS: dict[str, tuple[dict[str, Any], Page, int]] = {
    **{f"{page.name}-3": (three(), page, 80) for page in PAGES},
    "VMs-3-wide": (three(), VMS, 140),
    "threads-80": (of_one(), THREADS, 80),
    "threads-wide": (of_one(), THREADS, 120),
    "VMs-100": (crowd(100), VMS, 80),
    "waiting-100": (crowd(100), WAITING, 80),
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("name", sorted(SCREENS))
def test_golden_text(name: str, regenerate: bool) -> None:
    frame, page, width = SCREENS[name]
    text = frame_text(frame, Table(page), PLAIN, width) + "\n"
    path = GOLDEN / f"{name}.txt"
    if regenerate:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
    assert max(map(len, text.splitlines())) <= width


def test_no_golden_file_is_left_over() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == sorted(SCREENS)


def shown(page: Page, frame: dict[str, Any], column: int = 0) -> list[str]:
    table = Table(page)
    table.take(frame)
    return [line.cells[column].text.strip() for line in table.lines(80, 1000)[1:]]


def test_whoever_waits_most_comes_first_and_the_unknown_last() -> None:
    assert shown(VMS, three()) == ["web1", "db1", "off1"]
    assert shown(WAITING, three(), 1) == ["vCPU 0", "iothread io-dis…", "vCPU 1"]
    assert shown(MEMORY, three()) == ["web1", "db1"], "one that is off has no pages"


def test_rows_that_say_the_same_stay_where_they_are() -> None:
    frame = crowd(20)
    for vm in frame["vms"]:
        vm["ready_share"] = 0.0001
    before = shown(VMS, frame)
    for number, vm in enumerate(frame["vms"]):
        vm["ready_share"] = 0.00001 * number
    assert shown(VMS, frame) == before == sorted(before)


def names(table: Table, height: int = 24) -> list[str]:
    return [line.cells[0].text.strip() for line in table.lines(80, height)[1:]]


def test_sorting_by_each_column_and_the_other_way_round() -> None:
    table = Table(VMS)
    table.take(three())
    table.lines(80, 24)
    heads = []
    for _ in range(9):
        table.sort_next()
        heads.append(table.sorted_by)
        first = names(table)
        table.reverse()
        assert sorted(names(table)) == sorted(first)
    assert heads == ["EXITS", "LOC%", "DISK", "NET", "WHO RAN INSTEAD", "VM", "STATE", "%RUN", "%RDY"], "those in sight"
    assert table.sort_by("vm")
    assert names(table) == ["db1", "off1", "web1"]
    table.reverse()
    assert names(table) == ["web1", "off1", "db1"]
    assert not table.sort_by("nothing")
    assert table.sort_by("exits")
    assert names(table)[0] == "web1"


def test_a_filter_wants_all_its_words_somewhere() -> None:
    table = Table(VMS)
    table.take(three())
    for words, found in (
        ("web", ["web1"]),
        ("WEB1 db1", ["web1"]),
        ("absent", ["off1"]),
        ("nobody", []),
        ("", ["web1", "db1", "off1"]),
    ):
        table.filter(words)
        assert names(table) == found, words


def test_the_chosen_row_is_kept_by_its_name_and_stays_in_sight() -> None:
    table = Table(VMS)
    table.take(crowd(100))
    table.move(50)
    assert table.chosen is not None
    name = table.chosen["name"]
    for second in range(1, 4):
        table.take(crowd(100, second))
        (chosen,) = [line for line in table.lines(80, 24) if line.chosen]
        assert chosen.cells[0].text.strip() == name
    table.move(-1000)
    assert table.lines(80, 24)[1].chosen
    table.move(1000)
    assert table.lines(80, 24)[-1].chosen
    assert table.chosen == table.rows[-1]
    table.filter("no row has this")
    table.move(1)
    assert [line.chosen for line in table.lines(80, 24)] == [False]


def test_a_vm_that_is_gone_is_chosen_no_more() -> None:
    table = Table(VMS)
    table.take(three())
    table.move(2)
    frame = three()
    frame["vms"] = frame["vms"][2:]
    table.take(frame)
    assert table.chosen is not None
    assert table.chosen["name"] == "web1"


@given(st.sampled_from(PAGES), st.integers(10, 250), st.integers(0, 60), st.integers(0, 30), st.integers(-40, 40))
def test_lines_fit_every_screen(page: Page, width: int, height: int, count: int, step: int) -> None:
    table = Table(page)
    table.take(crowd(count))
    table.move(step)
    lines = table.lines(width, height)
    assert 1 <= len(lines) <= max(height, 1)
    assert len({len(line.text) for line in lines}) == 1, "all as wide as the head"
    if width >= 80:
        assert len(lines[0].text) == width


def test_what_guests_and_processes_are_called_steers_no_terminal() -> None:
    frame = three()
    frame["vms"][2]["worst"]["blame"][0]["who"] = "a\x1b[31mb"
    frame["waiting"][0]["role"] = "vcpu \x1b]0;x\x07"
    for page in PAGES:
        assert "\x1b" not in frame_text(copy.deepcopy(frame), Table(page), PLAIN, 200)


def test_colours_are_for_what_hurts() -> None:
    text = frame_text(three(), Table(VMS), Style(True), 80)
    assert "\x1b[31m 74.1\x1b[0m" in text
    assert "\x1b[33m87.5\x1b[0m" in text
    assert "\x1b[31msilent 12s\x1b[0m" in text


def test_an_empty_page_says_so() -> None:
    nothing = {**three(), "vms": [], "waiting": []}
    for page in PAGES:
        assert frame_text(nothing, Table(page), PLAIN, 80).endswith(page.empty)
    table = Table(VMS)
    table.filter("zzz")
    assert frame_text(three(), table, PLAIN, 80).endswith("nothing has 'zzz'")
    assert summary(nothing) == "12:53:22  0 VMs; steal 3.0 %"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (3, "3"), (3.25, "3.2"), (12.6, "13"), (999.4, "999"), (999.6, "1.0k"), (52_428_800, "52.4M"),
     (99_960_000, "100M"), (1.5e9, "1.5G"), (7e15, "7.0P")],
)  # fmt: skip
def test_amounts(value: float | None, text: str) -> None:
    assert amount(value) == text


@given(st.floats(0, 1e17))
def test_amounts_are_short(value: float) -> None:
    assert len(amount(value)) <= 5


def test_other_cells() -> None:
    assert [milliseconds(value) for value in (None, 0.084, 1.25, 140.2)] == ["-", "0.08", "1.25", "140"]
    assert [short_age(value) for value in (None, -1, 59, 60, 7200, 90000)] == ["-", "0s", "59s", "1m", "2h", "1d"]
    assert [percent(value) for value in (None, 0.0, 1.2413)] == ["-", "0.0", "124.1"]
    assert who_ran(None) == who_ran({}) == who_ran({"blame": [], "unknown_share": 0.0}) == ""
