"""What the guest itself does: it panics, or powers itself off; and what its policy makes of that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.live.consoles import attached_without_daemon, say
from tests.live.guests import LISTENER, PANICKER, rom_of, vm_text
from tests.live.harness import Daemon, until
from tests.live.views import View, codes_of, order, wait_known, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]


def ready(daemon: Daemon, name: str, rules: str) -> View:
    """A listening guest that waits for what it is told."""
    daemon.drop(name, vm_text(rom_of(daemon, "listener", LISTENER), vm=f"grace_period_s = 0.2\n{rules}"))
    return wait_ready(daemon, name, boots=1)


def wait_ready(daemon: Daemon, name: str, boots: int) -> View:
    """Wait until the guest of this QEMU has booted so often."""
    view = daemon.wait_phase(name, "running")
    until(lambda: Path(view["serial_log"]).read_bytes().count(b"ready") == boots, f"{name} booted {boots} times")
    return view


def test_a_panic_is_reported_and_left_to_the_operator(daemon: Daemon) -> None:
    before = ready(daemon, "panicky", "")
    say(daemon, "panicky", b"p")
    view = wait_view(daemon, "panicky", lambda view: view["phase"] == "panicked", "the panic is seen")
    assert (view["pid"], view["qemu_status"]) == (before["pid"], "guest-panicked")
    assert "panicked" in view["reason"]
    assert "vm.panicked" in codes_of(daemon, "panicky")
    assert "panicked" in daemon.cli("list").stdout
    assert order(daemon, "reset", "panicky")["changed"]
    assert wait_ready(daemon, "panicky", boots=2)["pid"] == before["pid"]
    say(daemon, "panicky", b"p")
    daemon.wait_phase("panicky", "panicked")
    assert order(daemon, "stop", "panicky")["phase"] == "absent"


def test_a_guest_that_panics_at_once_keeps_no_order_waiting(daemon: Daemon) -> None:
    text = vm_text(rom_of(daemon, "panicker", PANICKER), vm="grace_period_s = 0.2\nautostart = false")
    daemon.drop("hasty", text)
    wait_known(daemon, "hasty")
    answer = json.loads(daemon.cli("start", "hasty", "--json", check=None).stdout)[0]
    # Whether it is seen to run first is a matter of moments.
    assert answer.get("phase") == "running" or answer["error"]["code"] == "supervisor.in-trouble"
    wait_view(daemon, "hasty", lambda view: view["phase"] == "panicked", "the panic is seen")
    assert order(daemon, "start", "hasty")["message"] == "already panicked"
    assert order(daemon, "restart", "hasty", "--force", "--no-wait")["changed"]
    assert order(daemon, "stop", "hasty", "--force")["phase"] == "absent"


def test_a_panic_resets_the_guest_where_its_policy_says_so(daemon: Daemon) -> None:
    before = ready(daemon, "resetting", 'on_panic = "reset"')
    say(daemon, "resetting", b"p")
    assert wait_ready(daemon, "resetting", boots=2)["pid"] == before["pid"]
    assert {"vm.panicked", "vm.reset"} <= set(codes_of(daemon, "resetting"))


def test_a_panic_restarts_qemu_where_its_policy_says_so(daemon: Daemon) -> None:
    before = ready(daemon, "renewed", 'on_panic = "restart"\nrestart_delay_s = 0')
    say(daemon, "renewed", b"p")
    wait_view(daemon, "renewed", lambda view: view["pid"] not in (None, before["pid"]), "a new QEMU")
    after = wait_ready(daemon, "renewed", boots=1)
    assert after["last_ending_code"] == "vm.ended-to-restart"
    assert "vm.died" not in codes_of(daemon, "renewed")


def test_a_guest_that_powers_itself_off_stays_off(daemon: Daemon) -> None:
    ready(daemon, "tired", "")
    say(daemon, "tired", b"o")
    view = wait_view(daemon, "tired", lambda view: view["phase"] == "absent", "it is off")
    assert (view["power"], view["pid"], view["trouble"]) == ("off", None, None)
    assert "vm.guest-powered-off" in codes_of(daemon, "tired")
    assert view["last_ending_code"] in ("vm.guest-powered-off", "vm.stopped")
    assert order(daemon, "start", "tired")["phase"] == "running"


def test_a_guest_that_powers_itself_off_is_started_again_where_its_policy_says_so(daemon: Daemon) -> None:
    before = ready(daemon, "restless", 'restart = "always"\nrestart_delay_s = 0')
    say(daemon, "restless", b"o")
    wait_view(daemon, "restless", lambda view: view["pid"] not in (None, before["pid"]), "a new QEMU")
    after = wait_ready(daemon, "restless", boots=1)
    assert (after["last_ending_code"], after["power"]) == ("vm.guest-powered-off", "on")


def test_a_power_off_while_no_daemon_watched_is_read_by_the_next_one(daemon: Daemon) -> None:
    before = ready(daemon, "alone", "")
    daemon.kill()
    with attached_without_daemon(daemon, "alone") as console:
        console.send(b"o")
        console.read_until(b"o")
    daemon.start()
    view = wait_view(daemon, "alone", lambda view: view["phase"] == "absent", "the power-off is accepted")
    assert (view["power"], view["pid"]) == ("off", None)
    assert before["pid"] not in daemon.qemu_pids()
    assert "vm.guest-powered-off" in codes_of(daemon, "alone")


def test_a_panic_while_no_daemon_watched_is_seen_by_the_next_one(daemon: Daemon) -> None:
    before = ready(daemon, "unheard", "")
    daemon.kill()
    with attached_without_daemon(daemon, "unheard") as console:
        console.send(b"p")
        console.read_until(b"p")
    daemon.start()
    view = wait_view(daemon, "unheard", lambda view: view["phase"] == "panicked", "the panic is seen")
    assert (view["pid"], view["adopted"]) == (before["pid"], True)
    assert "vm.panicked" in codes_of(daemon, "unheard")
