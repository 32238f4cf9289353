"""A process that stands in for a QEMU: one thread, which is vCPU 0."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from attrs import evolve

from qsup.plan.policy import HostPolicy
from qsup.process.handle import QemuProcess
from qsup.process.identity import read_identity
from qsup.spec.settings import SettingsSpec
from qsup.supervisor.caps import CapsCache
from qsup.supervisor.events import EventLog
from qsup.supervisor.reservations import Reservations
from qsup.supervisor.services import Services
from qsup.supervisor.vm_state import VmState
from qsup.truth.threads import ThreadIds
from tests.truth.plans import a_plan

MINE = frozenset(os.sched_getaffinity(0))
PIN = frozenset({min(MINE)})
needs_two = pytest.mark.skipif(len(MINE) < 2, reason="a thread can only be moved where there are two pCPUs")


SHELL = ("sh", "-c", "echo up; read _")


@contextmanager
def vm_of_a_shell(name: str = "vm", words: Sequence[str] = SHELL) -> Iterator[VmState]:
    """A VM that runs, as far as anybody looks; other words than the shell's must say something as well when they are up."""
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        state = VmState(name)
        state.run.plan = evolve(a_plan([set(PIN)], set(MINE), {}, set(MINE)), nics=())
        identity = read_identity(child.pid)
        assert identity is not None
        process = QemuProcess.open(identity)
        assert process is not None
        state.run.process, state.run.started, state.run.ids = process, True, ThreadIds({0: child.pid})
        yield state
        process.close()
        child.kill()


def services_without_systemd() -> Services:
    """Services that nobody else uses; events are kept and told to nobody."""
    policy = HostPolicy()
    return Services(SettingsSpec(), policy, Reservations(policy), CapsCache(), EventLog(sinks=()), None, {})


def codes(services: Services) -> list[str]:
    """What was published."""
    return [event.code for event in services.events.history()]


def tid_of(vm: VmState) -> int:
    """The thread id of its only thread."""
    assert vm.run.process is not None
    return vm.run.process.pid
