"""[cpu]: how many vCPUs, their guest topology, and where they may run."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from attrs import field, frozen

from qsup.cpuset import format_cpulist
from qsup.spec.faults import Place
from qsup.spec.readers import list_of, one_of, whole_number, word_or
from qsup.spec.schema import GUEST_HARDWARE, PLACED_AT_START, key
from qsup.spec.words import cpulist, matching

Placement = Literal["dedicated", "isolated", "shared", "pinned"]

MOST_VCPUS = 1024


@frozen
class CpuSpec:
    """What `[cpu]` asks.

    `pin` has one non-empty pCPU set per vCPU (position = vcpu_index), only with placement "pinned".
    `emulator` None means the host's housekeeping pCPUs; else the set that was written.
    `sockets` and `cores` None mean: derived so that sockets × cores × threads = vcpus (`topology_of`).
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
    emulator: frozenset[int] | None = field(
        default=None,
        metadata=key(
            word_or("housekeeping", cpulist(example="0-1")),
            doc="Where QEMU's own threads run: main loop, workers and whatever else appears later.",
            absent='`"housekeeping"`: the host\'s housekeeping pCPUs',
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


RULES = (topology_makes_vcpus, pin_goes_with_pinned, one_pin_per_vcpu, no_doubled_pin)
