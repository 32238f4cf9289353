"""qsup top as a process against a real server: one frame for scripts, and the full screen on a terminal."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.api.serving import serving
from tests.cli.running import qsup, words_of
from tests.cli.top.frames import of_one, three
from tests.cli.top.terminal import on_terminal


async def test_one_frame_as_json(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        ran = await qsup("top", "--json", served=served)
        assert (ran.code, ran.json) == (0, three())
        ran = await qsup("top", "web1", "--json", served=served)
        assert (ran.code, ran.json) == (0, of_one())
        await served.registry.wait_until(lambda: not served.registry.wait_followers)


async def test_one_frame_as_text(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        ran = await qsup("top", "--once", served=served)
        rows = ran.out.splitlines()
        assert rows[0] == "12:53:22  3 VMs: 1 absent, 1 running, 1 unresponsive; 1 drifting; steal 3.0 %"
        assert [row.split()[0] for row in rows[1:]] == ["VM", "web1", "db1", "off1"]
        ran = await qsup("top", "--once", "--sort", "vm", served=served)
        assert [row.split()[0] for row in ran.out.splitlines()[2:]] == ["db1", "off1", "web1"]
        ran = await qsup("top", "--once", "--page", "disks", served=served)
        assert "W-MS" in ran.out
        ran = await qsup("top", "--once", "--filter", "OFF1", served=served)
        assert [row.split()[0] for row in ran.out.splitlines()[2:]] == ["off1"]
        ran = await qsup("top", "web1", "--once", served=served)
        assert "emulator qemu-sys" in ran.out


async def test_what_is_refused(tmp_path: Path) -> None:
    ran = await qsup("top", "--once", "--run-dir", str(tmp_path))
    assert (ran.code, "no daemon answers" in ran.err) == (75, True)
    async with serving(tmp_path) as served:
        ran = await qsup("top", "nobody", "--once", served=served)
        assert (ran.code, "there is no VM called 'nobody'" in ran.err) == (66, True)
        ran = await qsup("top", "--once", "--sort", "colour", served=served)
        assert (ran.code, "%RDY" in ran.err) == (2, True)
        ran = await qsup("top", served=served)
        assert (ran.code, "needs a terminal" in ran.err) == (2, True)


async def test_the_screen_outlives_the_daemon(tmp_path: Path) -> None:
    with on_terminal(words_of("top", "--run-dir", str(tmp_path))) as terminal:
        assert await trio.to_thread.run_sync(terminal.until_ended) == 75, "without a daemon the screen does not even begin"
        assert "no daemon answers" in terminal.text
    async with serving(tmp_path) as first:
        with on_terminal(words_of("top", "--run-dir", str(tmp_path))) as terminal:
            await trio.to_thread.run_sync(terminal.until, "3 VMs: 1 absent, 1 running, 1 unresponsive")
            first.scope.cancel()
            await first.stopped.wait()
            await trio.to_thread.run_sync(terminal.until, "trying again")
            terminal.forget()
            async with serving(tmp_path):
                await trio.to_thread.run_sync(terminal.until, "3 VMs: 1 absent")
                terminal.press("\r")
                await trio.to_thread.run_sync(terminal.until, "threads of web1: 5")
                terminal.press("q")
                assert await trio.to_thread.run_sync(terminal.until_ended) == 0
