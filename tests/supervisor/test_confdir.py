"""The config directory: complete files only, every change, and no removal that did not happen."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from qsup.supervisor.confdir import REMOVAL_SETTLE_S, ConfigDirTrouble, ConfigFile, ConfigNews, look_at, watch_config_dir


class Seen:
    """What was reported, and a way to wait for more of it."""

    def __init__(self) -> None:
        self.news: list[ConfigNews] = []
        self._more = trio.Event()

    def report(self, news: ConfigNews) -> None:
        self.news.append(news)
        self._more.set()
        self._more = trio.Event()

    async def wait(self, condition: Callable[[list[ConfigNews]], bool]) -> list[ConfigNews]:
        with trio.fail_after(20):
            while not condition(self.news):
                await self._more.wait()
        return self.news

    def files(self) -> dict[str, ConfigFile]:
        """The last news of each file."""
        return {file.name: file for news in self.news if isinstance(news, tuple) for file in news}

    async def wait_file(self, name: str, condition: Callable[[ConfigFile], bool]) -> ConfigFile:
        await self.wait(lambda news: name in self.files() and condition(self.files()[name]))
        return self.files()[name]


@asynccontextmanager
async def watching(path: Path) -> AsyncIterator[Seen]:
    seen = Seen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_config_dir, str(path), seen.report)
        await seen.wait(lambda news: bool(news))
        yield seen
        nursery.cancel_scope.cancel()


async def test_the_first_look_reports_all_files_and_only_vm_files(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("x = 1\n")
    (tmp_path / "b.toml").write_text("y = 1\n")
    for other in ("notes.txt", ".c.toml", "d.toml~", "e.toml.swp"):
        (tmp_path / other).write_text("")
    async with watching(tmp_path) as seen:
        assert {name: file.text for name, file in seen.files().items()} == {"a": "x = 1\n", "b": "y = 1\n"}


async def test_an_empty_directory_is_news_too(tmp_path: Path) -> None:
    async with watching(tmp_path) as seen:
        assert seen.news == [()]


async def test_appear_change_rename_over_and_vanish(tmp_path: Path) -> None:
    async with watching(tmp_path) as seen:
        file = tmp_path / "vm.toml"
        file.write_text("one")
        await seen.wait_file("vm", lambda found: found.text == "one")
        file.write_text("two")
        await seen.wait_file("vm", lambda found: found.text == "two")
        (tmp_path / "new").write_text("three")
        os.rename(tmp_path / "new", file)
        await seen.wait_file("vm", lambda found: found.text == "three")
        file.unlink()
        assert (await seen.wait_file("vm", lambda found: found.removed)).text is None


async def test_a_file_that_is_removed_and_written_anew_was_never_removed(tmp_path: Path) -> None:
    file = tmp_path / "vm.toml"
    file.write_text("one")
    async with watching(tmp_path) as seen:
        file.unlink()
        file.write_text("two")
        await seen.wait_file("vm", lambda found: found.text == "two")
    assert [found.removed for news in seen.news if isinstance(news, tuple) for found in news] == [False, False]


async def until_it_settles() -> None:
    """The clock stands: until the watch has missed a file and waits for what the next look finds."""
    while trio.lowlevel.current_statistics().seconds_to_next_deadline != REMOVAL_SETTLE_S:
        await trio.lowlevel.checkpoint()


async def test_only_what_is_missing_at_two_looks_is_removed(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    file = tmp_path / "vm.toml"
    file.write_text("one")
    async with watching(tmp_path) as seen:
        file.unlink()
        await until_it_settles()
        file.write_text("two")
        mock_clock.jump(REMOVAL_SETTLE_S)
        await seen.wait_file("vm", lambda found: found.text == "two")
        file.unlink()
        await until_it_settles()
        mock_clock.jump(REMOVAL_SETTLE_S)
        await seen.wait_file("vm", lambda found: found.removed)
    assert [found.removed for news in seen.news if isinstance(news, tuple) for found in news] == [False, False, True]


def test_a_file_is_not_read_while_somebody_writes_it(tmp_path: Path) -> None:
    with open(tmp_path / "vm.toml", "w") as writer:
        writer.write("half")
        writer.flush()
        look = look_at(str(tmp_path), {})
        assert look.busy
        assert look.files == ()
        writer.write(" and half")
    assert [file.text for file in look_at(str(tmp_path), {}).files] == ["half and half"]


def test_a_half_written_change_is_no_removal(tmp_path: Path) -> None:
    file = tmp_path / "vm.toml"
    file.write_text("good")
    stamps = look_at(str(tmp_path), {}).stamps
    with open(file, "w") as writer:
        writer.write("half")
        writer.flush()
        look = look_at(str(tmp_path), stamps)
    assert look.busy
    assert look.files == ()
    assert [found.text for found in look_at(str(tmp_path), look.stamps).files] == ["half"]


async def test_a_symlink_is_followed_and_its_new_target_is_seen(tmp_path: Path) -> None:
    directory = tmp_path / "conf"
    directory.mkdir()
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    os.symlink(tmp_path / "one", directory / "vm.toml")
    async with watching(directory) as seen:
        await seen.wait_file("vm", lambda found: found.text == "one")
        os.symlink(tmp_path / "two", directory / "next")
        os.rename(directory / "next", directory / "vm.toml")
        await seen.wait_file("vm", lambda found: found.text == "two")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.mkdir(), "not a regular file"),
        (lambda path: os.symlink("nowhere", path), "cannot be opened"),
        (lambda path: path.write_bytes(b"caf\xe9"), "UTF-8"),
        (lambda path: path.write_bytes(b"#" * (2 << 20)), "bytes"),
    ],
    ids=["fifo", "directory", "dangling", "not-utf-8", "huge"],
)
def test_what_cannot_be_read_is_a_problem_of_that_file(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    make(tmp_path / "vm.toml")
    (tmp_path / "good.toml").write_text("fine")
    look = look_at(str(tmp_path), {})
    by_name = {file.name: file for file in look.files}
    assert by_name["good"].text == "fine"
    assert words in by_name["vm"].problems[0].message
    assert look_at(str(tmp_path), look.stamps).files == (), "it is reported once, not at every look"


async def test_a_directory_that_vanishes_removes_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "conf"
    directory.mkdir()
    (directory / "vm.toml").write_text("one")
    async with watching(directory) as seen:
        os.rename(directory, tmp_path / "away")
        await seen.wait(lambda news: any(isinstance(item, ConfigDirTrouble) for item in news))
        assert not seen.files()["vm"].removed
        os.rename(tmp_path / "away", directory)
        await seen.wait(lambda news: news[-1] == ConfigDirTrouble(None) or ConfigDirTrouble(None) in news)
        (directory / "vm.toml").write_text("two")
        await seen.wait_file("vm", lambda found: found.text == "two")
