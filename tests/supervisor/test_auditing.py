"""An audit that hangs in a file system ends with words, and does not hold the daemon."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio.testing

from qsup.errors import BadRequest, KernelRefused
from qsup.plan.policy import HostPolicy
from qsup.spec.parse import parse_vm
from qsup.spec.settings import SettingsSpec
from qsup.supervisor import auditing
from qsup.supervisor.caps import CapsCache
from qsup.supervisor.events import EventLog
from qsup.supervisor.reservations import Reservations
from qsup.supervisor.services import Services
from qsup.supervisor.vm_state import VmState


@pytest.fixture
def services() -> Services:
    policy = HostPolicy()
    return Services(SettingsSpec(), policy, Reservations(policy), CapsCache(), EventLog(), None, {})


@pytest.fixture(autouse=True)
def own_limiter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that outlives its test can give nothing back to the next one."""
    monkeypatch.setattr(auditing, "_one_at_a_time", trio.CapacityLimiter(1))


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Reading the host waits for this event."""
    freed = threading.Event()
    monkeypatch.setattr(auditing, "read_host_facts", lambda **_: freed.wait())
    yield freed
    freed.set()


async def test_a_host_without_vms(services: Services) -> None:
    report = await auditing.audit_host(services, ("cpu.host-is-guest",))
    assert report.skipped == ("cpu.host-is-guest",)
    assert "disk.no-iothread" in {one.rule_id for one in report.irrelevant}


async def test_a_rule_that_does_not_exist(services: Services) -> None:
    with pytest.raises(BadRequest, match="no rule called"):
        await auditing.audit_host(services, ("cpu.nothing",))


async def test_storage_that_hangs_ends_the_question_and_those_behind_it(
    services: Services, stuck: threading.Event, autojump_clock: trio.testing.MockClock
) -> None:
    for _ in range(2):
        began_s = trio.current_time()
        with pytest.raises(KernelRefused) as caught:
            await auditing.audit_host(services, ())
        assert (caught.value.code, trio.current_time() - began_s) == ("supervisor.audit-hangs", auditing.DEADLINE_S)


async def test_vms_that_wait_are_looked_at_on_paper(services: Services, tmp_path: Path) -> None:
    files = {
        "wait1": f'[cpu]\nvcpus = 1\n[memory]\nsize = "64MiB"\n[[disk]]\npath = "{tmp_path}/a.raw"\ncache = "unsafe"\n',
        "huge1": '[cpu]\nvcpus = 1\n[memory]\nsize = "64TiB"\n',
        "off1": '[cpu]\nvcpus = 1\n[memory]\nsize = "64MiB"\n',
    }
    (tmp_path / "a.raw").touch()
    os.truncate(tmp_path / "a.raw", 1 << 20)
    for name, text in files.items():
        vm = VmState(name)
        vm.config.spec = parse_vm(text, file=f"{name}.toml", name=name)
        vm.power.wanted = "off" if name == "off1" else "on"
        services.fleet[name] = vm
    report = await auditing.audit_host(services, ())
    places = {one.rule_id: [place.subject for place in one.places] for one in report.findings}
    assert places["disk.cache-unsafe"] == ["wait1"]
    assert report.notes == ("huge1 finds no room here and is left out: qsup status huge1 says why",)
