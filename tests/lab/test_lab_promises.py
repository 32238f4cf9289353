"""What the lab promises to those who write and run its tests: evidence of a failure, reasons for a skip, a shell."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from .outer_qemu import BINARY
from .recipe import HERE, PROJECT

RUN_S = 500.0
FAILING = """
from tests.lab.qsup_host import halting

def test_that_fails(host):
    host.run("tux", halting())
    host.lab.run("logger", "a word for the journal")
    assert host.pids("tux") == []
"""
PASSING = "def test_that_passes(lab): pass\n"
SHOWING = """
from tests.lab.shown import SHOWN

def test_that_shows(record_property):
    record_property(f"{SHOWN}a title", "a word for the reader")
    record_property("another", "nobody's business")
"""


def run_pytest(folder: Path, text: str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a file of tests with the lab's own fixtures in a pytest of its own."""
    file = folder / "test_inner.py"
    file.write_text(text)
    words = ["-c", str(HERE / "pytest.ini"), "--rootdir", str(folder), "-p", "tests.lab.conftest", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *words, *more, str(file)]
    known = {name: value for name, value in os.environ.items() if name not in ("PYTEST_ADDOPTS", "QSUP_LAB_REQUIRED")}
    return subprocess.run(
        command, cwd=PROJECT, env=known | environment, capture_output=True, text=True, timeout=RUN_S, check=False
    )


def test_a_failed_test_leaves_consoles_journal_and_command_lines_in_one_folder(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, FAILING, QSUP_LAB_FAILURES=str(tmp_path / "failures"))
    assert done.returncode == 1, done.stdout + done.stderr
    (folder,) = (tmp_path / "failures").iterdir()
    assert f"consoles, journal and command lines: {folder}" in done.stdout
    assert "test_that_fails" in folder.name
    assert (folder / "run-qsup/vms/tux/log/serial.log").exists()  # the guest's console
    assert (folder / "console.log").exists()  # the host's
    assert "a word for the journal" in (folder / "journal.txt").read_text()
    assert "a word for the journal" in (folder / "journal.log").read_text()  # also as it left the lab
    assert "guest=tux" in (folder / "qemu-command-lines.txt").read_text()
    assert "-accel tcg" in (folder / "qemu.argv").read_text()
    assert "running" in (folder / "qsup.txt").read_text()


def test_a_lab_that_cannot_run_is_skipped_with_the_reason_and_fails_where_it_must_run(tmp_path: Path) -> None:
    without_tools = {"PATH": str(tmp_path), "QSUP_LAB_CACHE": str(tmp_path / "cache")}
    reason = "the lab needs qemu-system-x86_64"
    skipped = run_pytest(tmp_path, PASSING, **without_tools)
    assert (skipped.returncode, "1 skipped" in skipped.stdout) == (0, True)
    assert reason in skipped.stdout.partition("short test summary")[2]
    failed = run_pytest(tmp_path, PASSING, QSUP_LAB_REQUIRED="1", **without_tools)
    assert failed.returncode == 1
    assert reason in failed.stdout


def test_no_qemu_outlives_whoever_started_it_also_where_he_is_killed() -> None:
    command = [sys.executable, "-m", "tests.lab", "run", "--bare", "--", "sh", "-c", "echo up; sleep 1000"]
    with tempfile.TemporaryDirectory(prefix="qsup-lab-killed.", dir="/tmp") as folder:  # what a killed one leaves
        with subprocess.Popen(command, cwd=PROJECT, env={**os.environ, "TMPDIR": folder}, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"up\n"
            children = psutil.Process(child.pid).children(recursive=True)
            ended = [os.pidfd_open(process.pid) for process in children if process.name() == BINARY]
            child.kill()
        assert len(ended) == 1
        for pidfd in ended:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            assert poll.poll(60_000), "its QEMU lives on"
            os.close(pidfd)


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_what_a_test_shows_is_printed_once_also_by_workers(tmp_path: Path, workers: tuple[str, ...]) -> None:
    done = run_pytest(tmp_path, SHOWING, *workers)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("a word for the reader") == 1
    assert "= a title =" in done.stdout
    assert "nobody's business" not in done.stdout


def read_until(terminal: int, wanted: bytes | None) -> bytes:
    """Read what a terminal shows until it shows the wanted text, or until its other end is closed."""
    said = bytearray()
    with suppress(OSError):  # EIO: the last one has closed it
        while (wanted is None or wanted not in said) and (data := os.read(terminal, 4096)):
            said += data
    return bytes(said)


def test_a_shell_in_a_host_with_qsup_installed(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tests.lab", "shell"]
    known = {**os.environ, "TMPDIR": str(tmp_path), "TERM": "dumb"}
    with subprocess.Popen(command, cwd=PROJECT, env=known, stdin=theirs, stdout=theirs, stderr=theirs) as shell:
        os.close(theirs)
        try:
            said = read_until(ours, b"# ")  # what is typed before the prompt is discarded when the terminal is made raw
            os.write(ours, b"qsup topology; qsup list; exit 7\r")
            said += read_until(ours, None)
            status = shell.wait(RUN_S)
        finally:
            shell.kill()
            os.close(ours)
    text = said.decode(errors="replace")
    assert status == 7, text
    assert "node 1" in text
    assert "no VMs" in text
    assert list(tmp_path.glob("qsup-lab.*")) == []
