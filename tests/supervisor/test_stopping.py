"""A guest is asked to power off: what is noted, and from when on its time counts."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from qsup.reconcile.actions import PowerDown
from qsup.supervisor.execute import Hands
from qsup.supervisor.vm_state import VmState
from tests.supervisor.standing_in import codes, services_without_systemd

ANSWER_S = 4.0


class SlowLink:
    """A connected monitor whose QEMU takes its time."""

    status = "running"

    def require_control(self) -> SlowLink:
        return self

    async def refresh_status(self, session: object) -> None:
        await trio.sleep(ANSWER_S)


async def test_the_grace_period_begins_when_the_guest_was_asked(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    services, vm = services_without_systemd(), VmState("vm")
    link: Any = SlowLink()
    vm.run.link = link
    stages = []

    async def power_button(session: object) -> None:
        stages.append(vm.run.stop_stage)
        await trio.sleep(ANSWER_S)

    monkeypatch.setattr("qsup.supervisor.execute.verbs.system_powerdown", power_button)
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Hands(services, nursery), PowerDown(), vm)
        await trio.sleep(ANSWER_S + 1)
        assert codes(services) == ["vm.stopping"], "told when it was asked, not when its state was seen"
    assert stages == ["asked"], "an end before the answer is one that was asked for"
    assert vm.run.stop_since_s == began_s + ANSWER_S
