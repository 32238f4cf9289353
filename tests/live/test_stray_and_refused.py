"""What qsup leaves alone because it is not its own, and what this host cannot take."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.harness import Daemon, running_daemon, until
from tests.live.views import codes_of, events_of, names_of, order, view_of, wait_known, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon of the test's own: it dies in it."""
    with running_daemon(tmp_path) as running:
        yield running


def test_a_qemu_with_an_unreadable_record_is_reported_and_untouched(own: Daemon) -> None:
    own.drop("vm", own.halting())
    pid = own.wait_phase("vm", "running")["pid"]
    own.kill()
    record = own.run_dir / "vms" / "vm" / "launch.json"
    good = record.read_bytes()
    record.write_bytes(b"{ this is no record")
    own.start()
    view = view_of(own, "vm")
    assert view["phase"] == "stray"
    assert str(pid) in view["reason"]
    assert "vm.stray" in codes_of(own, "vm")
    wait_view(own, "vm", lambda view: view["config_state"] == "valid", "its file is read as well")
    for verb in ("start", "stop", "restart"):
        assert order(own, verb, "vm", check=1)["error"]["code"] == "supervisor.stray"
    assert pid in own.qemu_pids(), "nobody touched it"
    assert record.read_bytes() == b"{ this is no record"
    record.write_bytes(good)
    own.kill()
    own.start()
    again = wait_view(own, "vm", lambda view: view["phase"] == "running", "with its record back it is adopted")
    assert (again["pid"], again["adopted"]) == (pid, True)


def test_a_qemu_that_somebody_else_started_in_the_run_directory_is_not_ended(own: Daemon) -> None:
    own.kill()
    place = own.run_dir / "vms" / "foreign"
    place.mkdir(parents=True, mode=0o700)
    words = ["qemu-system-x86_64", "-machine", "none", "-display", "none", "-nodefaults", "-S"]
    with subprocess.Popen([*words, "-pidfile", str(place / "pid")], cwd=place) as stranger:
        try:
            until((place / "pid").exists, "it is up")
            own.start()
            assert view_of(own, "foreign")["phase"] == "stray"
            assert str(stranger.pid) in own.cli("status", "foreign", check=3).stdout
            assert order(own, "stop", "foreign", "--force", check=1)["error"]["code"] == "supervisor.stray"
            assert stranger.poll() is None
        finally:
            stranger.kill()
    own.kill()
    own.start()
    assert "foreign" not in names_of(own), "when it is gone, so is what was left of it"


def test_a_vm_that_does_not_fit_is_refused_with_its_reasons(daemon: Daemon) -> None:
    daemon.drop("huge", daemon.halting(memory='size = "4TiB"', cpu='vcpus = 64\nplacement = "dedicated"'))
    view = wait_view(daemon, "huge", lambda view: view["refusal"], "it is refused")
    codes = {reason["code"] for reason in view["refusal"]}
    assert len(codes) > 1, "every failing constraint, not the first"
    assert all(reason["message"] and reason["hint"] for reason in view["refusal"])
    assert (view["phase"], view["pid"], view["power"]) == ("absent", None, "on")
    assert daemon.vms()["huge"]["refusal_count"] == len(view["refusal"])
    answer = order(daemon, "start", "huge", check=69)["error"]
    assert (answer["kind"], {reason["code"] for reason in answer["reasons"]}) == ("refused", codes)
    text = daemon.cli("start", "huge", check=69).stderr
    assert all(f"[{code}]" in text for code in codes)
    assert not (daemon.run_dir / "vms" / "huge").exists()
    refusals = [event for event in events_of(daemon, "huge") if event["code"] in codes]
    assert len(refusals) == 1, "said once, however often it is tried"


def test_a_missing_bridge_is_named_and_taken_once_it_is_there(daemon: Daemon) -> None:
    bridge = f"qs{os.getpid() % 100000}room"
    daemon.drop("waiting", daemon.halting(f'[[nic]]\nbridge = "{bridge}"\n'))
    view = wait_view(daemon, "waiting", lambda view: view["refusal"], "it is refused")
    assert bridge in view["refusal"][0]["message"]
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
    try:
        assert order(daemon, "start", "waiting")["phase"] == "running"
        running = view_of(daemon, "waiting")
        assert (running["refusal"], running["trouble"]) == ([], None)
        assert order(daemon, "stop", "waiting", "--force")["changed"]
    finally:
        subprocess.run(["ip", "link", "del", bridge], check=True)


def test_a_refused_vm_says_who_holds_its_place_and_starts_by_itself_when_it_is_free(daemon: Daemon) -> None:
    spare = len(os.sched_getaffinity(0))
    text = daemon.halting(cpu=f'vcpus = {spare}\nplacement = "dedicated"')
    daemon.drop("first", text.replace("[vm]", "[vm]\nautostart = false", 1))
    wait_known(daemon, "first")
    if "error" in json.loads(daemon.cli("start", "first", "--json", check=None).stdout)[0]:
        pytest.skip("this host keeps pCPUs for itself, a VM cannot have them all")
    daemon.drop("second", daemon.halting(cpu='vcpus = 1\nplacement = "dedicated"'))
    view = wait_view(daemon, "second", lambda view: view["refusal"], "there is no pCPU left")
    assert any("first" in (holder for holder, _ in reason["held_by"]) for reason in view["refusal"])
    order(daemon, "stop", "first", "--force")
    running = daemon.wait_phase("second", "running")
    assert (running["refusal"], running["trouble"]) == ([], None)
