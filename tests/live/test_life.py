"""The life of a VM by its verbs: what each one does, says, and returns, and that each one can be repeated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.evidence import masks_of, vcpu_masks_of
from tests.live.guests import LISTENER, rom_of, vm_text
from tests.live.harness import Daemon, running_daemon, until
from tests.live.views import codes_of, order, view_of, wait_known, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]

PINNED = 'vcpus = 2\nplacement = "pinned"\npin = ["1", "0"]'


def off(text: str) -> str:
    """The same VM, not started by itself."""
    return text.replace("[vm]", "[vm]\nautostart = false", 1)


def test_a_dropped_file_runs_and_is_shown(daemon: Daemon) -> None:
    daemon.drop("shown", daemon.halting(cpu=PINNED).replace("[vm]", '[vm]\ndescription = "the first"', 1))
    view = daemon.wait_phase("shown", "running")
    assert (view["power"], view["config_state"], view["qemu_status"], view["accel"]) == ("on", "valid", "running", "kvm")
    assert (view["description"], view["vcpus"], view["memory_bytes"], view["placement"]) == ("the first", 2, 32 << 20, "pinned")
    assert view["trouble"] is None
    assert view["problems"] == view["pending"] == view["refusal"] == []
    assert view["config_file"] == str(daemon.config_dir / "shown.toml")
    assert {row["role"]: row["affinity"] for row in view["threads"]}.items() >= {"vcpu 0": "1", "vcpu 1": "0"}.items()
    wait_view(daemon, "shown", lambda now: {row["tid"] for row in now["threads"]} == set(masks_of(view["pid"])), "every thread")
    assert {row["verdict"] for row in view["threads"]} == {"ok"}
    assert Path(view["serial_log"]).exists()

    listed = daemon.vms()["shown"]
    assert {key: listed[key] for key in ("name", "phase", "pid")} == {"name": "shown", "phase": "running", "pid": view["pid"]}
    assert "running" in daemon.cli("list").stdout
    assert str(view["pid"]) in daemon.cli("status", "shown").stdout
    assert json.loads(daemon.cli("status", "--json").stdout)["pid"] == daemon_pid(daemon)
    assert daemon.cli("status", "--offline", "shown").stdout == "shown: running\n"


def daemon_pid(daemon: Daemon) -> int:
    assert daemon.process is not None
    return daemon.process.pid


def test_held_before_the_first_instruction_with_its_pins_in_force(daemon: Daemon) -> None:
    listener = rom_of(daemon, "listener", LISTENER)
    daemon.drop("held", off(vm_text(listener, cpu=PINNED)))
    wait_known(daemon, "held")
    held = order(daemon, "start", "held", "--paused")
    assert (held["changed"], held["phase"]) == (True, "placed")
    view = view_of(daemon, "held")
    assert view["qemu_status"] == "prelaunch"
    assert vcpu_masks_of(view["pid"]) == ["1", "0"]
    assert Path(view["serial_log"]).read_bytes() == b"", "no instruction ran"

    again = order(daemon, "start", "held", "--paused")
    assert (again["changed"], again["message"]) == (False, "already placed")
    resumed = order(daemon, "resume", "held")
    assert (resumed["changed"], resumed["phase"]) == (True, "running")
    until(lambda: Path(view["serial_log"]).read_bytes() == b"ready\n", "the guest says that it runs")
    assert vcpu_masks_of(view["pid"]) == ["1", "0"]


def test_pause_resume_and_reset_keep_the_process(daemon: Daemon) -> None:
    listener = rom_of(daemon, "listener", LISTENER)
    daemon.drop("steered", vm_text(listener))
    first = daemon.wait_phase("steered", "running")
    assert order(daemon, "pause", "steered")["phase"] == "paused"
    assert view_of(daemon, "steered")["qemu_status"] == "paused"
    assert not order(daemon, "pause", "steered")["changed"]
    assert order(daemon, "resume", "steered")["phase"] == "running"
    assert order(daemon, "resume", "steered") == {
        "vm": "steered",
        "verb": "resume",
        "changed": False,
        "message": "already running",
        "phase": "running",
    }
    log = Path(first["serial_log"])
    until(lambda: log.read_bytes() == b"ready\n", "the guest booted once")
    assert order(daemon, "reset", "steered")["changed"]
    until(lambda: log.read_bytes() == b"ready\n" * 2, "the guest booted again")
    assert view_of(daemon, "steered")["pid"] == first["pid"]


def test_restart_ends_the_process_and_makes_a_new_one(daemon: Daemon) -> None:
    daemon.drop("again", daemon.halting())
    first = daemon.wait_phase("again", "running")
    done = order(daemon, "restart", "again")
    assert (done["message"], done["phase"]) == ("restarted", "running")
    second = view_of(daemon, "again")
    assert second["pid"] not in (None, first["pid"])
    assert not os.path.exists(f"/proc/{first['pid']}")
    assert second["trouble"] is None
    assert second["last_ending_code"] == "vm.stopped", "an ordered end is no failure"
    assert len(second["starts"]) == 2
    forced = order(daemon, "restart", "again", "--force")
    assert forced["phase"] == "running"
    assert view_of(daemon, "again")["pid"] != second["pid"]
    assert "vm.died" not in codes_of(daemon, "again")


def test_a_guest_that_ignores_its_power_button_is_terminated_after_its_grace(daemon: Daemon) -> None:
    daemon.drop("deaf", daemon.halting())
    daemon.wait_phase("deaf", "running")
    assert order(daemon, "stop", "deaf")["message"] == "stopped"
    codes = codes_of(daemon, "deaf")
    assert codes[codes.index("vm.stopping") :] == ["vm.stopping", "vm.terminating", "vm.stopped"]
    assert order(daemon, "stop", "deaf")["message"] == "already off"
    view = view_of(daemon, "deaf")
    assert (view["phase"], view["power"], view["pid"], view["last_ending_code"]) == ("absent", "off", None, "vm.stopped")
    daemon.cli("status", "deaf", check=3)
    assert daemon.cli("status", "--offline", "deaf", check=3).stdout == "deaf: not-running\n"


def test_a_guest_that_obeys_its_power_button_is_not_terminated(daemon: Daemon) -> None:
    daemon.drop("good", vm_text(rom_of(daemon, "listener", LISTENER), vm="grace_period_s = 60"))
    log = Path(daemon.wait_phase("good", "running")["serial_log"])
    until(lambda: log.read_bytes() == b"ready\n", "the guest minds its button")
    assert order(daemon, "stop", "good")["message"] == "stopped"
    assert "vm.terminating" not in codes_of(daemon, "good")
    assert view_of(daemon, "good")["last_ending_code"] == "vm.stopped"


def test_forced_stop_asks_nobody_and_overtakes_a_graceful_one(daemon: Daemon) -> None:
    daemon.drop("forced", daemon.halting(grace_s=600))
    daemon.wait_phase("forced", "running")
    assert order(daemon, "stop", "forced", "--no-wait")["message"] == "accepted"
    wait_view(daemon, "forced", lambda view: view["phase"] == "stopping", "the guest was asked")
    assert order(daemon, "stop", "forced", "--force")["message"] == "stopped"
    order(daemon, "start", "forced")
    assert order(daemon, "stop", "forced", "--force")["phase"] == "absent"
    assert codes_of(daemon, "forced").count("vm.stopping") == 1, "the forced stop pressed no button"


def test_a_request_that_another_one_overtakes_says_so(daemon: Daemon) -> None:
    daemon.drop("torn", daemon.halting(grace_s=600))
    daemon.wait_phase("torn", "running")
    words = [sys.executable, "-m", "qsup.cli", "stop", "torn", "--run-dir", str(daemon.run_dir)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as patient:
        wait_view(daemon, "torn", lambda view: view["phase"] == "stopping", "the guest was asked")
        assert order(daemon, "start", "torn", "--no-wait")["message"] == "accepted"
        assert "supervisor.overtaken" in patient.communicate(timeout=60)[1]
        assert patient.returncode == 1
    assert order(daemon, "stop", "torn", "--force")["message"] == "stopped"


def test_verbs_without_waiting_and_several_at_once(daemon: Daemon) -> None:
    for name in ("one", "two"):
        daemon.drop(name, off(daemon.halting()))
        wait_known(daemon, name)
        assert view_of(daemon, name)["phase"] == "absent"
    done = daemon.cli("start", "one", "two", "--no-wait", "--json")
    assert [answer["message"] for answer in json.loads(done.stdout)] == ["accepted", "accepted"]
    for name in ("one", "two"):
        daemon.wait_phase(name, "running")
        assert order(daemon, "start", name)["message"] == "already running"
    text = daemon.cli("stop", "one", "two", "--force").stdout
    assert sorted(text.splitlines()) == ["one: stopped", "two: stopped"]


def test_verbs_that_make_no_sense_now_say_so(daemon: Daemon) -> None:
    daemon.drop("idle", off(daemon.halting()))
    wait_known(daemon, "idle")
    for verb in ("pause", "resume", "reset"):
        assert order(daemon, verb, "idle", check=1)["error"]["code"] == "supervisor.not-now"
    assert order(daemon, "restart", "idle")["phase"] == "running", "a restart of what is off starts it"


def test_what_nobody_knows(daemon: Daemon) -> None:
    assert "did you mean" not in daemon.cli("start", "zzzzzz", check=66).stderr
    assert daemon.cli("status", "nosuch", check=66).stdout == ""
    assert order(daemon, "stop", "nosuch", check=66)["error"]["code"] == "api.unknown-vm"
    assert daemon.cli("status", "--offline", "nosuch", check=3).stdout == "nosuch: not-running\n"


def test_a_second_daemon_on_the_run_directory_refuses(daemon: Daemon) -> None:
    words = [sys.executable, "-m", "qsup.cli", "daemon", "--config-dir", str(daemon.config_dir)]
    words += ["--run-dir", str(daemon.run_dir), "--state-dir", str(daemon.state_dir)]
    second = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 1
    assert f"pid {daemon_pid(daemon)}" in second.stderr
    assert "process.run-dir-in-use" in second.stderr
    assert daemon.client.get("/v1/host")["pid"] == daemon_pid(daemon), "the first one goes on"


def test_a_stop_holds_over_daemons_until_the_next_start(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        daemon.drop("vm", daemon.halting())
        daemon.drop("paused", daemon.halting())
        daemon.wait_phase("vm", "running")
        daemon.wait_phase("paused", "running")
        daemon.cli("pause", "paused")
        daemon.cli("stop", "vm")
        daemon.stop()
        absent = daemon.cli("list", check=75)
        assert "daemon" in absent.stderr
        assert daemon.cli("start", "vm", check=75).stdout == ""
        daemon.start()
        wait_view(daemon, "vm", lambda view: view["config_state"] == "valid", "the file is read again")
        assert wait_view(daemon, "paused", lambda view: view["phase"] == "paused", "still paused")["adopted"]
        daemon.drop("vm", daemon.halting(cpu="vcpus = 2"))
        wait_view(daemon, "vm", lambda view: view["vcpus"] == 2, "the new version is in force")
        view = view_of(daemon, "vm")
        assert (view["phase"], view["power"]) == ("absent", "off")
        assert order(daemon, "start", "vm")["phase"] == "running"
        daemon.kill()
        daemon.start()
        assert wait_view(daemon, "vm", lambda view: view["phase"] == "running", "adopted")["adopted"]
