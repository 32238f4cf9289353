"""What the kernel counts about who ran and who waited, at one moment. `host/` fills it; `wait.py` compares two of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from attrs import field, frozen

ThreadKey = tuple[int, int]
"""(tid, start time in clock ticks since boot): a thread id that is used again is another thread."""


@frozen
class Thread:
    """Whose thread it is. `who` is how an operator knows it ("web3 vCPU 2", "web1 vhost", "ssh.service").

    `vm` None: no VM of this daemon. `thread_class` and `role` are those of a VM's thread.
    """

    who: str
    vm: str | None = None
    thread_class: str = ""
    role: str = ""


class Counters(NamedTuple):
    """One thread's counters; a NamedTuple, since thousands are made in each cycle.

    `run_ns`, `delay_ns` (runnable, and waiting for a pCPU) and `timeslices` only grow. The kernel adds a wait to `delay_ns`
    when it *ends*. `fixed`: the mask holds a single pCPU. `migrations` and `involuntary` (switches) None: not read, or the
    kernel does not tell.
    """

    pcpu: int
    state: str
    run_ns: int
    delay_ns: int
    timeslices: int
    fixed: bool = False
    migrations: int | None = None
    involuntary: int | None = None


class PcpuTimes(NamedTuple):
    """What a pCPU did since boot, in ns: idle (waiting for a disk too), interrupts, and what its own hypervisor took."""

    idle_ns: int
    irq_ns: int
    steal_ns: int


Threads = Mapping[ThreadKey, tuple[Thread, Counters]]


@frozen
class HostSample:
    """One moment.

    `at_ns` is of a clock that only goes forward; `at_ticks` is the same moment in clock ticks since boot, as thread start times
    are. `threads` are the VMs'. `others` are all the rest of the host, None where nobody looked at them; a thread of them that
    has not run since stands there with its old counters. `throttled_ns` by VM: how long its quota held it, as all its pCPUs
    together. `ran` is exact where it is there: who ran since the sample before, by (pcpu, thread id), with the thread's name
    and ns; threads that are gone by now and threads that moved are in it. `changed` are the threads whose counters are not the
    very same objects as in the sample before; None: not told.
    """

    at_ns: int
    at_ticks: int
    threads: Threads
    others: Threads | None = None
    pcpus: Mapping[int, PcpuTimes] = field(factory=dict)
    throttled_ns: Mapping[str, int] = field(factory=dict)
    ran: Mapping[tuple[int, int], tuple[str, int]] | None = None
    changed: Collection[ThreadKey] | None = None
