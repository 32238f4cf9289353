"""QEMU ends without an order, or never comes up: what is reported, what follows, and when it stays down."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.live.guests import LISTENER, rom_of, vm_text
from tests.live.harness import Daemon, running_daemon, until
from tests.live.views import codes_of, events_of, order, view_of, wait_known, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]

AT_ONCE = "restart_delay_s = 0\nrestart_delay_max_s = 0"


def with_rules(text: str, rules: str) -> str:
    """The same VM with more in [vm]."""
    return text.replace("[vm]", f"[vm]\n{rules}", 1)


def killed(daemon: Daemon, name: str) -> int:
    """Wait until the VM runs, kill its QEMU, and return the pid that it had."""
    pid: int = daemon.wait_phase(name, "running")["pid"]
    os.kill(pid, signal.SIGKILL)
    return pid


def test_a_killed_qemu_is_reported_with_its_signal_and_started_again(daemon: Daemon) -> None:
    daemon.drop("phoenix", with_rules(daemon.halting(), AT_ONCE))
    first = killed(daemon, "phoenix")
    view = wait_view(daemon, "phoenix", lambda view: view["phase"] == "running" and view["pid"] != first, "a new QEMU")
    assert view["last_ending_code"] == "vm.died"
    assert "signal 9 (SIGKILL)" in view["last_ending"]
    assert view["restarts"] == 1
    assert view["trouble"] is None, "what is mended is no trouble any more"
    assert "SIGKILL" in daemon.cli("status", "phoenix").stdout


def test_the_next_start_waits_for_the_back_off_and_an_order_does_not(daemon: Daemon) -> None:
    daemon.drop("patient", with_rules(daemon.halting(), "restart_delay_s = 600\nrestart_delay_max_s = 600"))
    killed(daemon, "patient")
    view = wait_view(daemon, "patient", lambda view: view["phase"] == "absent" and view["next_start_in_s"], "it waits")
    assert 0 < view["next_start_in_s"] <= 600
    assert (view["phase"], view["pid"], view["power"]) == ("absent", None, "on")
    assert view["reason"] == "waiting before the next start"
    assert view["trouble_code"] == "vm.died"
    assert "next start" in daemon.cli("status", "patient", check=3).stdout
    assert order(daemon, "start", "patient")["phase"] == "running"
    killed(daemon, "patient")
    wait_view(daemon, "patient", lambda view: view["pid"] is None and view["phase"] == "absent", "it is down again")
    assert order(daemon, "stop", "patient")["phase"] == "absent"
    assert view_of(daemon, "patient")["next_start_in_s"] is None


def test_at_its_start_limit_a_vm_stays_down_and_a_start_gives_a_fresh_chance(daemon: Daemon) -> None:
    daemon.drop("limited", with_rules(daemon.halting(), f"{AT_ONCE}\nstart_limit = 2"))
    first = killed(daemon, "limited")
    wait_view(daemon, "limited", lambda view: view["phase"] == "running" and view["pid"] != first, "the first restart")
    killed(daemon, "limited")
    view = wait_view(daemon, "limited", lambda view: "start limit" in view["reason"], "it is given up")
    assert (view["phase"], view["power"], view["pid"], view["next_start_in_s"]) == ("absent", "on", None, None)
    assert "2 times within 600 s" in view["reason"]
    assert "start limit" in daemon.cli("status", "limited", check=3).stdout
    assert codes_of(daemon, "limited")[-1] == "vm.given-up"
    assert order(daemon, "start", "limited")["phase"] == "running"
    last = killed(daemon, "limited")
    wait_view(daemon, "limited", lambda view: view["phase"] == "running" and view["pid"] != last, "the count began anew")


def test_never_restarted_where_the_policy_says_so(daemon: Daemon) -> None:
    daemon.drop("once", with_rules(daemon.halting(), f'{AT_ONCE}\nrestart = "never"'))
    killed(daemon, "once")
    view = wait_view(daemon, "once", lambda view: view["phase"] == "absent" and view["reason"], "it stays down")
    assert '"never"' in view["reason"]
    daemon.kill()
    daemon.start()
    again = wait_view(daemon, "once", lambda view: view["config_state"] == "valid" and view["reason"], "its file is known")
    assert (again["phase"], again["reason"]) == ("absent", view["reason"]), "the next daemon leaves it down, too"
    assert order(daemon, "start", "once")["phase"] == "running"


def test_what_the_binary_lacks_is_refused_with_its_key(daemon: Daemon) -> None:
    text = daemon.halting().replace('model = "qemu64"', 'model = "nosuchcpu"')
    daemon.drop("lacking", with_rules(text, "autostart = false"))
    wait_known(daemon, "lacking")
    error = order(daemon, "start", "lacking", check=65)["error"]
    assert (error["code"], error["problems"][0]["key"]) == ("argv.no-cpu-model", "cpu.model")
    view = view_of(daemon, "lacking")
    assert (view["phase"], view["pid"], view["trouble_code"]) == ("absent", None, "argv.no-cpu-model")
    assert not (daemon.run_dir / "vms" / "lacking").exists(), "nothing of it is left"
    assert "nosuchcpu" in daemon.cli("status", "lacking", check=3).stdout


def test_a_qemu_that_does_not_come_up_leaves_its_last_words(daemon: Daemon) -> None:
    text = daemon.halting().replace('model = "qemu64"', 'model = "qemu64,no-such-feature=on"')
    daemon.drop("mute", with_rules(text, "autostart = false\nrestart_delay_s = 600\nrestart_delay_max_s = 600"))
    wait_known(daemon, "mute")
    error = order(daemon, "start", "mute", check=1)["error"]
    assert (error["kind"], error["code"]) == ("qemu-failed", "vm.start-failed")
    assert "no-such-feature" in error["last_words"]
    assert error["ending"] == "exited with status 1"
    assert "-cpu" in error["hint"]
    assert "[cpu] model" in error["hint"], "the key that caused it"
    view = view_of(daemon, "mute")
    assert "no-such-feature" in view["last_words"]
    assert (view["phase"], view["last_ending_code"]) == ("absent", "vm.start-failed")
    assert "no-such-feature" in daemon.cli("status", "mute", check=3).stdout
    ended = next(event for event in events_of(daemon, "mute") if event["code"] == "vm.start-failed")
    assert "no-such-feature" in ended["fields"]["last_words"]
    assert order(daemon, "stop", "mute")["phase"] == "absent"


def test_a_firmware_that_is_not_there_is_named_and_comes_to_run_when_it_is(daemon: Daemon) -> None:
    rom = daemon.root / "late.rom"
    daemon.drop("late", with_rules(vm_text(rom), "autostart = false"))
    wait_known(daemon, "late")
    error = order(daemon, "start", "late", check=69)["error"]
    assert str(rom) in error["message"]
    assert str(rom) in view_of(daemon, "late")["refusal"][0]["message"]
    rom_of(daemon, "late", LISTENER)
    assert order(daemon, "start", "late")["phase"] == "running"
    assert view_of(daemon, "late")["refusal"] == []


def test_a_binary_that_dies_at_once_is_told_apart_from_a_guest_that_crashed(tmp_path: Path, open_dir: Path) -> None:
    qemu, broken = open_dir / "qemu", open_dir / "broken"
    breaks = f'if [ -e {broken} ]; then echo "library too old" >&2; exit 7; fi'
    qemu.write_text(f'#!/bin/sh\n{breaks}\nexec qemu-system-x86_64 "$@"\n')
    qemu.chmod(0o755)
    with running_daemon(tmp_path, f'[daemon]\nqemu = "{qemu}"\n') as daemon:
        daemon.drop("vm", with_rules(daemon.halting(), "autostart = false\nrestart_delay_s = 600\nrestart_delay_max_s = 600"))
        wait_known(daemon, "vm")
        assert order(daemon, "start", "vm")["phase"] == "running"
        order(daemon, "stop", "vm", "--force")
        broken.touch()
        error = order(daemon, "start", "vm", check=1)["error"]
        assert error["ending"] == "exited with status 7"
        assert error["last_words"] == "library too old"
        broken.unlink()
        assert order(daemon, "start", "vm")["phase"] == "running"


def test_a_missing_binary_is_said_and_nothing_is_made(tmp_path: Path) -> None:
    with running_daemon(tmp_path, '[daemon]\nqemu = "/nowhere/qemu"\n') as daemon:
        daemon.drop("vm", daemon.halting())
        view = wait_view(daemon, "vm", lambda view: view["trouble_code"], "the trouble is told")
        assert view["trouble_code"] == "supervisor.qemu-missing"
        assert "/nowhere/qemu" in view["trouble"]
        assert order(daemon, "start", "vm", check=1)["error"]["code"] == "supervisor.qemu-missing"
        until(lambda: not list((daemon.run_dir / "vms").iterdir()), "no directory is left")
