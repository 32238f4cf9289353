"""[cpu]: how many vCPUs, their guest topology, and where they may run."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from attrs import field, frozen

from qsup.cpuset import format_cpulist
from qsup.spec.faults import Place
from qsup.spec.readers import list_of, one_of, whole_number, word_or, words_or
from qsup.spec.schema import GUEST_HARDWARE, PLACED_AT_START, key
from qsup.spec.words import cpulist, matching

Placement = Literal["dedicated", "isolated", "shared", "pinned"]
Smt = Literal["prefer", "require", "isolate"]
SupportSet = Literal["housekeeping", "own", "beside"]

OWN_PCPUS = ("dedicated", "isolated")

MOST_VCPUS = 1024
MOST_REALTIME = 98  # 99 is for the kernel's own stopper and watchdog threads


@frozen
class CpuSpec:
    """What `[cpu]` asks.

    `pin` has one non-empty pCPU set per vCPU (position = vcpu_index), only with placement "pinned".
    `smt` None means: as `placement` says ("prefer", or "isolate" with isolated). `shared_vcpus` float over the shared pool
    while the others have their own pCPUs; `realtime_priority` (SCHED_FIFO) is for these others alone. `emulator` None means
    the host's housekeeping pCPUs; else "own", "beside", or the set that was written. `sockets` and `cores` None mean:
    derived so that sockets × cores × threads = vcpus (`topology_of`).
    """

    vcpus: int = field(
        metadata=key(
            whole_number(1, MOST_VCPUS, 4),
            doc="How many vCPUs the guest has.",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    sockets: int | None = field(
        default=None,
        metadata=key(
            whole_number(1, MOST_VCPUS, 1),
            doc="Sockets that the guest sees.",
            absent="1, or what `cores` leaves",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    cores: int | None = field(
        default=None,
        metadata=key(
            whole_number(1, MOST_VCPUS, 2),
            doc="Cores per socket that the guest sees.",
            absent="so that sockets × cores × threads = vcpus",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    threads: int = field(
        default=1,
        metadata=key(
            whole_number(1, 8, 2),
            doc="SMT threads per core that the guest sees; with own pCPUs, sibling vCPUs sit on sibling pCPUs.",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    model: str | None = field(
        default=None,
        metadata=key(
            matching(
                r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(,[+-]?[a-z0-9][a-z0-9._-]{0,40}(=[A-Za-z0-9._-]{1,40})?){0,64}",
                "a CPU model of QEMU, with its features after commas",
                "bad-cpu-model",
                "EPYC-v3,-svm",
            ),
            doc="The CPU model that the guest sees.",
            absent="the host's own with KVM, `max` with TCG",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    placement: Placement = field(
        default="shared",
        metadata=key(
            one_of(Placement),
            doc="`dedicated`: each vCPU has a pCPU of its own; `isolated`: a core of its own, its siblings left empty; "
            "`shared`: all vCPUs float over the pool that other VMs use too; `pinned`: exactly where `pin` says.",
            effect="cold-restart",
            reason=PLACED_AT_START,
        ),
    )
    pin: tuple[frozenset[int], ...] | None = field(
        default=None,
        metadata=key(
            list_of(cpulist(example="2"), "one set of pCPUs per vCPU", MOST_VCPUS, '["2", "34", "3", "35"]'),
            doc='The pCPUs of each vCPU, in the order of the vCPUs. Needed with placement "pinned", and only there.',
            absent="none",
            effect="cold-restart",
            reason=PLACED_AT_START,
        ),
    )
    smt: Smt | None = field(
        default=None,
        metadata=key(
            one_of(Smt),
            doc="Guest siblings on host siblings: `prefer` takes single pCPUs where there are no free siblings, `require` "
            "refuses the VM then. `isolate`: each vCPU a core of its own, as with isolated placement.",
            absent='`"prefer"`, or `"isolate"` with isolated placement',
            effect="cold-restart",
            reason=PLACED_AT_START,
        ),
    )
    shared_vcpus: frozenset[int] | None = field(
        default=None,
        metadata=key(
            cpulist("vCPUs", MOST_VCPUS - 1, "2-3"),
            doc="vCPUs of a dedicated or isolated VM that float over the shared pool all the same; whole guest cores.",
            absent="none",
            effect="cold-restart",
            reason=PLACED_AT_START,
        ),
    )
    realtime_priority: int | None = field(
        default=None,
        metadata=key(
            whole_number(1, MOST_REALTIME, 1),
            doc="The vCPUs that do not float run under SCHED_FIFO with this priority. Threaded interrupts have 50.",
            absent="none: the host's ordinary scheduler",
            effect="cold-restart",
            reason=PLACED_AT_START,
        ),
    )
    emulator: frozenset[int] | Literal["own", "beside"] | None = field(
        default=None,
        metadata=key(
            word_or("housekeeping", words_or(("own", "beside"), cpulist(example="0-1"))),
            doc="Where QEMU's own threads run (main loop, workers and whatever else appears later): `own` is a pCPU that "
            "belongs to this VM alone, `beside` the shared pool's pCPUs on the nodes of its vCPUs.",
            absent='`"housekeeping"`: the host\'s housekeeping pCPUs',
            effect="cold-restart",
            reason=PLACED_AT_START,
        ),
    )
    iothreads: SupportSet = field(
        default="housekeeping",
        metadata=key(
            one_of(SupportSet),
            doc="Where the disks' iothreads run: on housekeeping pCPUs, each on its own pCPU, or beside the vCPUs.",
            effect="cold-restart",
            reason=PLACED_AT_START,
        ),
    )
    vhost: SupportSet = field(
        default="housekeeping",
        metadata=key(
            one_of(SupportSet),
            doc="Where the vhost workers run: on housekeeping pCPUs, those of each nic on its own pCPU, or beside the vCPUs.",
            effect="cold-restart",
            reason=PLACED_AT_START,
        ),
    )


def topology_of(cpu: CpuSpec) -> tuple[int, int, int]:
    """Sockets, cores per socket and threads per core that the guest sees; their product is `vcpus` in a valid spec."""
    if cpu.cores is None:
        sockets = 1 if cpu.sockets is None else cpu.sockets
        return sockets, cpu.vcpus // (sockets * cpu.threads), cpu.threads
    sockets = cpu.vcpus // (cpu.cores * cpu.threads) if cpu.sockets is None else cpu.sockets
    return sockets, cpu.cores, cpu.threads


def placement_of(cpu: CpuSpec) -> Placement:
    """The placement in force: dedicated pCPUs whose siblings stay empty are isolated."""
    return "isolated" if cpu.placement == "dedicated" and cpu.smt == "isolate" else cpu.placement


def topology_makes_vcpus(cpu: CpuSpec, place: Place) -> None:
    """Sockets × cores × threads = vcpus, with what is absent derived."""
    sockets, cores, threads = topology_of(cpu)
    if sockets * cores * threads == cpu.vcpus:
        return
    written = {"sockets": cpu.sockets, "cores": cpu.cores, "threads": threads}
    factors = " × ".join(f"{name} = {count}" for name, count in written.items() if count is not None)
    if cpu.sockets is None or cpu.cores is None:
        message = f"cpu.vcpus = {cpu.vcpus} cannot be divided by {factors}: accepted is a multiple"
        place.at("vcpus").report("topology", message, "change vcpus, or leave sockets, cores and threads out")
    else:
        product = cpu.sockets * cpu.cores * threads
        message = f"{factors} makes {product}, but cpu.vcpus = {cpu.vcpus}: accepted is the same number"
        place.at("vcpus").report("topology", message, f"set vcpus = {product}, or leave sockets and cores out")


def pin_goes_with_pinned(cpu: CpuSpec, place: Place) -> None:
    """`pin` and placement "pinned" come together."""
    if cpu.pin is not None and cpu.placement != "pinned":
        message = f'cpu.pin is written, but cpu.placement is "{cpu.placement}": accepted with pin is "pinned"'
        place.at("pin").report("pin-without-pinned", message, 'set placement = "pinned", or remove pin', on_key=True)
    if cpu.pin is None and cpu.placement == "pinned":
        message = f'cpu.placement = "pinned" without cpu.pin: accepted is a pin with {cpu.vcpus} entries'
        place.at("placement").report("pinned-without-pin", message, 'add pin = ["…", …] with one cpulist per vCPU')


def one_pin_per_vcpu(cpu: CpuSpec, place: Place) -> None:
    """`pin` has one entry for each vCPU."""
    if cpu.pin is not None and len(cpu.pin) != cpu.vcpus:
        message = f"cpu.pin has {len(cpu.pin)} entries, but cpu.vcpus = {cpu.vcpus}: accepted is one entry per vCPU"
        place.at("pin").report("pin-count", message, f"write {cpu.vcpus} entries")


def no_doubled_pin(cpu: CpuSpec, place: Place) -> None:
    """No two vCPUs have the same one pCPU alone: they would take turns on it."""
    singles = Counter(pin for pin in cpu.pin or () if len(pin) == 1)
    seen: set[frozenset[int]] = set()
    for vcpu_index, pin in enumerate(cpu.pin or ()):
        if singles[pin] > 1 and pin in seen:
            message = f"cpu.pin puts vCPU {vcpu_index} on pCPU {format_cpulist(pin)} alone, like a vCPU before it"
            place.at("pin", vcpu_index).report("doubled-pin", f"{message}: accepted is each pCPU once", "choose another pCPU")
        seen.add(pin)


def smt_goes_with_own_pcpus(cpu: CpuSpec, place: Place) -> None:
    """`smt` needs pCPUs of its own to say anything about; with isolated placement it can only be "isolate"."""
    here = place.at("smt")
    if cpu.smt is None:
        return
    if cpu.placement not in OWN_PCPUS:
        message = f'cpu.smt is written, but cpu.placement is "{cpu.placement}": accepted with smt is "dedicated" or "isolated"'
        here.report("smt-without-own", message, 'set placement = "dedicated", or remove smt', on_key=True)
    elif cpu.placement == "isolated" and cpu.smt != "isolate":
        message = f'cpu.smt = "{cpu.smt}" with isolated placement, which leaves all siblings empty: accepted is "isolate"'
        here.report("smt-with-isolated", message, 'set placement = "dedicated", or remove smt')
    elif cpu.smt == "require" and cpu.threads == 1:
        message = 'cpu.smt = "require" with cpu.threads = 1: there are no guest siblings; accepted is threads = 2 or more'
        here.report("smt-without-threads", message, "set threads = 2, or remove smt")


def shared_vcpus_are_some(cpu: CpuSpec, place: Place) -> None:
    """`shared_vcpus` are some of the vCPUs, not all, in whole guest cores, of a VM that has pCPUs of its own."""
    here = place.at("shared_vcpus")
    shared = cpu.shared_vcpus
    if shared is None:
        return
    if cpu.placement not in OWN_PCPUS:
        message = f'cpu.shared_vcpus is written, but cpu.placement is "{cpu.placement}": accepted is "dedicated" or "isolated"'
        here.report("shared-without-own", message, 'set placement = "dedicated", or remove shared_vcpus', on_key=True)
    unknown = shared - frozenset(range(cpu.vcpus))
    if unknown:
        message = f"cpu.shared_vcpus names vCPU {format_cpulist(unknown)}: accepted are 0 to {cpu.vcpus - 1}"
        here.report("shared-vcpus", message, "name vCPUs that the VM has")
    elif len(shared) == cpu.vcpus:
        message = f"cpu.shared_vcpus names all {cpu.vcpus} vCPUs: accepted are some of them"
        here.report("shared-vcpus", message, 'set placement = "shared", or name fewer')
    elif any(shared.isdisjoint(core) != (not shared.issuperset(core)) for core in _guest_cores(cpu)):
        message = f"cpu.shared_vcpus divides a guest core of {cpu.threads} threads: accepted are whole guest cores"
        here.report("shared-vcpus", message, "name all threads of a guest core, or none")


def realtime_goes_without_sharing(cpu: CpuSpec, place: Place) -> None:
    """A real-time vCPU gives its pCPU to nobody, so it cannot float among others."""
    if cpu.realtime_priority is not None and cpu.placement == "shared":
        message = 'cpu.realtime_priority with cpu.placement = "shared": accepted with it is "dedicated", "isolated" or "pinned"'
        hint = 'set placement = "dedicated", or remove realtime_priority'
        place.at("realtime_priority").report("realtime-shared", message, hint, on_key=True)


def _guest_cores(cpu: CpuSpec) -> list[range]:
    return [range(first, min(first + cpu.threads, cpu.vcpus)) for first in range(0, cpu.vcpus, cpu.threads)]


RULES = (
    topology_makes_vcpus,
    pin_goes_with_pinned,
    one_pin_per_vcpu,
    no_doubled_pin,
    smt_goes_with_own_pcpus,
    shared_vcpus_are_some,
    realtime_goes_without_sharing,
)
