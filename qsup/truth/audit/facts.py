"""AuditFacts: what the rules look at. `host/audit/` fills it; every value carries the file that told it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

from attrs import field, frozen

from qsup.plan.host_facts import HostFacts
from qsup.plan.vmplan import VmPlan
from qsup.truth.suspects import AgentFacts

_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_CHOSEN = re.compile(r"\[([a-z+_-]+)\]", re.ASCII)
_ON = frozenset({"Y", "y", "1", "on", "enabled"})
_OFF = frozenset({"N", "n", "0", "off", "disabled", "never"})


@frozen
class Told:
    """A small file as it was read; `text` None: it is missing, or may not be read."""

    file: str
    text: str | None = None

    @property
    def word(self) -> str | None:
        """The text without the blanks around it."""
        return None if self.text is None else self.text.strip()

    @property
    def number(self) -> int | None:
        """The whole number that it is."""
        word = self.word
        return int(word) if word is not None and _NUMBER.fullmatch(word) else None

    @property
    def is_on(self) -> bool | None:
        """A switch: Y or 1, N, 0 or never; None for anything else."""
        return True if self.word in _ON else False if self.word in _OFF else None

    @property
    def chosen(self) -> str | None:
        """Of "always [madvise] never" the word in brackets; None where there is none."""
        match = _CHOSEN.search(self.text or "")
        return match[1] if match else None


def untold(file: str) -> Told:
    """A file that was not looked for."""
    return Told(file)


@frozen
class KvmFacts:
    """KVM's modules. `module` is "kvm_intel" or "kvm_amd", empty where neither is loaded.

    `paging` is its ept or npt, `apicv` its enable_apicv or avic.
    """

    module: str = ""
    nested: Told = field(factory=lambda: untold("nested"))
    paging: Told = field(factory=lambda: untold("ept"))
    apicv: Told = field(factory=lambda: untold("enable_apicv"))
    l1d_flush: Told = field(factory=lambda: untold("vmentry_l1d_flush"))
    halt_poll_ns: Told = field(factory=lambda: untold("halt_poll_ns"))
    nx_huge_pages: Told = field(factory=lambda: untold("nx_huge_pages"))
    nx_recovery_ratio: Told = field(factory=lambda: untold("nx_huge_pages_recovery_ratio"))
    tdp_mmu: Told = field(factory=lambda: untold("tdp_mmu"))


@frozen
class IdleState:
    """A C-state of one pCPU: how long it takes to leave it, and whether it is switched off."""

    pcpu: int
    name: str
    latency_us: int
    disabled: bool
    file: str


@frozen
class PcpuClock:
    """How one pCPU is clocked."""

    pcpu: int
    governor: Told
    preference: Told
    max_khz: Told
    base_khz: Told


@frozen
class ProcessorFacts:
    """The processor. `flags` None: not told. `microcodes` maps each revision to the pCPUs that have it.

    `vulnerabilities` are the kernel's own words, a file each.
    """

    vendor: str = ""
    flags: frozenset[str] | None = None
    microcodes: Mapping[str, frozenset[int]] = field(factory=dict)
    vulnerabilities: tuple[Told, ...] = ()
    clocks: tuple[PcpuClock, ...] = ()
    idle_states: tuple[IdleState, ...] = ()
    driver: Told = field(factory=lambda: untold("scaling_driver"))
    no_turbo: Told = field(factory=lambda: untold("no_turbo"))
    boost: Told = field(factory=lambda: untold("boost"))
    clocksource: Told = field(factory=lambda: untold("current_clocksource"))
    clocksources: Told = field(factory=lambda: untold("available_clocksource"))
    nmi_watchdog: Told = field(factory=lambda: untold("nmi_watchdog"))

    def vulnerability(self, name: str) -> Told:
        """The kernel's word on one vulnerability."""
        ending = f"/{name}"
        return next((one for one in self.vulnerabilities if one.file.endswith(ending)), untold(name))


@frozen
class Irq:
    """An interrupt with the pCPUs that it may come to, and how often it came to each since the boot (0 is left out)."""

    number: int
    name: str
    affinity: frozenset[int]
    counts: Mapping[int, int]
    file: str


@frozen
class IrqFacts:
    """Interrupts and unbound kworkers; masks are None where they are not told.

    `banned` are the pCPUs that irqbalance's settings keep free, in `banned_file`.
    """

    irqs: tuple[Irq, ...] | None = None
    default_affinity: frozenset[int] | None = None
    workqueue: frozenset[int] | None = None
    banned: frozenset[int] | None = None
    banned_file: str = ""


@frozen
class BuddyRow:
    """Free memory of one host node: all of it, and what lies in blocks of at least 2 MiB."""

    host_node: int
    free_bytes: int
    large_bytes: int


@frozen
class MemoryFacts:
    """The kernel's memory settings. `swaps` are the active swap areas with their use; None: not told.

    `pools_at_boot` maps (host node, page size) to the pages that are set for the next boot.
    `hugetlb_in_cgroups`: hugepages count as memory of a cgroup here.
    """

    thp: Told = field(factory=lambda: untold("enabled"))
    thp_defrag: Told = field(factory=lambda: untold("defrag"))
    ksm_run: Told = field(factory=lambda: untold("run"))
    ksm_across: Told = field(factory=lambda: untold("merge_across_nodes"))
    numa_balancing: Told = field(factory=lambda: untold("numa_balancing"))
    zone_reclaim: Told = field(factory=lambda: untold("zone_reclaim_mode"))
    swappiness: Told = field(factory=lambda: untold("swappiness"))
    swaps: tuple[str, ...] | None = None
    buddies: tuple[BuddyRow, ...] = ()
    pools_at_boot: Mapping[tuple[int, int], int] = field(factory=dict)
    overcommit: tuple[Told, ...] = ()
    hugetlb_in_cgroups: bool = False


@frozen
class PortFacts:
    """A bridge's port that is no tap. `hardware`: a NIC of this machine. `queues` counts its receive queues.

    `offloads` maps a feature to whether it is on; None: not told. `irqs` are the numbers of its interrupts.
    """

    name: str
    mtu: Told
    hardware: bool = False
    host_node: int | None = None
    queues: int = 0
    irqs: tuple[int, ...] = ()
    offloads: Mapping[str, bool] | None = None


@frozen
class BridgeNet:
    """A bridge with the ports that lead out of the host, also those below bonds and VLANs."""

    name: str
    mtu: Told
    stp: Told
    forward_delay: Told
    ports: tuple[PortFacts, ...] = ()


@frozen
class NetworkFacts:
    """Bridges that VMs use, by name, and the switches that send bridged frames through the host's firewall."""

    bridges: Mapping[str, BridgeNet] = field(factory=dict)
    netfilter: tuple[Told, ...] = ()


@frozen
class ImageTuning:
    """An image as it lies on its file system; what could not be told is None.

    `length_bytes` is the file's; `cluster_bytes` is qcow2's. `filesystem` is its type. `below` are the images that
    it lies on, `host_node` is that of the disk.
    """

    path: str
    length_bytes: int | None = None
    virtual_bytes: int | None = None
    cluster_bytes: int | None = None
    filesystem: str | None = None
    no_cow: bool | None = None
    scheduler: Told | None = None
    rotational: Told | None = None
    below: tuple[str, ...] = ()
    host_node: int | None = None


@frozen
class AioEvents:
    """The kernel's events for asynchronous I/O, which all processes of the host share: those reserved, and how many may be."""

    reserved: Told = field(factory=lambda: untold("aio-nr"))
    most: Told = field(factory=lambda: untold("aio-max-nr"))


@frozen
class CgroupLimit:
    """A limit that holds for a process, its own cgroup's or one above, and its file."""

    file: str
    value: int


@frozen
class ProcessFacts:
    """The process of a VM. Limits are None where there is none; `told` is False where the process could not be looked at."""

    pid: int
    nofile: int | None = None
    memlock_bytes: int | None = None
    swapped_bytes: int | None = None
    memory_limit: CgroupLimit | None = None
    quota_percent: CgroupLimit | None = None
    pids_limit: CgroupLimit | None = None
    cpuset: frozenset[int] | None = None
    told: bool = True


@frozen
class VmFacts:
    """One VM: its plan in force, or as it would be; `process` None: it does not run."""

    plan: VmPlan
    process: ProcessFacts | None = None


@frozen
class AuditFacts:
    """Everything that an audit looks at.

    `pages_taken` maps (host node, page size) to the hugepages that the processes of VMs have; None: it could not be counted.
    """

    host: HostFacts
    vms: tuple[VmFacts, ...] = ()
    kvm: KvmFacts = field(factory=KvmFacts)
    processor: ProcessorFacts = field(factory=ProcessorFacts)
    interrupts: IrqFacts = field(factory=IrqFacts)
    memory: MemoryFacts = field(factory=MemoryFacts)
    network: NetworkFacts = field(factory=NetworkFacts)
    images: Mapping[str, ImageTuning] = field(factory=dict)
    agents: AgentFacts = field(factory=AgentFacts)
    aio_events: AioEvents = field(factory=AioEvents)
    pages_taken: Mapping[tuple[int, int], int] | None = None

    @cached_property
    def plans(self) -> tuple[VmPlan, ...]:
        """The plans of all VMs."""
        return tuple(vm.plan for vm in self.vms)

    @cached_property
    def owners(self) -> Mapping[int, str]:
        """The pCPUs that one vCPU has for itself, each with its VM: of dedicated and isolated VMs, and single pins."""
        found: dict[int, str] = {}
        for plan in self.plans:
            for vcpu in plan.vcpus:
                if vcpu.vcpu_index not in plan.floating and len(vcpu.pin) == 1:
                    found.setdefault(next(iter(vcpu.pin)), plan.name)
        return found

    @cached_property
    def spare(self) -> frozenset[int]:
        """Where other work belongs: the pCPUs for QEMU's other threads, as far as no vCPU owns them; without any, the rest."""
        support = frozenset[int]().union(*(plan.emulator for plan in self.plans)) & self.host.index.online
        return support - self.owned or self.host.index.online - self.owned

    @cached_property
    def owned(self) -> frozenset[int]:
        """The same pCPUs without their VMs."""
        return frozenset(self.owners)
