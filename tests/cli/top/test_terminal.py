"""The full screen on a real terminal: how many bytes a refresh takes, keys, a daemon that goes away and comes back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.cli.top.frames import crowd
from tests.cli.top.terminal import Terminal, on_terminal

SCREEN_BYTES = 80 * 24
Send = Callable[[dict[str, Any] | str], None]


@contextmanager
def screen() -> Iterator[tuple[Terminal, Send]]:
    """The full screen, and what feeds it."""
    reading, writing = os.pipe()
    with (
        os.fdopen(writing, "w", encoding="utf-8") as feed,
        on_terminal([sys.executable, "-m", "tests.cli.top.on_terminal", str(reading)], feed=reading) as terminal,
    ):
        os.close(reading)

        def send(news: dict[str, Any] | str) -> None:
            feed.write((news if isinstance(news, str) else json.dumps(news)) + "\n")
            feed.flush()

        terminal.until("q quit")
        yield terminal, send


def refresh_bytes(terminal: Terminal, send: Send, frame: dict[str, Any]) -> int:
    """What one more frame writes."""
    terminal.forget()
    send(frame)
    terminal.until_more()
    terminal.until_quiet()
    return len(terminal.raw)


def test_a_refresh_of_200_vms_writes_what_has_changed_and_no_more() -> None:
    with screen() as (terminal, send):
        refresh_bytes(terminal, send, crowd(200))
        same = {**crowd(200), "at_s": crowd(200, 1)["at_s"]}
        assert refresh_bytes(terminal, send, same) < 200, "nothing but the clock"
        sizes = [refresh_bytes(terminal, send, crowd(200, second)) for second in range(2, 7)]
        assert max(sizes) < 2 * SCREEN_BYTES, "every row has other numbers, and many another place"
        assert b"\x1b[2J" not in terminal.raw, "the screen is never cleared: that would flicker"
        print("bytes of a refresh:", sizes)


def test_keys_pages_and_a_fault() -> None:
    with screen() as (terminal, send):
        send(crowd(100))
        terminal.until("100 VMs: 94 running")
        terminal.press("/web0\r")
        terminal.until("with 'web0': ")
        terminal.until_quiet()
        terminal.forget()
        terminal.press("\x1b")
        terminal.until("build")
        for key, words in (("2", "THREAD"), ("3", "HYPERC"), ("4", "MISPLACED"), ("5", "R-MS"), ("6", "BRIDGE")):
            terminal.press(key)
            terminal.until(words)
        terminal.forget()
        send("no daemon answers")
        terminal.until("no daemon answers; trying again")
        send(crowd(3))
        terminal.until("3 VMs")
        terminal.press("q")
        assert terminal.until_ended() == 0
        assert b"\x1b[?1049l" in terminal.raw, "the screen that was there before is back"
