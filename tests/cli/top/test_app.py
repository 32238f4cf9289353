"""The full screen without a terminal: keys, threads of one VM, words to filter by, faults and late news."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input, Static

from qsup.cli.top.app import TopApp
from qsup.cli.top.feed import Deliver, News
from qsup.cli.top.grid import Grid
from qsup.cli.top.pages import PAGES, THREADS
from qsup.cli.top.table import Table
from tests.cli.top.frames import crowd, of_one, three


class Scripted:
    """A source that delivers what a test says."""

    def __init__(self) -> None:
        self.looked_at: list[str | None] = []
        self.closed = False
        self._deliver: Deliver = lambda news: None

    def look_at(self, vm: str | None, deliver: Deliver) -> None:
        self.looked_at.append(vm)
        self._deliver = deliver

    def tell(self, frame: dict[str, Any]) -> None:
        self._deliver(News(frame))

    def fail(self, fault: str, *, gone: bool = False) -> None:
        self._deliver(News(fault=fault, gone=gone))

    def close(self) -> None:
        self.closed = True


class Seen:
    """What is on the screen."""

    def __init__(self, app: TopApp, pilot: Pilot[None], source: Scripted) -> None:
        self.app = app
        self.pilot = pilot
        self.source = source

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def tell(self, frame: dict[str, Any]) -> None:
        self.source.tell(frame)
        await self.pilot.pause()

    def rows(self) -> list[str]:
        grid = self.app.query_one(Grid)
        return [grid.render_line(y).text.rstrip() for y in range(grid.size.height)]

    def names(self) -> list[str]:
        return [row.split()[0] for row in self.rows()[1:] if row]

    def words(self, where: str) -> str:
        return str(self.app.query_one(f"#{where}", Static).content)


def on_screen(
    test: Callable[[Seen], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
    vm: str | None = None,
    tables: list[Table] | None = None,
) -> Scripted:
    """Run the test with the full screen before it."""
    source = Scripted()

    async def run() -> None:
        first = tables[0] if tables else None
        app = TopApp(source, vm, tables, first)
        async with app.run_test(size=size) as pilot:
            await test(Seen(app, pilot, source))

    asyncio.run(run())
    assert source.closed
    return source


def test_three_vms() -> None:
    async def test(seen: Seen) -> None:
        assert "waiting for the first sample" in seen.words("summary")
        await seen.tell(three())
        assert seen.names() == ["web1", "db1", "off1"]
        assert "3 VMs: 1 absent, 1 running, 1 unresponsive; 1 drifting; steal 3.0 %" in seen.words("summary")
        assert seen.words("pages").startswith("[1 VMs]  2 waiting")
        assert max(map(len, seen.rows())) <= 80

    assert on_screen(test).looked_at == [None]


def test_200_vms_scroll_and_the_chosen_one_stays_in_sight() -> None:
    async def test(seen: Seen) -> None:
        await seen.tell(crowd(200))
        assert len(seen.names()) == 20
        first = seen.names()[0]
        await seen.press("pagedown", "pagedown", "down")
        assert first not in seen.names()
        await seen.tell(crowd(200, 1))
        assert len(seen.names()) == 20
        await seen.press("home")
        assert seen.names()[0] == Table(PAGES[0]).page.identity(_first_of(crowd(200, 1)))
        await seen.press("end")
        await seen.pilot.resize_terminal(120, 40)
        await seen.pilot.pause()
        assert len(seen.names()) == 36
        assert "VCPU" in seen.rows()[0]

    on_screen(test)


def _first_of(frame: dict[str, Any]) -> dict[str, Any]:
    table = Table(PAGES[0])
    table.take(frame)
    return table.rows[0]


def test_every_page_by_its_key() -> None:
    async def test(seen: Seen) -> None:
        await seen.tell(crowd(100))
        for key, page in enumerate(PAGES, 1):
            await seen.press(str(key))
            assert f"[{key} {page.name}]" in seen.words("pages")
            assert seen.rows()[0].split()[0] == page.columns[0].head
            assert len(seen.names()) == 20, page.name

    on_screen(test)


def test_threads_of_one_and_back() -> None:
    async def test(seen: Seen) -> None:
        await seen.tell(three())
        await seen.press("enter")
        assert seen.source.looked_at == [None, "web1"]
        assert seen.names() == [], "the rows of all VMs are not its threads"
        await seen.tell(of_one())
        assert seen.rows()[1].startswith("vCPU 0")
        assert seen.words("pages") == "threads of web1: 5"
        await seen.press("escape")
        assert seen.source.looked_at[-1] is None
        await seen.tell(three())
        assert seen.names() == ["web1", "db1", "off1"]
        await seen.press("2", "down", "enter")
        assert seen.source.looked_at[-1] == "web1", "a thread that waits leads to its VM"

    on_screen(test)


def test_news_of_what_is_not_looked_at_any_more_is_left_out() -> None:
    async def test(seen: Seen) -> None:
        await seen.tell(three())
        late = seen.source._deliver
        await seen.press("enter")
        late(News(three()))
        await seen.pilot.pause()
        assert seen.names() == []

    on_screen(test)


def test_a_vm_that_is_gone_leads_back_to_all() -> None:
    async def test(seen: Seen) -> None:
        await seen.tell(of_one())
        seen.source.fail("there is no VM called 'web1'", gone=True)
        await seen.pilot.pause()
        assert seen.source.looked_at == ["web1", None]
        assert "there is no VM" in seen.words("summary")
        await seen.tell(three())
        assert len(seen.names()) == 3

    on_screen(test, vm="web1")


def test_sorting_reversing_and_holding() -> None:
    async def test(seen: Seen) -> None:
        await seen.tell(three())
        await seen.press("S", "S", "S")
        assert seen.names() == ["db1", "off1", "web1"]
        await seen.press("r")
        assert seen.names() == ["web1", "off1", "db1"]
        await seen.press("p")
        await seen.tell({**three(), "vms": []})
        assert "held" in seen.words("pages")
        assert len(seen.names()) == 3
        await seen.press("p")
        await seen.tell({**three(), "vms": []})
        assert seen.names() == []
        assert "no VM is known" in seen.words("pages")

    on_screen(test)


def test_words_filter_while_they_are_written_and_escape_drops_them() -> None:
    async def test(seen: Seen) -> None:
        await seen.tell(three())
        await seen.press("slash", "o", "f", "f")
        assert seen.names() == ["off1"]
        await seen.press("enter")
        assert not seen.app.query_one(Input).display
        assert "with 'off': 1" in seen.words("pages")
        await seen.press("s")
        assert seen.names() == ["off1"], "keys are keys again"
        await seen.press("slash", "z", "z")
        assert seen.names() == []
        await seen.press("escape")
        assert len(seen.names()) == 3
        assert seen.app.focused is None
        await seen.press("slash", "q", "q", "enter")
        assert seen.names() == []
        await seen.press("escape")
        assert len(seen.names()) == 3

    on_screen(test)


def test_a_fault_is_said_and_the_rows_stay() -> None:
    async def test(seen: Seen) -> None:
        await seen.tell(three())
        seen.source.fail("no daemon answers")
        await seen.pilot.pause()
        assert seen.words("summary") == "no daemon answers; trying again"
        assert len(seen.names()) == 3
        await seen.tell(three())
        assert "3 VMs" in seen.words("summary")

    on_screen(test)


def test_the_page_and_the_order_that_were_asked_for() -> None:
    async def test(seen: Seen) -> None:
        await seen.tell(crowd(40))
        assert "[1 nics]" in seen.words("pages")
        names = seen.names()
        assert names == sorted(names)

    table = Table(PAGES[-1])
    assert table.sort_by("vm")
    on_screen(test, tables=[table])


def test_threads_first_where_one_is_named() -> None:
    async def test(seen: Seen) -> None:
        await seen.tell(of_one())
        assert seen.words("pages") == "threads of web1: 5"

    source = on_screen(test, vm="web1", tables=[Table(THREADS)])
    assert source.looked_at == ["web1"]


def test_q_ends_it() -> None:
    async def test(seen: Seen) -> None:
        await seen.press("q")
        assert seen.app.return_code == 0

    on_screen(test)
