"""Wait with blame against burners whose shares are known: by their weights, on the pCPU of a vCPU that burns."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qsup.errors import KernelRefused
from qsup.host.switch_times import SwitchCounter
from tests.live.guests import rom_of
from tests.live.harness import Daemon, running_daemon, until
from tests.live.views import wait_known

pytestmark = [pytest.mark.live, pytest.mark.root]

BURN = bytes.fromhex("ebfe")  # jmp to itself
PCPU = max(os.sched_getaffinity(0))
# kernel/sched/core.c, sched_prio_to_weight: 88761 and 29154, against 1024 of whatever else this machine does meanwhile
HEAVY_NICE, LIGHT_NICE = -20, -15
SPIN = "while True: pass"
HOP = """
import os, time
pcpus = sorted(os.sched_getaffinity(0))
while True:
    for pcpu in pcpus:
        os.sched_setaffinity(0, {pcpu})
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
    print(flush=True)
"""
STORM = """
import os
while True:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
"""


def weigh(pid: int, tid: int, nice: int) -> None:
    """Give a thread its weight, and its session as well: with autogroups (man 7 sched) the session is what competes."""
    os.setpriority(os.PRIO_PROCESS, tid, nice)
    with contextlib.suppress(FileNotFoundError):
        _write(f"/proc/{pid}/autogroup", str(nice))


@contextlib.contextmanager
def process(program: str, *, nice: int = 0, pinned: bool = True, output: int | None = None) -> Iterator[int]:
    """A python that runs the program; its pid."""

    def prepare() -> None:
        if pinned:
            os.sched_setaffinity(0, {PCPU})

    # The interpreter is fork-safe here: nothing of this test runs in another thread.
    child = subprocess.Popen([sys.executable, "-S", "-c", program], preexec_fn=prepare, stdout=output, start_new_session=True)
    try:
        weigh(child.pid, child.pid, nice)
        yield child.pid
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def burning(daemon: Daemon) -> Iterator[Daemon]:
    """A daemon with a VM whose one vCPU burns on PCPU."""
    with a_burner(daemon):
        yield daemon


@contextlib.contextmanager
def a_burner(daemon: Daemon) -> Iterator[None]:
    rom = rom_of(daemon, "burn", BURN)
    text = daemon.halting(cpu=f'vcpus = 1\nplacement = "pinned"\npin = ["{PCPU}"]').replace(str(daemon.rom), str(rom))
    daemon.drop("burner", text)
    wait_known(daemon, "burner")
    daemon.cli("start", "burner")
    view = daemon.view("burner")
    vcpus = [thread["tid"] for thread in view["threads"] if thread["role"] == "vcpu 0"]
    weigh(view["pid"], vcpus[0], HEAVY_NICE)
    yield
    daemon.cli("stop", "burner", "--force")


def vcpu_of(report: dict[str, Any]) -> dict[str, Any]:
    (vm,) = [vm for vm in report["vms"] if vm["vm"] == "burner"]
    (vcpu,) = [thread for thread in vm["threads"] if thread["thread_class"] == "vcpu"]
    return dict(vcpu)


def reported(daemon: Daemon, condition: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """The first `qsup wait burner --json` whose vCPU meets the condition."""
    seen: list[dict[str, Any]] = []

    def met() -> dict[str, Any] | None:
        seen.append(vcpu_of(json.loads(daemon.cli("wait", "burner", "--json").stdout)))
        return seen[-1] if condition(seen[-1]) else None

    try:
        found: dict[str, Any] = until(met, what)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{seen[-1] if seen else None}") from None
    return found


def share_of(vcpu: dict[str, Any], pid: int) -> float:
    return sum(float(item["share"]) for item in vcpu["blame"] if item["who"].endswith(f"[{pid}]"))


def test_two_burners_are_named_in_the_order_of_their_weights(burning: Daemon) -> None:
    with process(SPIN, nice=HEAVY_NICE) as heavy, process(SPIN, nice=LIGHT_NICE) as light:
        whole = reported(
            burning,
            lambda vcpu: share_of(vcpu, heavy) + share_of(vcpu, light) >= 0.9 * vcpu["ready_share"] > 0.3,
            "nine tenths of the wait have the burners' names",
        )
        named = [item["who"] for item in whole["blame"]][:2]
        assert [name.rpartition("[")[2] for name in named] == [f"{heavy}]", f"{light}]"]
        assert share_of(whole, heavy) > 1.5 * share_of(whole, light)
        assert whole["pcpu"] == PCPU
        text = burning.cli("wait", "burner").stdout
        assert f"[{heavy}]" in text
        assert "vCPU 0" in text


def test_what_cannot_be_named_is_said_to_be_unknown(burning: Daemon) -> None:
    with process(STORM, nice=HEAVY_NICE):
        vcpu = reported(burning, lambda vcpu: vcpu["unknown_share"] >= 0.1, "a fork storm leaves an unknown share")
    assert all(not item["who"].startswith("true[") or item["share"] < vcpu["unknown_share"] for item in vcpu["blame"])


def test_a_thread_that_moves_is_not_named(burning: Daemon) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one pCPU: nothing can move")
    reading, writing = os.pipe()
    with open(reading) as said, process(HOP, nice=HEAVY_NICE, pinned=False, output=writing) as hopper:
        os.close(writing)
        said.readline()  # it has been everywhere: from its birth on, no span has it on one pCPU alone
        vcpu = reported(burning, lambda vcpu: vcpu["unknown_share"] >= 0.05, "a moving thread leaves an unknown share")
        assert share_of(vcpu, hopper) == 0


def test_where_every_switch_is_counted_short_lived_processes_have_names(open_dir: Path) -> None:
    try:
        SwitchCounter().close()
    except KernelRefused as refusal:
        pytest.skip(refusal.message)
    with (
        running_daemon(open_dir, "[daemon]\nexact_wait = true\n") as daemon,
        a_burner(daemon),
        process(STORM, nice=HEAVY_NICE) as storm,
    ):
        reports = (event.data for event in daemon.client.follow("/v1/wait/stream?vm=burner"))
        vcpus = (vcpu_of(report) for report in reports if report["exact"])
        vcpu = next(vcpu for vcpu in vcpus if any(item["who"] == "true (short-lived)" for item in vcpu["blame"]))
    assert share_of(vcpu, storm) > 0
    assert vcpu["unknown_share"] < 0.1 * vcpu["ready_share"]


def test_a_quota_is_told_apart(burning: Daemon) -> None:
    """The cgroup that holds QEMU is made by hand: where systemd has none, the daemon makes no scope."""
    root = "/sys/fs/cgroup/cpu"
    if not os.path.exists(f"{root}/cpu.cfs_quota_us"):
        pytest.skip("no cpu controller of cgroup v1 is mounted here")
    group = f"{root}/qsup-test-{os.getpid()}"
    os.mkdir(group)
    pid = burning.view("burner")["pid"]
    try:
        _write(f"{group}/cpu.cfs_quota_us", "5000")
        _write(f"{group}/cpu.shares", "262144")  # more than whatever else this machine does: its quota is what holds it
        _write(f"{group}/cgroup.procs", str(pid))
        burning.kill()
        burning.start()
        vcpu = reported(burning, lambda vcpu: vcpu["throttled_share"] > 0.3, "the quota holds it")
        assert vcpu["throttled_share"] <= vcpu["ready_share"]
        assert vcpu["run_share"] < 0.5
    finally:
        _write(f"{root}/cgroup.procs", str(pid))
        until(lambda: not _read(f"{group}/cgroup.procs"), "QEMU has left the cgroup")
        os.rmdir(group)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def test_the_last_hour_is_kept(burning: Daemon) -> None:
    with process(SPIN, nice=HEAVY_NICE) as pid:
        reported(burning, lambda vcpu: share_of(vcpu, pid) > 0, "the burner is named")
    kept = burning.client.get("/v1/wait?vm=burner")["history"]
    assert any(item["who"].endswith(f"[{pid}]") for minute in kept for item in minute["blame"])
