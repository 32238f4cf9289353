"""The full screen: two lines of words, the table, the keys. It shows what the feed delivers and does what keys say."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar, Protocol

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from qsup.api.client import Json
from qsup.cli.terminal import printable
from qsup.cli.top.feed import News
from qsup.cli.top.frame_text import summary
from qsup.cli.top.grid import Grid
from qsup.cli.top.pages import PAGES, THREADS
from qsup.cli.top.table import Table

KEYS = "1-6 page  enter threads  esc back  s/S sort  r reverse  / filter  p hold  q quit"
_LATE_S = 3.0


class Source(Protocol):
    """Where news comes from."""

    def look_at(self, vm: str | None, deliver: Callable[[News], None]) -> None:
        """From now on news of all VMs, or of one; `deliver` may be called in any thread."""
        ...

    def close(self) -> None:
        """No news any more."""
        ...


class TopApp(App[None]):
    """`vm`: begin with the threads of one VM."""

    CSS = """
    Screen { background: ansi_default; color: ansi_default; }
    Static { height: 1; text-wrap: nowrap; text-overflow: ellipsis; background: ansi_default; color: ansi_default; }
    Grid { height: 1fr; background: ansi_default; color: ansi_default; }
    Input { height: 1; border: none; padding: 0; display: none; background: ansi_default; color: ansi_default; }
    Input:focus { border: none; }
    #keys { text-style: dim; }
    """
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"page({number})") for number in range(1, len(PAGES) + 1)),
        Binding("enter", "threads"),
        Binding("escape,backspace", "leave"),
        Binding("s", "sort(1)"),
        Binding("S", "sort(-1)"),
        Binding("r", "reverse"),
        Binding("slash", "filter", priority=True),  # done before the next key is looked at, however fast it follows
        Binding("p,space", "hold"),
        Binding("q,ctrl+c", "quit"),
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup", "leap(-1)"),
        Binding("pagedown", "leap(1)"),
        Binding("home,g", "move(-1000000)"),
        Binding("end,G", "move(1000000)"),
    ]

    class Arrived(Message):
        """News, with the VM that was looked at when it was asked for."""

        def __init__(self, vm: str | None, news: News) -> None:
            super().__init__()
            self.vm = vm
            self.news = news

    def __init__(
        self, source: Source, vm: str | None = None, tables: list[Table] | None = None, first: Table | None = None
    ) -> None:
        super().__init__(ansi_color=True)
        self._source = source
        self._vm = vm
        self._tables = tables or [Table(page) for page in PAGES]
        self._threads = first if first is not None and vm is not None else Table(THREADS)
        self._page = self._tables.index(first) if first in self._tables else 0
        self._frame: Json | None = None
        self._fault = ""
        self._held = False
        self._news_s = time.monotonic()
        self._said: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """Two lines of words, the table, the keys."""
        yield Static(id="summary")
        yield Static(id="pages")
        yield Grid()
        yield Input(placeholder="words that a row must have; enter keeps them, esc drops them", compact=True)
        yield Static(Content(KEYS), id="keys")

    def on_mount(self) -> None:
        """Ask for news."""
        self.set_interval(1.0, self._tick)
        self._look_at(self._vm)

    def on_unmount(self) -> None:
        """No news any more."""
        self._source.close()

    def _look_at(self, vm: str | None) -> None:
        self._vm = vm
        self._frame = None

        def deliver(news: News) -> None:
            self.post_message(self.Arrived(vm, news))

        self._source.look_at(vm, deliver)
        self._draw()

    def on_top_app_arrived(self, message: TopApp.Arrived) -> None:
        """Take a frame, or say why there is none."""
        if message.vm != self._vm:
            return
        news = message.news
        if news.gone and self._vm is not None:
            self._look_at(None)
            self._fault = news.fault
        elif news.frame is None:
            self._fault = f"{news.fault}; trying again"
        else:
            self._fault = ""
            self._news_s = time.monotonic()
            if not self._held:
                self._frame = news.frame
        self._draw()

    def _tick(self) -> None:
        late_s = time.monotonic() - self._news_s
        if late_s > _LATE_S and not self._fault:
            self._say("summary", f"no news from the daemon for {late_s:.0f} s", "bold red")

    @property
    def _table(self) -> Table:
        return self._threads if self._vm is not None else self._tables[self._page]

    def _draw(self) -> None:
        table = self._table
        if self._frame is not None:
            table.take(self._frame)
        if self._fault:
            self._say("summary", self._fault, "bold red")
        else:
            words = summary(self._frame) if self._frame is not None else "waiting for the first sample"
            self._say("summary", words, "bold")
        self._say("pages", self._pages_line())
        grid = self.query_one(Grid)
        grid.show(table.lines(grid.size.width or self.size.width, grid.size.height or self.size.height - 3))

    def _pages_line(self) -> str:
        if self._vm is not None:
            where = f"threads of {printable(self._vm)}: {len(self._threads.rows)}"
        else:
            names = (f"{number} {table.page.name}" for number, table in enumerate(self._tables, 1))
            where = "  ".join(f"[{name}]" if number == self._page else name for number, name in enumerate(names))
        table = self._table
        parts = [where]
        if table.words:
            parts.append(f"with {printable(table.words)!r}: {len(table.rows)}")
        if self._frame is not None and not table.rows:
            parts.append(table.page.empty if not table.words else "nothing")
        if self._held:
            parts.append("held")
        return "   ".join(parts)

    def _say(self, where: str, text: str, style: str = "") -> None:
        """Only what is another text than before is written."""
        if self._said.get(where) != text:
            self._said[where] = text
            self.query_one(f"#{where}", Static).update(Content.styled(text, style) if style else Content(text))

    def on_grid_resized(self) -> None:
        """Another screen, or another part of it."""
        self._draw()

    def action_page(self, number: int) -> None:
        """Show a page of all VMs."""
        self._page = number - 1
        if self._vm is not None:
            self._look_at(None)
        self._draw()

    def action_threads(self) -> None:
        """Show the threads of the chosen row's VM."""
        row = self._table.chosen
        if self._vm is None and row is not None:
            self._threads = Table(THREADS)
            self._look_at(row.get("vm") or row["name"])

    def action_leave(self) -> None:
        """Out of the box of words, which drops them; to all VMs; there: drop the filter."""
        if self.query_one(Input).display:
            self._table.filter("")
            self._close_filter()
        elif self._vm is not None:
            self._look_at(None)
        else:
            self._table.filter("")
        self._draw()

    def action_sort(self, step: int) -> None:
        """Sort by the next column."""
        self._table.sort_next(step)
        self._draw()

    def action_reverse(self) -> None:
        """The other way round."""
        self._table.reverse()
        self._draw()

    def action_move(self, step: int) -> None:
        """Choose another row."""
        self._table.move(step)
        self._draw()

    def action_leap(self, direction: int) -> None:
        """A screen up or down."""
        self.action_move(direction * max(self.query_one(Grid).size.height - 2, 1))

    def action_hold(self) -> None:
        """Keep what is on the screen, or go on."""
        self._held = not self._held
        self._draw()

    def action_filter(self) -> None:
        """Ask for words."""
        box = self.query_one(Input)
        if box.display:
            box.insert_text_at_cursor("/")
            return
        box.value = self._table.words
        box.display = True
        self.set_focus(box)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while words are written."""
        self._table.filter(event.value)
        self._draw()

    def on_input_submitted(self) -> None:
        """Keep the words."""
        self._close_filter()

    def _close_filter(self) -> None:
        box = self.query_one(Input)
        box.display = False
        self.set_focus(None)
        self._draw()
