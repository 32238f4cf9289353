"""VMs outlive the daemon, at whatever instruction it is killed; and nothing of them outlives their end."""

from __future__ import annotations

import itertools
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from qsup.host.links import delete_bridge
from tests.hugepages import pool_turn
from tests.live.evidence import leftovers, links, masks_of, pool_pages, ports_of, vcpu_masks_of
from tests.live.harness import Daemon, running_daemon, until

pytestmark = [pytest.mark.live, pytest.mark.root]

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def turn() -> Iterator[None]:
    with pool_turn():
        yield


@pytest.fixture
def bridge() -> Iterator[str]:
    """A name for a bridge that the daemon makes; it is gone after the test."""
    name = f"qs{os.getpid() % 100000}n{next(_numbers)}"
    yield name
    delete_bridge(name)


def full_vm(daemon: Daemon, bridge: str, autostart: bool = True) -> str:
    """Two pinned vCPUs, 16 hugepages, a tap."""
    text = daemon.halting(
        f'[[nic]]\nbridge = "{bridge}"\n',
        cpu='vcpus = 2\nplacement = "pinned"\npin = ["0", "1"]',
        memory='size = "32MiB"\nhugepages = "2MiB"',
    )
    return text.replace("[vm]", f"[vm]\nautostart = {str(autostart).lower()}", 1)


def state_of(daemon: Daemon) -> dict[str, tuple[int, dict[int, tuple[str, str]]]]:
    """Each VM's process and the masks of its vCPU threads, as the kernel tells."""
    return {
        name: (vm["pid"], {tid: seen for tid, seen in masks_of(vm["pid"]).items() if seen[0].startswith("CPU ")})
        for name, vm in daemon.vms().items()
    }


def test_twenty_at_once_pinned_before_their_first_instruction_and_adopted_as_they_were(tmp_path: Path, bridge: str) -> None:
    pool_before = pool_pages()
    with running_daemon(tmp_path, "[network]\ncreate_bridges = true\n") as daemon:
        names = [f"vm{number}" for number in range(20)]
        for name in names:
            daemon.drop(name, full_vm(daemon, bridge, autostart=False))
        until(lambda: len(daemon.vms()) == 20, "all files are seen")
        daemon.cli("start", "--paused", "--all")
        for name, vm in daemon.vms().items():
            assert vm["qemu_status"] == "prelaunch", name
            assert vcpu_masks_of(vm["pid"]) == ["0", "1"], name
        daemon.cli("resume", *names)
        before = state_of(daemon)
        ports, pool = ports_of(bridge), pool_pages()
        assert len(ports) == 20
        assert pool[0] - pool_before[0] == max(0, 20 * 16 - pool_before[1])
        daemon.kill()
        daemon.start()
        views = daemon.vms()
        assert all(view["adopted"] for view in views.values())
        for name in names:
            daemon.wait_phase(name, "running")
        assert state_of(daemon) == before
        assert (ports_of(bridge), pool_pages()) == (ports, pool)
        daemon.cli("stop", "--all", "--force")
        assert leftovers(daemon) == []
        assert ports_of(bridge) == set()
        assert pool_pages() == pool_before


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_of_a_start_the_next_daemon_finishes_what_was_half_done(
    tmp_path: Path, bridge: str, seed: int
) -> None:
    pool_before = pool_pages()
    chance = random.Random(seed)
    with running_daemon(tmp_path, "[network]\ncreate_bridges = true\n") as daemon:
        names = [f"vm{number}" for number in range(4)]
        for name in names:
            daemon.drop(name, full_vm(daemon, bridge))
        for _ in range(4):
            # The moment is any: what the daemon has done by then varies with the machine, and it must not matter.
            with pytest.raises(AssertionError, match="never"):
                until(lambda: False, "never", patience_s=chance.uniform(0.0, 0.35))
            daemon.kill()
            daemon.start()
        for name in names:
            daemon.wait_phase(name, "running")
        pids = {vm["pid"] for vm in daemon.vms().values()}
        assert set(daemon.qemu_pids()) == pids, "one QEMU for each VM and no other"
        assert len(ports_of(bridge)) == 4
        assert pool_pages()[0] - pool_before[0] == max(0, 4 * 16 - pool_before[1])
        daemon.cli("stop", "--all")
        assert leftovers(daemon) == []
        assert pool_pages() == pool_before


def test_qemu_and_daemon_killed_at_once_leave_nothing_behind(tmp_path: Path, bridge: str) -> None:
    pool_before, links_before = pool_pages(), links()
    with running_daemon(tmp_path, "[network]\ncreate_bridges = true\n") as daemon:
        for number in range(3):
            daemon.drop(f"vm{number}", full_vm(daemon, bridge))
        for number in range(3):
            daemon.wait_phase(f"vm{number}", "running")
        assert daemon.process is not None
        for pid in (daemon.process.pid, *(vm["pid"] for vm in daemon.vms().values())):
            os.kill(pid, signal.SIGKILL)
        daemon.process.wait()
        daemon.process = None
        until(lambda: links() - links_before <= {bridge}, "the kernel removed the taps by itself")
        for path in daemon.config_dir.iterdir():
            path.unlink()
        daemon.start()
        until(lambda: not daemon.vms(), "what is left of them is cleared away and forgotten")
        assert leftovers(daemon) == []
        assert pool_pages() == pool_before


def test_what_died_while_no_daemon_watched_is_reported_and_started_again(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        daemon.drop("vm", daemon.halting())
        first = daemon.wait_phase("vm", "running")["pid"]
        daemon.kill()
        os.kill(first, signal.SIGKILL)
        daemon.start()
        daemon.wait_phase("vm", "running")
        view = daemon.view("vm")
        assert view["pid"] != first
        assert not view["adopted"]
        assert view["last_ending_code"] == "vm.died-unseen"
        assert "SIGKILL" in view["last_ending"] or "not known" in view["last_ending"]
