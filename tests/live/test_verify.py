"""Is it so? Threads that somebody moves, taps that leave their bridge, a QEMU that does not answer."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.harness import Daemon, running_daemon, until
from tests.live.views import codes_of, events_of, wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]

TASKSET = "somebody's taskset or sched_setaffinity: no agent that is known to move threads runs here"
PINNED = 'vcpus = 2\nplacement = "pinned"\npin = ["1", "0"]'


def table_of(daemon: Daemon, name: str, code: int) -> dict[str, Any]:
    """`qsup verify NAME --json`, which must end with this code."""
    table: dict[str, Any] = json.loads(daemon.cli("verify", name, "--json", check=code).stdout)
    return table


def thread_of(table: dict[str, Any], label: str) -> dict[str, Any]:
    row: dict[str, Any] = next(row for row in table["threads"] if row["label"] == label)
    return row


def wait_settled(daemon: Daemon, name: str) -> dict[str, Any]:
    """Wait until a look has found every thread in its place, so that one that is elsewhere was moved."""
    daemon.wait_phase(name, "running")
    until(lambda: daemon.cli("verify", name, check=None).returncode == 0, f"{name} is as planned")
    first = len(daemon.view(name)["threads"])
    return wait_view(daemon, name, lambda view: len(view["threads"]) >= first and not view["drifting"], "all in place")


def last_event(daemon: Daemon, name: str, code: str) -> dict[str, Any]:
    """The newest event with this code, once there is one."""
    event: dict[str, Any] = until(
        lambda: next((event for event in reversed(events_of(daemon, name)) if event["code"] == code), None), code
    )
    return event


@pytest.fixture
def bridge() -> Iterator[str]:
    name = f"qt{os.getpid() % 10**6}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    yield name
    subprocess.run(["ip", "link", "del", name], check=True)


def test_a_moved_thread_is_named_and_put_back(daemon: Daemon) -> None:
    daemon.drop("moved", daemon.halting(cpu=PINNED))
    wait_settled(daemon, "moved")
    vcpu = thread_of(table_of(daemon, "moved", 0), "vcpu 0")
    assert (vcpu["pin"], vcpu["affinity"]) == ("1", "1")
    os.sched_setaffinity(vcpu["tid"], {0})
    until(lambda: os.sched_getaffinity(vcpu["tid"]) == {1}, "it is back")
    event = last_event(daemon, "moved", "vm.thread-moved-back")
    assert event["message"] == f"vcpu 0 (thread {vcpu['tid']}) was on pCPUs 0 and is back on 1. Likely: {TASKSET}"
    assert event["fields"] == {
        "thread": "vcpu 0",
        "class": "vcpu",
        "tid": str(vcpu["tid"]),
        "name": "CPU 0/KVM",
        "from": "0",
        "to": "1",
        "suspects": TASKSET,
    }
    view = wait_view(daemon, "moved", lambda view: view["repairs"] == 1, "it is counted")
    assert (view["drifting"], view["left_alone"]) == (0, 0)
    assert table_of(daemon, "moved", 0)["repairs"] == 1


def test_real_time_vcpus_run_so_and_are_checked(tmp_path: Path) -> None:
    cpu = 'vcpus = 1\nplacement = "dedicated"\nrealtime_priority = 3'
    with running_daemon(tmp_path) as daemon:  # its own: the pins of the other tests' VMs leave no pCPU to dedicate
        daemon.drop("rt", daemon.halting(cpu=cpu))
        wait_settled(daemon, "rt")
        vcpu = thread_of(table_of(daemon, "rt", 0), "vcpu 0")
        assert os.sched_getscheduler(vcpu["tid"]) == os.SCHED_FIFO
        assert os.sched_getparam(vcpu["tid"]).sched_priority == 3
        assert "vm.priority-restored" not in codes_of(daemon, "rt")
        os.sched_setscheduler(vcpu["tid"], os.SCHED_OTHER, os.sched_param(0))
        until(lambda: os.sched_getscheduler(vcpu["tid"]) == os.SCHED_FIFO, "its priority is back")
        assert os.sched_getparam(vcpu["tid"]).sched_priority == 3
        event = last_event(daemon, "rt", "vm.priority-restored")
        assert event["message"] == f"vcpu 0 (thread {vcpu['tid']}) was under other and is back at fifo 3"
        assert (event["fields"]["thread"], event["fields"]["from"], event["fields"]["to"]) == ("vcpu 0", "other", "fifo 3")
        wait_view(daemon, "rt", lambda view: view["repairs"] == 1 and not view["drifting"], "it is counted")
        changes = codes_of(daemon, "rt").count("config.changed")
        daemon.drop("rt", daemon.halting(cpu=cpu).replace("[vm]", "[vm]\nrepair = false", 1))
        until(lambda: codes_of(daemon, "rt").count("config.changed") > changes, "the rule is in force")
        os.sched_setscheduler(vcpu["tid"], os.SCHED_OTHER, os.sched_param(0))
        assert last_event(daemon, "rt", "vm.priority-lost")["fields"]["to"] == "other"
        row = thread_of(table_of(daemon, "rt", 1), "vcpu 0")
        assert (row["verdict"], row["note"]) == ("drift", "its scheduler is other, planned is fifo 3")
        daemon.drop("both", daemon.halting(cpu='vcpus = 2\nplacement = "pinned"\npin = ["0", "1"]\nrealtime_priority = 3'))
        view = wait_view(daemon, "both", lambda view: view["refusal"], "it is refused")
        assert "plan.realtime-starves" in {reason["code"] for reason in view["refusal"]}


def test_kernel_threads_and_emulator_threads_are_put_back_as_well(daemon: Daemon) -> None:
    cpu = 'vcpus = 1\nplacement = "pinned"\npin = ["0"]\nemulator = "1"'
    daemon.drop("helpers", daemon.halting(cpu=cpu))
    wait_settled(daemon, "helpers")
    rows = [row for row in table_of(daemon, "helpers", 0)["threads"] if row["kind"] in ("emulator", "kvm-pit")]
    assert {row["affinity"] for row in rows} == {"1"}
    assert "kvm-pit" in {row["kind"] for row in rows}

    def are_all_told() -> bool:
        told = {event["fields"]["tid"] for event in events_of(daemon, "helpers") if event["code"] == "vm.thread-moved-back"}
        for row in rows:
            # A kernel thread is known to the daemon a tick after the start: before that nobody moved it.
            if str(row["tid"]) not in told and os.sched_getaffinity(row["tid"]) == {1}:
                os.sched_setaffinity(row["tid"], {0, 1})
        return {str(row["tid"]) for row in rows} <= told

    until(are_all_told, "each one is named")
    # The last one may have been moved once more after the event that told of it.
    until(lambda: all(os.sched_getaffinity(row["tid"]) == {1} for row in rows), "all are back")


def test_a_thread_that_is_moved_again_and_again_is_left_alone(daemon: Daemon) -> None:
    daemon.drop("fought", daemon.halting(cpu=PINNED))
    wait_settled(daemon, "fought")
    tid = thread_of(table_of(daemon, "fought", 0), "vcpu 0")["tid"]

    def move_until_left() -> bool:
        if os.sched_getaffinity(tid) == {1}:
            os.sched_setaffinity(tid, {0})
        return "vm.thread-left-alone" in codes_of(daemon, "fought")

    until(move_until_left, "qsup stops fighting")
    event = last_event(daemon, "fought", "vm.thread-left-alone")
    assert event["fields"]["suspects"] == TASKSET
    assert "left alone for 10 min" in event["message"]
    view = wait_view(daemon, "fought", lambda view: view["left_alone"] == 1, "it is counted")
    assert (view["repairs"], view["drifting"], view["phase"]) == (5, 1, "running")
    row = thread_of(table_of(daemon, "fought", 1), "vcpu 0")
    assert (row["affinity"], row["verdict"], row["note"]) == ("0", "drift", "left alone: somebody moves it again and again")
    os.sched_setaffinity(tid, {1})
    assert table_of(daemon, "fought", 0)["left_alone"] == 1
    assert codes_of(daemon, "fought").count("vm.thread-left-alone") == 1


def test_without_repair_a_moved_thread_is_only_reported(daemon: Daemon) -> None:
    text = daemon.halting(cpu=PINNED)
    daemon.drop("told", text.replace("[vm]", "[vm]\nrepair = false", 1))
    wait_settled(daemon, "told")
    tid = thread_of(table_of(daemon, "told", 0), "vcpu 1")["tid"]
    os.sched_setaffinity(tid, {1})
    event = last_event(daemon, "told", "vm.thread-moved")
    assert (event["fields"]["thread"], event["fields"]["from"], event["fields"]["to"]) == ("vcpu 1", "0", "1")
    assert event["fields"]["suspects"] == TASKSET
    wait_view(daemon, "told", lambda view: view["drifting"] == 1, "it drifts")
    assert os.sched_getaffinity(tid) == {1}
    assert table_of(daemon, "told", 1)["counts"]["drift"] == 1
    daemon.drop("told", text)
    until(lambda: os.sched_getaffinity(tid) == {0}, "a file without repair = false puts it back")
    assert "vm.thread-moved-back" in codes_of(daemon, "told")


def test_everything_of_a_vm_with_all_kinds_of_device(tmp_path: Path, bridge: str) -> None:
    tmp_path.chmod(0o755)
    images = [tmp_path / f"{number}.raw" for number in range(3)]
    for image in images:
        image.touch(0o666)
        os.truncate(image, 1 << 20)
    disks = [f'[[disk]]\npath = "{image}"\nformat = "raw"\n' for image in images]
    more = f'{disks[0]}aio = "native"\n{disks[1]}aio = "io_uring"\n{disks[2]}aio = "threads"\niothread = false\n'
    more += f'[[nic]]\nbridge = "{bridge}"\nvhost = false\nqueues = 2\n'
    with running_daemon(tmp_path) as daemon:
        daemon.drop("whole", daemon.halting(more, memory='size = "32MiB"\nprealloc = true'))
        pid = daemon.wait_phase("whole", "running")["pid"]
        for disk in ("disk0", "disk1"):  # since QEMU 10 nothing tells how requests travel before there is one
            daemon.cli("hmp", "whole", f'qemu-io -d /machine/peripheral/{disk}/virtio-backend "aio_read 0 4k"')
        until(lambda: daemon.cli("verify", "whole", check=None).returncode == 0, "all is as planned")
        table = table_of(daemon, "whole", 0)
        assert {"vcpu", "iothread", "emulator", "kvm-pit"} <= {row["kind"] for row in table["threads"]}
        process_tids = {int(tid) for tid in os.listdir(f"/proc/{pid}/task")}
        assert {row["tid"] for row in table["threads"] if row["kind"] != "worker"} - process_tids == {
            row["tid"] for row in table["threads"] if row["kind"] == "kvm-pit"
        }
        (memory,) = table["memory"]
        assert (memory["policy_in_force"], memory["local_percent"], memory["present_bytes"]) == ("bind", 100.0, 32 << 20)
        assert sum(part["count"] for part in memory["pages"]) * 4096 == 32 << 20
        assert [(disk["aio_in_force"], disk["iothread_in_force"]) for disk in table["disks"]] == [
            ("native", "io-disk0"),
            ("io_uring", "io-disk1"),
            ("threads", ""),
        ]
        (nic,) = table["nics"]
        assert (nic["bridge_in_force"], nic["mtu_in_force"], nic["queues_in_force"]) == (bridge, 1500, 2)
        assert "repair-memory" not in codes_of(daemon, "whole")
        assert "no page lies on another node" in daemon.cli("verify", "whole", "--repair-memory").stdout

        subprocess.run(["ip", "link", "set", nic["tap"], "nomaster"], check=True)
        (away,) = table_of(daemon, "whole", 1)["nics"]
        assert (away["verdict"], away["note"]) == ("drift", f"{nic['tap']} is a port of no bridge, not of {bridge}")
        assert away["note"] in daemon.cli("verify", check=1).stdout
        subprocess.run(["ip", "link", "set", nic["tap"], "master", bridge, "mtu", "1400"], check=True)
        assert "MTU is 1400" in table_of(daemon, "whole", 1)["nics"][0]["note"]


def test_a_qemu_that_does_not_answer_still_has_its_rows_and_its_pins(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    image = tmp_path / "a.raw"
    image.touch(0o666)
    os.truncate(image, 1 << 20)
    with running_daemon(tmp_path, "[daemon]\nunresponsive_after_s = 2\n") as daemon:
        daemon.drop("mute", daemon.halting(f'[[disk]]\npath = "{image}"\nformat = "raw"\n', cpu=PINNED))
        pid = wait_settled(daemon, "mute")["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            table = table_of(daemon, "mute", 4)
            assert table["notes"] == ["QEMU does not answer: what only QEMU can tell is missing"]
            assert {row["verdict"] for row in table["threads"]} == {"ok"}
            assert [row["verdict"] for row in table["disks"]] == ["unknown"]
            daemon.kill()
            daemon.start()
            wait_view(daemon, "mute", lambda view: view["adopted"] and view["phase"] == "unresponsive", "adopted, mute")
            table = table_of(daemon, "mute", 4)
            assert any("told apart by their names" in note for note in table["notes"])
            tid = thread_of(table, "vcpu 0")["tid"]
            os.sched_setaffinity(tid, {0, 1})
            until(lambda: os.sched_getaffinity(tid) == {1}, "its thread is put back without QEMU's help")
            assert last_event(daemon, "mute", "vm.thread-moved-back")["fields"]["thread"] == "vcpu 0"
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: daemon.cli("verify", "mute", check=None).returncode == 0, "it answers again")


def test_a_thread_is_put_back_while_an_order_waits_for_qemu(daemon: Daemon) -> None:
    daemon.drop("waiting", daemon.halting(cpu=PINNED))
    pid = wait_settled(daemon, "waiting")["pid"]
    tid = thread_of(table_of(daemon, "waiting", 0), "vcpu 0")["tid"]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        os.kill(pid, signal.SIGSTOP)
        try:
            paused = pool.submit(daemon.cli, "pause", "waiting")
            wait_view(daemon, "waiting", lambda view: view["power"] == "paused", "the order is taken")
            os.sched_setaffinity(tid, {0})
            until(lambda: os.sched_getaffinity(tid) == {1}, "it is back")
            last_event(daemon, "waiting", "vm.thread-moved-back")
            assert not paused.done()
        finally:
            os.kill(pid, signal.SIGCONT)
        assert paused.result().returncode == 0
    daemon.wait_phase("waiting", "paused")


def test_what_does_not_run_and_what_is_not_qsups(daemon: Daemon) -> None:
    daemon.drop("off", daemon.halting().replace("[vm]", "[vm]\nautostart = false", 1))
    wait_view(daemon, "off", lambda view: view["config_state"] == "valid", "its file is read")
    assert table_of(daemon, "off", 3)["verdict"] == "not running"
    assert "not running" in daemon.cli("verify", "off", check=3).stdout
    assert "supervisor.not-running" in daemon.cli("verify", "off", "--repair-memory", check=1).stderr
    assert daemon.cli("verify", "nobodys", check=66).stdout == ""


def test_threads_that_vanish_while_they_are_read(daemon: Daemon) -> None:
    daemon.drop("vanishing", daemon.halting(cpu="vcpus = 4"))
    daemon.wait_phase("vanishing", "running")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(daemon.client.get, "/v1/vms/vanishing/verify") for _ in range(12)]
        daemon.cli("stop", "vanishing", "--force")
        tables = [done.result() for done in asked]
    assert {table["verdict"] for table in tables} <= {"ok", "drift", "unknown", "not running"}
    assert table_of(daemon, "vanishing", 3)["threads"] == []
    assert "supervisor.bug" not in codes_of(daemon, "vanishing")
