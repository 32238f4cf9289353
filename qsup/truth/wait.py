"""Wait with blame: two samples of the host → for every VM and thread how long it waited for a pCPU, and for whom.

`ready_share` is esxtop's %RDY: the run-queue delay as a share of wall time, with what the quota held in it
(`throttled_share`, esxtop's %MLMTD). The kernel counts throttling for the cgroup as a whole: it is shared out over the VM's
threads in proportion to their waits. Start reading at `wait_interval`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from attrs import field, frozen

from qsup.natural import natural
from qsup.truth.wait_blame import (
    FIRST_LOOK,
    MOVED,
    SHORT_LIVED,
    UNLOOKED,
    Blamed,
    Ledger,
    Run,
    blame,
    exact_ledger_of,
    ledger_of,
)
from qsup.truth.wait_samples import Counters, HostSample, PcpuTimes, Thread, ThreadKey
from qsup.truth.wait_spent import Credits, Spent, may_wait, spent_of, waited_ns

NOTICEABLE = 0.01
"""A wait below this share of the span needs nobody's name."""

_KEPT_VCPUS = 8192

TOO_LITTLE = f"less than {NOTICEABLE:.0%}"


@frozen
class BlameShare:
    """Who ran instead, and for what share of wall time."""

    who: str
    share: float


@frozen
class ThreadWait:
    """One thread over the span; shares are of wall time, 0 to 1.

    `ready_share` = `throttled_share` + the shares in `blame` + `unknown_share`. `involuntary` counts the times that it was
    taken off its pCPU although it could have gone on; None: not told.
    """

    role: str
    thread_class: str
    tid: int
    pcpu: int
    run_share: float
    ready_share: float
    throttled_share: float = 0.0
    unknown_share: float = 0.0
    unknown_why: str = ""
    blame: tuple[BlameShare, ...] = ()
    involuntary: int | None = None


@frozen
class ClassTime:
    """All threads of one class of a VM together, in ns over the span."""

    run_ns: int = 0
    wait_ns: int = 0
    threads: int = 0


@frozen
class VmWait:
    """One VM over the span. `ready_share` is that of its worst vCPU; `skew_share` how much more that one waited than its best.

    Only vCPUs that had something to do count for the skew.

    `throttled_share` may exceed 1: the quota holds several threads at once. `threads` has every vCPU, and of the others
    those that ran or waited.
    """

    vm: str
    ready_share: float
    throttled_share: float
    skew_share: float
    threads: tuple[ThreadWait, ...]
    classes: Mapping[str, ClassTime] = field(factory=dict)


@frozen
class WaitInterval:
    """All VMs over one span. `blamed`: the host's other threads were known at its begin and its end; `exact`: every switch of
    threads was counted.

    `steal_share` is what the host's own hypervisor took, as a share of all its pCPUs.
    """

    span_s: float
    blamed: bool
    steal_share: float
    vms: tuple[VmWait, ...]
    exact: bool = False


def wait_interval(before: HostSample, after: HostSample, credits: Credits) -> tuple[WaitInterval, Credits] | None:
    """What happened between two samples, and what of it the kernel's counters will tell a second time.

    Returns:
        None where no time has passed, or the clock went back: nothing can be said about such a span.
    """
    span_ns = after.at_ns - before.at_ns
    if span_ns <= 0:
        return None
    spent, untold = _all_spent(before, after)
    blamed = before.others is not None and after.others is not None
    ledgers = _ledgers(spent, before, after, blamed)
    told: dict[ThreadKey, int] = {}
    waits: dict[ThreadKey, int] = {}
    for item in spent:
        others_ns = ledgers[item.pcpu].others_ns(item.key) if item.stuck and item.pcpu in ledgers else 0
        wait_ns, ahead_ns = waited_ns(item, span_ns, credits.get(item.key, 0), int(others_ns))
        waits[item.key] = wait_ns
        if ahead_ns:
            told[item.key] = ahead_ns
    view = _View(span_ns, waits, ledgers, blamed)
    throttled = {vm: now - before.throttled_ns.get(vm, now) for vm, now in after.throttled_ns.items()}
    done = {item.key: item for item in spent}
    by_vm: defaultdict[str, list[Spent | _Quiet]] = defaultdict(list)
    for key, row in after.threads.items():
        if key not in untold:
            by_vm[row[0].vm or ""].append(done.get(key) or (key, row))
    vms = tuple(_vm_wait(vm, by_vm[vm], max(throttled.get(vm, 0), 0), view) for vm in sorted(by_vm, key=natural))
    steal_share = _steal_share(before.pcpus, after.pcpus, span_ns)
    return WaitInterval(span_ns / 1e9, blamed, steal_share, vms, exact=blamed and after.ran is not None), told


def _all_spent(before: HostSample, after: HostSample) -> tuple[list[Spent], set[ThreadKey]]:
    """(what each thread did, of those that did something; those of which it cannot be told).

    A sampler hands on the very counters of a thread that did nothing.
    """
    spent, untold = [], set()
    for key in _changed(before, after):
        item = spent_of(key, before, after)
        if item is not None:
            spent.append(item)
        else:
            untold.add(key)
    return spent, untold


def _changed(before: HostSample, after: HostSample) -> Iterable[ThreadKey]:
    """The threads with other counters than before, which may still be equal ones."""
    if after.changed is not None:
        return after.changed
    olds = before.threads
    return [key for key, row in after.threads.items() if key not in olds or olds[key][1] is not row[1]]


def waited_pcpus(before: HostSample, after: HostSample) -> frozenset[int]:
    """The pCPUs on which a VM's thread noticeably waited, or seems to wait: only there it matters who else ran."""
    least_ns = NOTICEABLE * (after.at_ns - before.at_ns)
    found = set()
    for key in _changed(before, after):
        now, old = after.threads[key][1], before.threads.get(key)
        if old is not None and may_wait(old[1], now, least_ns):
            found.add(now.pcpu)
    return frozenset(found)


_Quiet = tuple[ThreadKey, tuple[Thread, Counters]]


@frozen
class _View:
    span_ns: int
    waits: Mapping[ThreadKey, int]
    ledgers: Mapping[int, Ledger]
    blamed: bool


def _ledgers(spent: list[Spent], before: HostSample, after: HostSample, blamed: bool) -> dict[int, Ledger]:
    """The ledger of each pCPU on which a VM's thread waited."""
    if not blamed:
        return {}
    span_ns = after.at_ns - before.at_ns
    there: dict[int, list[Spent]] = {item.pcpu: [] for item in spent if item.stuck or item.wait_ns >= NOTICEABLE * span_ns}
    rest = (spent_of(key, before, after, other=True) for key, (_, now) in (after.others or {}).items() if now.pcpu in there)
    for item in (*spent, *rest):
        if item is not None and item.pcpu in there:
            there[item.pcpu].append(item)
    exact = _exact_runs(after, there.keys()) if after.ran is not None else {}
    ledgers = {}
    for pcpu, items in there.items():
        times = before.pcpus.get(pcpu), after.pcpus.get(pcpu)
        ledger = exact_ledger_of(exact[pcpu], *times, span_ns) if pcpu in exact else None
        ledgers[pcpu] = ledger if ledger is not None else ledger_of(items, *times, span_ns)
    return ledgers


def _exact_runs(after: HostSample, pcpus: Collection[int]) -> dict[int, list[Run]]:
    """Who ran on each of these pCPUs; a thread that is gone by now has but the name that it had."""
    owners = {key[0]: (key, row[0].who) for rows in (after.others or {}, after.threads) for key, row in rows.items()}
    runs: dict[int, list[Run]] = {}
    for (pcpu, tid), (name, ran_ns) in (after.ran or {}).items():
        if pcpu in pcpus:
            key, who = owners.get(tid) or ((tid, 0), f"{name} ({SHORT_LIVED})")
            runs.setdefault(pcpu, []).append((key, who, float(ran_ns)))
    return runs


def _vm_wait(vm: str, items: list[Spent | _Quiet], throttled_ns: int, view: _View) -> VmWait:
    all_ns = sum(view.waits[item.key] for item in items if isinstance(item, Spent))
    held = min(throttled_ns / all_ns, 1.0) if all_ns else 0.0
    classes: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    threads = []
    for item in items:
        if not isinstance(item, Spent):
            key, (thread, counters) = item
            classes[thread.thread_class][2] += 1
            if thread.thread_class == "vcpu":
                threads.append(_quiet_vcpu(thread.role, key[0], counters.pcpu))
            continue
        wait_ns = view.waits[item.key]
        total = classes[item.thread.thread_class]
        total[0] += item.run_ns
        total[1] += wait_ns
        total[2] += 1
        if item.run_ns or wait_ns or item.thread.thread_class == "vcpu":
            threads.append(_thread_wait(item, wait_ns, held, view))
    vcpus = [thread for thread in threads if thread.thread_class == "vcpu"]
    ready = [vcpu.ready_share for vcpu in vcpus if vcpu.ready_share + vcpu.run_share >= NOTICEABLE]
    return VmWait(
        vm,
        max((vcpu.ready_share for vcpu in vcpus), default=0.0),
        throttled_ns / view.span_ns,
        max(ready) - min(ready) if ready else 0.0,
        tuple(threads),
        {name: ClassTime(*total) for name, total in classes.items()},
    )


@lru_cache(_KEPT_VCPUS)
def _quiet_vcpu(role: str, tid: int, pcpu: int) -> ThreadWait:
    """Kept, since most vCPUs of a host do nothing in most seconds."""
    return ThreadWait(role, "vcpu", tid, pcpu, 0.0, 0.0)


def _thread_wait(item: Spent, wait_ns: int, held: float, view: _View) -> ThreadWait:
    span_ns = view.span_ns
    contended_ns = wait_ns * (1 - held)
    blamed = _blamed(item, contended_ns, view)
    return ThreadWait(
        item.thread.role,
        item.thread.thread_class,
        item.key[0],
        item.pcpu,
        run_share=item.run_ns / span_ns,
        ready_share=wait_ns / span_ns,
        throttled_share=wait_ns * held / span_ns,
        unknown_share=blamed.unknown_ns / span_ns,
        unknown_why=blamed.why_unknown if blamed.unknown_ns else "",
        blame=tuple(BlameShare(who, ns / span_ns) for who, ns in blamed.by_name),
        involuntary=item.involuntary,
    )


def _blamed(item: Spent, contended_ns: float, view: _View) -> Blamed:
    if contended_ns <= 0:
        return Blamed((), 0.0, "")
    if contended_ns < NOTICEABLE * view.span_ns:
        return Blamed((), contended_ns, TOO_LITTLE)
    if not view.blamed:
        return Blamed((), contended_ns, FIRST_LOOK)
    if not item.stayed:
        return Blamed((), contended_ns, UNLOOKED if item.unlooked else MOVED)
    ledger = view.ledgers.get(item.pcpu)
    if ledger is None:
        return Blamed((), contended_ns, TOO_LITTLE)
    return blame(item.key, contended_ns, ledger)


def _steal_share(before: Mapping[int, PcpuTimes], after: Mapping[int, PcpuTimes], span_ns: int) -> float:
    grown = [max(now.steal_ns - before[pcpu].steal_ns, 0) for pcpu, now in after.items() if pcpu in before]
    return min(sum(grown) / (len(grown) * span_ns), 1.0) if grown else 0.0
