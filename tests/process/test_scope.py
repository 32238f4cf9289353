"""Scopes, against a fake systemd on a real message bus (the real one is asked in the lab)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from qsup.errors import KernelRefused
from qsup.process import scope
from qsup.process.scope import Scopes, open_scopes, scope_name
from tests.process.fake_systemd import DBUS_DAEMON, open_fake_systemd

BUS = pytest.mark.skipif(DBUS_DAEMON is None, reason="no dbus-daemon")
EXISTS = "org.freedesktop.systemd1.UnitExists", "Unit qsup-web1.scope already exists."


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("web1", "qsup-web1.scope"),
        ("web-1.prod_a", "qsup-web-1.prod_a.scope"),
        ("a@b c", "qsup-a\\x40b\\x20c.scope"),
        ("ü", "qsup-\\xc3\\xbc.scope"),
    ],
)
def test_unit_names(name: str, unit: str) -> None:
    assert scope_name(name) == unit
    assert Scopes("SYSTEM").name_of(name) == unit


@BUS
async def test_a_process_gets_a_scope_that_is_stopped_after_the_guests_service(tmp_path: Path) -> None:
    async with open_fake_systemd(tmp_path) as (bus, fake), open_scopes(bus=bus, required=True) as scopes:
        assert scopes is not None
        assert await scopes.start("web1", 4242, "qsup VM web1", properties=[("Delegate", ("b", True))]) == "qsup-web1.scope"
    ((unit, properties),) = fake.started
    assert unit == "qsup-web1.scope"
    assert properties == {
        "Description": "qsup VM web1",
        "Slice": "qsup.slice",
        "PIDs": [4242],
        "CollectMode": "inactive-or-failed",
        "Before": ["qsup-guests.service"],
        "TimeoutStopUSec": 30_000_000,
        "Delegate": True,
    }


@BUS
async def test_many_start_at_once(tmp_path: Path) -> None:
    async with open_fake_systemd(tmp_path) as (bus, fake):
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(Scopes(bus).start, f"vm{number}", number, "")
        assert len(fake.started) == 20


@BUS
async def test_a_job_that_fails_is_told(tmp_path: Path) -> None:
    async with open_fake_systemd(tmp_path) as (bus, fake):
        fake.result = "failed"
        with pytest.raises(KernelRefused, match=r"scope qsup-web1\.scope: its job ended as 'failed'") as caught:
            await Scopes(bus).start("web1", 1, "")
    assert caught.value.code == "process.scope-refused"


@BUS
async def test_a_refusal_is_told_in_systemds_words(tmp_path: Path) -> None:
    async with open_fake_systemd(tmp_path) as (bus, fake):
        fake.denials = [("org.freedesktop.DBus.Error.AccessDenied", "Permission denied")]
        with pytest.raises(KernelRefused, match="Permission denied") as caught:
            await Scopes(bus).start("web1", 1, "")
    assert caught.value.code == "process.scope-refused"


@BUS
async def test_a_leftover_is_reset_and_waited_for(tmp_path: Path) -> None:
    async with open_fake_systemd(tmp_path) as (bus, fake):
        fake.denials = [EXISTS, EXISTS]
        await Scopes(bus).start("web1", 1, "")
    assert fake.reset == ["qsup-web1.scope"] * 2
    assert len(fake.started) == 1


@BUS
async def test_a_unit_that_lives_on_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "LEFTOVER_S", 0.0)
    async with open_fake_systemd(tmp_path) as (bus, fake):
        fake.denials = [EXISTS] * 3
        with pytest.raises(KernelRefused, match="already exists") as caught:
            await Scopes(bus).start("web1", 1, "")
    assert caught.value.code == "process.scope-in-use"


@BUS
async def test_a_job_that_never_ends_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "DEADLINE_S", 0.3)
    async with open_fake_systemd(tmp_path) as (bus, fake):
        fake.result = None
        with pytest.raises(KernelRefused, match="no answer within") as caught:
            await Scopes(bus).start("web1", 1, "")
    assert caught.value.code == "process.scope-silent"


async def test_without_a_bus_there_are_no_scopes(tmp_path: Path) -> None:
    nowhere = f"unix:path={tmp_path}/none"
    async with open_scopes(bus=nowhere) as scopes:
        assert scopes is None
    with pytest.raises(KernelRefused, match="cannot be reached") as caught:
        async with open_scopes(required=True, bus=nowhere):
            pass
    assert caught.value.code == "process.no-systemd"
    with pytest.raises(KernelRefused, match="the bus was lost") as caught:
        await Scopes(nowhere).start("web1", 1, "")
    assert caught.value.code == "process.scope-refused"


async def test_a_bus_that_dies_during_the_call_is_told(tmp_path: Path) -> None:
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(f"{tmp_path}/bus")
    listener.listen()

    async def hang_up() -> None:
        peer, _ = await listener.accept()
        peer.close()

    with listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang_up)
            with pytest.raises(KernelRefused, match="the bus was lost"):
                await Scopes(f"unix:path={tmp_path}/bus").start("web1", 1, "")


@pytest.mark.skipif(os.path.isdir(scope.SYSTEMD_RUNS), reason="this host runs systemd")
async def test_a_host_without_systemd_has_no_scopes() -> None:
    async with open_scopes() as scopes:
        assert scopes is None
    with pytest.raises(KernelRefused, match="does not run systemd"):
        async with open_scopes(required=True):
            pass
