"""What an operator looks through: the console, the events, the timeline, the command line, QEMU's monitors."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qsup.api.client import Rejected, vm_path
from tests.live.consoles import attached
from tests.live.guests import LISTENER, rom_of, vm_text
from tests.live.harness import Daemon, until
from tests.live.views import View, events_of, order, view_of, wait_known, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]


def listening(daemon: Daemon, name: str, more: str = "") -> View:
    """A running guest that echoes what it is told."""
    daemon.drop(name, vm_text(rom_of(daemon, "listener", LISTENER), more=more))
    view = daemon.wait_phase(name, "running")
    until(lambda: Path(view["serial_log"]).read_bytes() == b"ready\n", "the guest listens")
    return view


@contextmanager
def spoken(daemon: Daemon, *words: str, stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    """A qsup command that goes on until it is ended."""
    command = [sys.executable, "-m", "qsup.cli", *words]
    environment = {**os.environ, "QSUP_RUN_DIR": str(daemon.run_dir), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_console_carries_both_ways_for_one_person_at_a_time(daemon: Daemon) -> None:
    view = listening(daemon, "talk")
    with attached(daemon, "talk") as console:
        console.send(b"hi there")
        assert console.read_until(b"hi there").endswith(b"hi there")
        with pytest.raises(Rejected) as rejected:
            daemon.client.upgrade(vm_path("talk", "/console"), "qsup-console")
        assert rejected.value.error["code"] == "supervisor.console-taken"
    with attached(daemon, "talk") as console:
        console.send(b"still there")
        assert console.read_until(b"still there").endswith(b"still there")
        order(daemon, "stop", "talk", "--force")
        console.read_to_end()
    assert view_of(daemon, "talk")["pid"] != view["pid"]


def test_what_was_said_is_in_the_log_whoever_listened(daemon: Daemon) -> None:
    view = listening(daemon, "logged")
    with attached(daemon, "logged") as console:
        console.send(b"heard")
        console.read_until(b"heard")
    # QEMU writes to the listener first and to its log after that.
    until(lambda: Path(view["serial_log"]).read_bytes() == b"ready\nheard", "all of it is in the log, once")


def test_the_console_verb_on_a_terminal_leaves_by_its_key(daemon: Daemon) -> None:
    listening(daemon, "term")
    ours, theirs = pty.openpty()
    try:
        with spoken(daemon, "console", "term", "--tail", "5", stdin=theirs) as process:
            assert process.stdout is not None
            assert process.stdout.read(6) == b"ready\n", "the log's last lines come first"
            os.write(ours, b"write")
            assert process.stdout.read(5) == b"write"
            os.write(ours, b"\x1d")
            assert process.wait(60) == 0
    finally:
        os.close(ours)
        os.close(theirs)
    with attached(daemon, "term") as console:
        console.send(b"!")
        console.read_until(b"!")


def test_no_console_where_there_is_none(daemon: Daemon) -> None:
    daemon.drop("silent", daemon.halting("[console]\nserial = false\n"))
    assert daemon.wait_phase("silent", "running")["serial_log"] is None
    assert "supervisor.no-console" in daemon.cli("console", "silent", check=1).stderr
    order(daemon, "stop", "silent", "--force")
    assert "supervisor.not-running" in daemon.cli("console", "silent", check=1).stderr
    daemon.cli("console", "nosuch", check=66)


def test_events_are_followed_as_they_happen(daemon: Daemon) -> None:
    daemon.drop("watched", daemon.halting().replace("[vm]", "[vm]\nautostart = false", 1))
    wait_known(daemon, "watched")
    with spoken(daemon, "events", "-f", "--json", "--vm", "watched", "-n", "0") as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, b"")
        # Which events come depends on when the stream began: order until the first one is seen.
        order(daemon, "start", "watched", "--no-wait")
        daemon.wait_phase("watched", "running")
        order(daemon, "stop", "watched")
        seen: list[View] = []
        while not seen or seen[-1]["code"] != "vm.stopped":
            seen.append(json.loads(next(lines)))
    assert {event["vm"] for event in seen} == {"watched"}
    assert [event["seq"] for event in seen] == sorted({event["seq"] for event in seen})
    kept = [event["code"] for event in events_of(daemon, "watched")]
    assert [event["code"] for event in seen] == kept[-len(seen) :]
    text = daemon.cli("events", "--vm", "watched").stdout
    assert len(text.splitlines()) == len(kept)
    assert json.loads(daemon.cli("events", "--json", "-n", "2").stdout)[-1]["code"]


def test_the_timeline_adds_up(daemon: Daemon) -> None:
    daemon.drop("timed", daemon.halting())
    daemon.wait_phase("timed", "running")
    (start,) = json.loads(daemon.cli("timeline", "timed", "--json").stdout)
    names = [stage["stage"] for stage in start["stages"]]
    known = ("plan", "spawn", "greeting", "pin", "resume")
    assert tuple(name for name in names if name in known) == known
    assert start["outcome"] == "running"
    assert sum(stage["duration_ms"] for stage in start["stages"]) == pytest.approx(start["total_ms"])
    order(daemon, "restart", "timed", "--force")
    assert len(json.loads(daemon.cli("timeline", "timed", "--all", "--json").stdout)) == 2
    order(daemon, "stop", "timed", "--force")
    order(daemon, "start", "timed", "--paused")
    order(daemon, "resume", "timed")
    starts = json.loads(daemon.cli("timeline", "timed", "--all", "--json").stdout)
    assert [start["outcome"] for start in starts] == ["running", "running", "paused"], "what an operator waits is no start"
    assert "greeting" in daemon.cli("timeline", "timed").stdout


def test_the_command_line_is_the_one_that_runs(daemon: Daemon) -> None:
    daemon.drop("told", daemon.halting())
    pid = daemon.wait_phase("told", "running")["pid"]
    words = json.loads(daemon.cli("cmdline", "told", "--json").stdout)["words"]
    running = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    assert words == running
    assert "-S" in daemon.cli("cmdline", "told").stdout
    explained = daemon.cli("cmdline", "told", "--explain").stdout
    assert "[boot] bios" in explained
    offline = daemon.cli("cmdline", str(daemon.config_dir / "told.toml"), "--state-dir", str(daemon.state_dir)).stdout
    assert "-bios" in offline
    order(daemon, "stop", "told", "--force")
    assert "supervisor.not-running" in daemon.cli("cmdline", "told", check=1).stderr


def test_straight_to_the_monitors(daemon: Daemon) -> None:
    daemon.drop("asked", daemon.halting())
    daemon.wait_phase("asked", "running")
    assert json.loads(daemon.cli("qmp", "asked", "query-status").stdout)["status"] == "running"
    assert json.loads(daemon.cli("qmp", "asked", "qom-get", '{"path": "/machine", "property": "type"}').stdout)
    assert daemon.cli("hmp", "asked", "info", "status").stdout.strip() == "VM status: running"
    refused = daemon.cli("qmp", "asked", "no-such-command", check=1)
    assert "CommandNotFound" in refused.stderr or "not been found" in refused.stderr
    daemon.cli("qmp", "asked", "query-status", "not json", check=2)
    daemon.cli("hmp", "nosuch", "info status", check=66)


def test_what_an_operator_does_by_the_monitor_is_seen(daemon: Daemon) -> None:
    daemon.drop("byhand", daemon.halting())
    pid = daemon.wait_phase("byhand", "running")["pid"]
    daemon.cli("qmp", "byhand", "stop")
    daemon.wait_phase("byhand", "running")
    daemon.cli("qmp", "byhand", "quit", check=None)
    wait_view(daemon, "byhand", lambda view: view["last_ending_code"] == "vm.died", "a quit that qsup did not order")
    assert daemon.wait_phase("byhand", "running")["pid"] != pid
