"""Metrics: everything that is counted, put together for one scrape from what is known already. No VM is asked here."""

from __future__ import annotations

import time
from collections import Counter

import trio

import qsup
from qsup.host.net_counters import read_link_counters
from qsup.host.own_process import read_own_process
from qsup.host.pools import read_pools
from qsup.host.topology import node_numbers
from qsup.supervisor.event_counts import EventCounts
from qsup.supervisor.guest_stats import GuestStats
from qsup.supervisor.loop_lag import LoopLag
from qsup.supervisor.metric import Family, Sample
from qsup.supervisor.metrics_of_vms import Sources, vm_families
from qsup.supervisor.process_watch import ProcessWatch
from qsup.supervisor.services import Services
from qsup.supervisor.wait_watch import WaitWatch


class Metrics:
    """Collects; `run` keeps up what has to go on between two scrapes."""

    def __init__(self, services: Services, waits: WaitWatch) -> None:
        self._services = services
        self._waits = waits
        self._counts = EventCounts()
        services.events.add_sink(self._counts.take)
        self._guests = GuestStats(services.fleet)
        self._processes = ProcessWatch(services.fleet)
        self._lag = LoopLag()
        self._begun_s = time.time()

    async def run(self) -> None:
        """Ask the guests' QEMUs and look at their processes while somebody scrapes, and watch the loop, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._guests.run)
            nursery.start_soon(self._processes.run)
            nursery.start_soon(self._lag.run)

    def families(self) -> list[Family]:
        """Everything.

        Touches: /proc/net/dev, /proc/self, the hugepage pools' files.
        """
        self._guests.want()
        self._processes.want()
        fleet = self._services.fleet
        sources = Sources(self._waits, self._guests, self._processes, read_link_counters())
        vms = [vm for _, vm in sorted(fleet.items())]
        return [*self._daemon(), *self._host(), *vm_families(vms, sources)]

    def _daemon(self) -> list[Family]:
        own = read_own_process()
        events = Family("qsup_events_total", "counter", "Events since the daemon began.")
        for code, count in sorted(self._counts.by_code.items()):
            events.add(count, code=code)
        cut = self._services.events.followers_cut
        return [
            _one("qsup_build_info", "The running version; always 1.", 1, version=qsup.__version__),
            _one("qsup_daemon_start_time_seconds", "When the daemon began, in Unix time.", self._begun_s),
            _one("qsup_daemon_loop_lag_seconds", "How late the main loop woke at worst in the last minute.", self._lag.worst_s),
            _one("qsup_daemon_resident_bytes", "The daemon's memory.", own.resident_bytes),
            Family("qsup_daemon_cpu_seconds_total", "counter", "Processor time of the daemon.", _samples(own.cpu_s)),
            _one("qsup_daemon_open_fds", "Descriptors that the daemon has open.", own.open_fds),
            _one("qsup_daemon_most_fds", "Descriptors that it may have open.", own.most_fds),
            events,
            Family("qsup_event_followers_cut_total", "counter", "Readers of events that were too slow.", _samples(cut)),
        ]

    def _host(self) -> list[Family]:
        phases = Family("qsup_vms", "gauge", "VMs by phase.")
        for phase, count in sorted(Counter(vm.phase for vm in self._services.fleet.values()).items()):
            phases.add(count, phase=phase)
        report = self._waits.latest
        steal = report.interval.steal_share if report is not None else None
        return [
            phases,
            _one("qsup_host_steal_ratio", "Share of all pCPUs that the host's own hypervisor took, in the last span.", steal),
            *_pools(),
        ]


def _pools() -> list[Family]:
    total = Family("qsup_hugepage_pool_pages", "gauge", "Pages in the pool.")
    free = Family("qsup_hugepage_pool_free_pages", "gauge", "Pages in the pool that are free.")
    for node, pools in read_pools("/", node_numbers()).items():
        for pool in pools:
            labels = {"node": str(node), "page_size_bytes": str(pool.page_size_bytes)}
            total.add(pool.total, **labels)
            free.add(pool.free, **labels)
    return [total, free]


def _one(name: str, text: str, value: float | None, **labels: str) -> Family:
    family = Family(name, "gauge", text)
    family.add(value, **labels)
    return family


def _samples(value: float) -> list[Sample]:
    return [Sample((), value)]
