"""What the config directory says, and that nothing in it ever touches a VM that runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.harness import Daemon, running_daemon, until
from tests.live.views import codes_of, names_of, order, view_of, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]


@pytest.fixture(scope="module")
def shutting_down(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that takes a removed file for an order."""
    with running_daemon(tmp_path_factory.mktemp("d"), '[daemon]\non_removed = "shutdown"\n') as running:
        yield running


def test_a_bad_file_leaves_the_last_good_version_in_force(daemon: Daemon) -> None:
    good = daemon.halting()
    path = daemon.drop("solid", good)
    pid = daemon.wait_phase("solid", "running")["pid"]
    daemon.drop("solid", good.replace("vcpus = 1", "vcpus = 1\nvcpu = 2\nthreads = 99"))
    view = wait_view(daemon, "solid", lambda view: view["config_state"] == "invalid", "the problems are told")
    assert [(problem["line"], problem["code"]) for problem in view["problems"]] == [
        (5, "spec.unknown-key"),
        (6, "spec.out-of-range"),
    ]
    assert {problem["file"] for problem in view["problems"]} == {str(path)}
    assert (view["phase"], view["pid"], view["pending"]) == ("running", pid, [])
    assert "INVALID" in daemon.cli("status", "solid").stdout
    assert daemon.vms()["solid"]["problem_count"] == 2
    assert order(daemon, "restart", "solid")["phase"] == "running", "the last good version can be started"
    assert view_of(daemon, "solid")["config_state"] == "invalid"
    daemon.drop("solid", good)
    wait_view(daemon, "solid", lambda view: view["config_state"] == "valid" and not view["problems"], "it is good again")


def test_the_good_version_survives_a_daemon_that_finds_a_bad_file(daemon: Daemon) -> None:
    path = daemon.drop("kept", daemon.halting())
    pid = daemon.wait_phase("kept", "running")["pid"]
    daemon.kill()
    path.write_bytes(b"\xff\xfe not a text")
    daemon.start()
    wait_view(daemon, "kept", lambda view: view["config_state"] == "invalid", "the bad file is told")
    assert daemon.wait_phase("kept", "running")["pid"] == pid
    assert order(daemon, "restart", "kept")["phase"] == "running"
    assert view_of(daemon, "kept")["pid"] != pid


def test_a_file_that_was_never_good_is_shown_and_starts_nothing(daemon: Daemon) -> None:
    daemon.drop("broken", "[cpu\nvcpus = 1\n")
    view = wait_view(daemon, "broken", lambda view: view["problems"], "its problem is told")
    assert (view["config_state"], view["phase"], view["pid"]) == ("invalid", "absent", None)
    assert view["problems"][0]["line"] == 1
    assert order(daemon, "start", "broken", check=65)["error"]["problems"] == view["problems"]
    daemon.drop("broken", daemon.halting())
    daemon.wait_phase("broken", "running")


def test_a_changed_file_is_pending_until_it_is_reverted_or_the_vm_restarted(daemon: Daemon) -> None:
    good = daemon.halting()
    daemon.drop("changing", good)
    pid = daemon.wait_phase("changing", "running")["pid"]
    changed = good.replace('"32MiB"', '"64MiB"').replace("[vm]", '[vm]\ndescription = "larger"', 1)
    daemon.drop("changing", changed)
    view = wait_view(daemon, "changing", lambda view: view["pending"], "the change is pending")
    pending = {change["key"]: (change["old"], change["new"], change["effect"]) for change in view["pending"]}
    assert pending["memory.size"] == ('"32MiB"', '"64MiB"', "cold-restart")
    assert (view["phase"], view["pid"], view["memory_bytes"]) == ("running", pid, 32 << 20)
    assert "memory.size" in daemon.cli("status", "changing").stdout
    assert daemon.vms()["changing"]["pending_count"] == len(pending)
    daemon.drop("changing", good)
    wait_view(daemon, "changing", lambda view: not view["pending"], "reverting clears it")
    daemon.drop("changing", changed)
    wait_view(daemon, "changing", lambda view: view["pending"], "it is pending again")
    order(daemon, "restart", "changing")
    after = view_of(daemon, "changing")
    assert (after["pending"], after["memory_bytes"], after["description"]) == ([], 64 << 20, "larger")


def test_what_needs_nothing_done_is_in_force_at_once(daemon: Daemon) -> None:
    good = daemon.halting()
    daemon.drop("told", good)
    daemon.wait_phase("told", "running")
    daemon.drop("told", good.replace("[vm]", '[vm]\ndescription = "new words"', 1))
    view = wait_view(daemon, "told", lambda view: view["description"] == "new words", "it is in force")
    assert view["pending"] == [], "nothing waits for a restart"


def test_a_change_is_pending_for_the_next_daemon_too(daemon: Daemon) -> None:
    daemon.drop("aged", daemon.halting())
    daemon.wait_phase("aged", "running")
    daemon.kill()
    daemon.drop("aged", daemon.halting(cpu="vcpus = 2"))
    daemon.start()
    view = wait_view(daemon, "aged", lambda view: view["pending"], "it is compared with what was launched")
    assert [change["key"] for change in view["pending"]] == ["cpu.vcpus"]


def test_a_removed_file_ends_nothing_and_is_forgotten_with_its_qemu(daemon: Daemon) -> None:
    path = daemon.drop("orphan", daemon.halting())
    pid = daemon.wait_phase("orphan", "running")["pid"]
    path.unlink()
    view = wait_view(daemon, "orphan", lambda view: view["config_state"] == "removed", "it is shown as removed")
    assert (view["phase"], view["pid"]) == ("running", pid)
    assert "removed" in daemon.cli("status", "orphan").stdout
    daemon.kill()
    daemon.start()
    view = wait_view(daemon, "orphan", lambda view: view["config_state"] == "removed", "the next daemon knows it too")
    assert view["pid"] == pid
    os.kill(pid, 9)
    until(lambda: "orphan" not in names_of(daemon), "not restarted, and forgotten")
    assert pid not in daemon.qemu_pids()
    daemon.cli("status", "orphan", check=66)


def test_a_removed_file_that_comes_back_belongs_to_the_vm_that_ran_on(daemon: Daemon) -> None:
    path = daemon.drop("lost", daemon.halting())
    pid = daemon.wait_phase("lost", "running")["pid"]
    path.unlink()
    wait_view(daemon, "lost", lambda view: view["config_state"] == "removed", "it is removed")
    daemon.drop("lost", daemon.halting())
    view = wait_view(daemon, "lost", lambda view: view["config_state"] == "valid", "it is back")
    assert (view["pid"], view["pending"]) == (pid, [])
    path.unlink()
    wait_view(daemon, "lost", lambda view: view["config_state"] == "removed", "it is removed again")
    assert order(daemon, "restart", "lost", check=1)["error"]["code"] == "supervisor.no-file"
    assert view_of(daemon, "lost")["pid"] == pid
    assert order(daemon, "stop", "lost", "--force")["message"] == "stopped"
    until(lambda: "lost" not in names_of(daemon), "stopped and without a file: forgotten")


def test_a_renamed_file_is_another_vm(daemon: Daemon) -> None:
    path = daemon.drop("old", daemon.halting())
    pid = daemon.wait_phase("old", "running")["pid"]
    path.rename(daemon.config_dir / "new.toml")
    assert daemon.wait_phase("new", "running")["pid"] != pid
    view = wait_view(daemon, "old", lambda view: view["config_state"] == "removed", "the old name has no file")
    assert view["pid"] == pid


def test_a_file_that_is_still_being_written_is_not_read(daemon: Daemon) -> None:
    text = daemon.halting()
    with (daemon.config_dir / "slow.toml").open("w") as file:
        file.write(text[:20])
        file.flush()
        daemon.drop("witness", daemon.halting())
        daemon.wait_phase("witness", "running")
        assert "slow" not in names_of(daemon)
        file.write(text[20:])
    daemon.wait_phase("slow", "running")
    assert codes_of(daemon, "slow") == ["vm.started"]


def test_a_removed_file_is_an_order_where_the_settings_say_so(shutting_down: Daemon) -> None:
    daemon = shutting_down
    path = daemon.drop("bound", daemon.halting())
    pid = daemon.wait_phase("bound", "running")["pid"]
    path.unlink()
    until(lambda: "bound" not in names_of(daemon), "shut down and forgotten")
    assert pid not in daemon.qemu_pids()
    codes = codes_of(daemon, "bound")
    assert codes[codes.index("config.removed") :] == [
        "config.removed",
        "vm.stopping",
        "vm.terminating",
        "vm.stopped",
        "vm.forgotten",
    ]
    daemon.drop("bound", daemon.halting())
    assert daemon.wait_phase("bound", "running")["power"] == "on", "a file that comes back is a new wish"


def test_a_file_that_comes_back_while_its_guest_goes_down_brings_it_up_again(shutting_down: Daemon) -> None:
    daemon = shutting_down
    text = daemon.halting(grace_s=2)
    path = daemon.drop("regretted", text)
    pid = daemon.wait_phase("regretted", "running")["pid"]
    path.unlink()
    wait_view(daemon, "regretted", lambda view: view["phase"] == "stopping", "its guest was asked")
    daemon.drop("regretted", text)
    view = wait_view(daemon, "regretted", lambda view: view["phase"] == "running" and view["pid"] != pid, "it is up again")
    assert (view["power"], view["config_state"]) == ("on", "valid")


def test_a_config_directory_that_vanishes_says_nothing_about_its_vms(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        daemon.drop("vm", daemon.halting())
        pid = daemon.wait_phase("vm", "running")["pid"]
        away = daemon.config_dir.rename(tmp_path / "away")
        troubled = [str(daemon.config_dir)]
        until(lambda: any(troubled[0] in event["message"] for event in directory_events(daemon)), "it is told")
        view = view_of(daemon, "vm")
        assert (view["phase"], view["pid"], view["config_state"]) == ("running", pid, "valid")
        away.rename(daemon.config_dir)
        until(lambda: len(directory_events(daemon)) == 2, "it can be read again")
        assert view_of(daemon, "vm")["pid"] == pid


def directory_events(daemon: Daemon) -> list[dict[str, str]]:
    """What was said about the directory itself."""
    events: list[dict[str, str]] = daemon.client.get("/v1/events")["events"]
    return [event for event in events if event["code"] == "config.directory"]
