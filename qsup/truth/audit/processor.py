"""The processor: how it is clocked, how deep it sleeps, its microcode and mitigations, and which clock is read."""

from __future__ import annotations

from collections.abc import Iterable

from qsup.cpuset import format_cpulist
from qsup.truth.audit.facts import AuditFacts, PcpuClock, Told
from qsup.truth.audit.rule import (
    HOST,
    UNKNOWN_COST,
    Answer,
    Cost,
    Evidence,
    Found,
    Irrelevant,
    Rule,
    Unknown,
    not_told,
    of_one,
    told,
)

_CPU = "/sys/devices/system/cpu"
_SLOW_GOVERNORS = frozenset({"powersave", "conservative", "ondemand", "userspace"})
_SLOW_PREFERENCES = frozenset({"power", "balance_power"})
_OWN_GOVERNOR_DRIVERS = frozenset({"intel_pstate", "amd-pstate-epp"})
_LONGEST_WAKE_US = 20
_HARDWARE_CLOCKS = frozenset({"hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"})
_NO_OWNERS = Irrelevant("no vCPU has a pCPU for itself")


def _governor(facts: AuditFacts) -> Answer:
    """With drivers that scale by themselves "powersave" is the normal governor: there the preference decides."""
    clocks = facts.processor.clocks
    if not clocks:
        return Irrelevant("the kernel does not scale the frequency here")
    if facts.processor.driver.word in _OWN_GOVERNOR_DRIVERS:
        return Irrelevant(f"{facts.processor.driver.word} scales by itself")
    return _of_clocks([clock for clock in clocks if clock.governor.word in _SLOW_GOVERNORS], "governor", "governor")


def _preference(facts: AuditFacts) -> Answer:
    clocks = [clock for clock in facts.processor.clocks if clock.preference.text is not None]
    if not clocks:
        return Irrelevant("the processor takes no energy preference")
    return _of_clocks([clock for clock in clocks if clock.preference.word in _SLOW_PREFERENCES], "preference", "preference")


def _of_clocks(slow: list[PcpuClock], attribute: str, noun: str) -> Answer:
    found = []
    for value in sorted({getattr(clock, attribute).word for clock in slow}):
        alike = [clock for clock in slow if getattr(clock, attribute).word == value]
        pcpus = format_cpulist(clock.pcpu for clock in alike)
        what = f"the {noun} of pCPUs {pcpus} is {value}"
        found.append(Found(HOST, what, told(getattr(alike[0], attribute)), {"pcpus": pcpus}))
    return tuple(found)


def _no_turbo(facts: AuditFacts) -> Answer:
    processor = facts.processor
    if processor.no_turbo.text is None and processor.boost.text is None:
        return Irrelevant("the driver has no switch for turbo")
    switch = processor.no_turbo if processor.no_turbo.text is not None else processor.boost
    if switch.is_on is None:
        return of_one(switch, None, "")
    if switch.is_on != (switch is processor.no_turbo):
        return ()
    clock = next((clock for clock in processor.clocks if clock.max_khz.number and clock.base_khz.number), None)
    value = "0" if switch is processor.no_turbo else "1"
    evidence, cost = told(switch), None
    if clock is not None and (top := clock.max_khz.number or 0) > (base := clock.base_khz.number or 1):
        percent = round(100 * (top - base) / top)
        cost = Cost(f"up to {percent} % of one core's top clock", "this host: cpuinfo_max_freq against base_frequency", percent)
        evidence += told(clock.max_khz, clock.base_khz)
    return (Found(HOST, "turbo is switched off", evidence, {"value": value, "file": switch.file}, cost),)


def _deep_sleep(facts: AuditFacts) -> Answer:
    owned = facts.owned
    if not owned:
        return _NO_OWNERS
    states = [state for state in facts.processor.idle_states if state.pcpu in owned]
    if not states:
        return Irrelevant("the kernel knows no C-states here")
    deep = [state for state in states if not state.disabled and state.latency_us > _LONGEST_WAKE_US]
    if not deep:
        return ()
    worst = max(deep, key=lambda state: (state.latency_us, -state.pcpu))
    pcpus = format_cpulist({state.pcpu for state in deep})
    what = f"pCPUs {pcpus}, which vCPUs own, may sleep so deep that waking takes {worst.latency_us} µs ({worst.name})"
    cost = Cost(f"{worst.latency_us} µs at each wake-up", f"this host: {worst.file}")
    evidence = (Evidence(worst.file, str(worst.latency_us)),)
    return (Found(HOST, what, evidence, {"pcpus": pcpus, "most": str(_LONGEST_WAKE_US)}, cost),)


def _vulnerable(facts: AuditFacts) -> Answer:
    known = facts.processor.vulnerabilities
    if not known:
        return Unknown(f"{_CPU}/vulnerabilities is not there")
    open_ones = [one for one in known if (one.word or "").startswith("Vulnerable") and not _waits_for_microcode(one)]
    if not open_ones:
        return ()
    names = ", ".join(one.file.rpartition("/")[2] for one in open_ones)
    return (Found(HOST, f"not mitigated: {names}", told(*open_ones)),)


def _waits_for_microcode(one: Told) -> bool:
    """The rule on microcode tells of it."""
    return one.file.endswith("/old_microcode") or "no microcode" in (one.text or "").lower()


def _smt_vulnerable(facts: AuditFacts) -> Answer:
    known = facts.processor.vulnerabilities
    if not known:
        return Unknown(f"{_CPU}/vulnerabilities is not there")
    leaky = [one for one in known if "SMT vulnerable" in (one.text or "")]
    if not leaky:
        return ()
    shared = _vms_on_one_core(facts)
    if not shared:
        return ()
    (first, second, pcpus) = shared[0]
    more = f", and {len(shared) - 1} more such cores" if len(shared) > 1 else ""
    names = ", ".join(one.file.rpartition("/")[2] for one in leaky)
    what = f"{first} and {second} run on siblings of one core (pCPUs {pcpus}{more}), which {names} lets them spy through"
    return (Found(HOST, what, told(*leaky)),)


def _vms_on_one_core(facts: AuditFacts) -> list[tuple[str, str, str]]:
    """(one VM, another, the core's pCPUs) for each core that vCPUs of several VMs may run on at once."""
    guests: dict[int, set[str]] = {}
    for plan in facts.plans:
        for vcpu in plan.vcpus:
            for pcpu in vcpu.pin:
                guests.setdefault(pcpu, set()).add(plan.name)
    found = []
    for members in facts.host.index.cores.values():
        names = sorted(set[str]().union(*(guests.get(pcpu, set()) for pcpu in members)))
        if len(members) > 1 and len(names) > 1 and sum(pcpu in guests for pcpu in members) > 1:
            found.append((names[0], names[1], format_cpulist(members)))
    return found


def _microcode(facts: AuditFacts) -> Answer:
    found = []
    old = facts.processor.vulnerability("old_microcode")
    if (old.word or "").startswith("Vulnerable"):
        found.append(Found(HOST, "the kernel knows a newer microcode than the one that runs", told(old)))
    lacking = [one for one in facts.processor.vulnerabilities if one is not old and _waits_for_microcode(one)]
    if lacking:
        below = ", which the hypervisor below has to bring" if "hypervisor" in (facts.processor.flags or ()) else ""
        found.append(Found(HOST, f"mitigations wait for a newer microcode{below}", told(*lacking)))
    revisions = facts.processor.microcodes
    if len(revisions) > 1:
        text = ", ".join(f"{revision} on pCPUs {format_cpulist(pcpus)}" for revision, pcpus in sorted(revisions.items()))
        found.append(Found(HOST, "pCPUs run different microcodes", (Evidence("/proc/cpuinfo", text),)))
    if found:
        return tuple(found)
    if not revisions and old.text is None:
        return Unknown("neither /proc/cpuinfo nor vulnerabilities/old_microcode tells of the microcode")
    return ()


def _clocksource(facts: AuditFacts) -> Answer:
    current, available = facts.processor.clocksource, facts.processor.clocksources
    if current.text is None:
        return not_told(current)
    if current.word not in _HARDWARE_CLOCKS:
        return ()
    lost = "" if "tsc" in (available.text or "") else "; the kernel gave the TSC up (see dmesg)"
    return (Found(HOST, f"time is read from {current.word}{lost}", told(current, available)),)


def _watchdog(facts: AuditFacts) -> Answer:
    if not facts.owned:
        return _NO_OWNERS
    on = facts.processor.nmi_watchdog.is_on
    return of_one(facts.processor.nmi_watchdog, on, "the NMI watchdog interrupts every pCPU, those that vCPUs own among them")


def _ticking(facts: AuditFacts) -> Answer:
    quiet = [plan for plan in facts.plans if plan.placement == "isolated"]
    if not quiet:
        return Irrelevant("no VM is isolated")
    full = frozenset(pcpu.pcpu for pcpu in facts.host.pcpus if pcpu.nohz_full)
    found = []
    for plan in quiet:
        ticking = _pins(plan.vcpus) - full
        if ticking:
            what = f"pCPUs {format_cpulist(ticking)} of the isolated {plan.name} tick while its vCPUs run"
            evidence = (Evidence(f"{_CPU}/nohz_full", format_cpulist(full) or "(none)"),)
            found.append(Found(plan.name, what, evidence, {"pcpus": format_cpulist(ticking | full)}))
    return tuple(found)


def _pins(vcpus: Iterable[object]) -> frozenset[int]:
    return frozenset[int]().union(*(getattr(vcpu, "pin", frozenset()) for vcpu in vcpus))


def _is_guest(facts: AuditFacts) -> Answer:
    flags = facts.processor.flags
    if flags is None:
        return not_told(Told("/proc/cpuinfo"))
    if "hypervisor" not in flags:
        return ()
    return (Found(HOST, "this host is a virtual machine itself", (Evidence("/proc/cpuinfo", "flags: hypervisor"),)),)


RULES = (
    Rule(
        "cpu.governor",
        "a frequency governor that waits for load",
        "medium",
        "The clock follows load, and a vCPU that wakes up begins slow; the guest sees its requests answered late.",
        UNKNOWN_COST,
        "cpupower -c {pcpus} frequency-set -g performance",
        (f"{_CPU}/cpuN/cpufreq/scaling_governor", f"{_CPU}/cpuN/cpufreq/scaling_driver"),
        _governor,
        "tuned-adm profile virtual-host, or a unit that runs the command at boot",
    ),
    Rule(
        "cpu.energy-preference",
        "the processor is told to save energy",
        "medium",
        "The processor chooses its clock by itself and leans to saving: it speeds up late.",
        UNKNOWN_COST,
        "for f in /sys/devices/system/cpu/cpu*/cpufreq/energy_performance_preference; do echo performance > $f; done",
        (f"{_CPU}/cpuN/cpufreq/energy_performance_preference",),
        _preference,
        "tuned-adm profile virtual-host, or a unit that runs the command at boot",
    ),
    Rule(
        "cpu.no-turbo",
        "no core goes above its base clock",
        "medium",
        "A core that works alone could run faster than its base clock, as far as heat and power allow.",
        UNKNOWN_COST,
        "echo {value} > {file}",
        (f"{_CPU}/intel_pstate/no_turbo", f"{_CPU}/cpufreq/boost"),
        _no_turbo,
        "a unit that runs the command at boot, or the firmware's switch",
    ),
    Rule(
        "cpu.deep-sleep",
        "pCPUs that vCPUs own may sleep deep",
        "medium",
        "An idle pCPU goes into a C-state, and the interrupt that wakes it waits for its exit latency.",
        UNKNOWN_COST,
        "cpupower -c {pcpus} idle-set -D {most}",
        (f"{_CPU}/cpuN/cpuidle/stateN/latency", f"{_CPU}/cpuN/cpuidle/stateN/disable"),
        _deep_sleep,
        "a unit that runs the command at boot",
    ),
    Rule(
        "cpu.vulnerable",
        "a processor flaw without its mitigation",
        "high",
        "A guest may read memory of the host or of other guests.",
        UNKNOWN_COST,
        "# remove mitigations=off (and the like) from the kernel command line, update kernel and microcode, reboot",
        (f"{_CPU}/vulnerabilities/*",),
        _vulnerable,
    ),
    Rule(
        "cpu.smt-leaks",
        "VMs on siblings of one core that leaks",
        "high",
        "What two siblings share is not cleared while both run: one guest may read the other's data.",
        UNKNOWN_COST,
        '# in the VMs\' files: [cpu] placement = "dedicated" with threads = 2, or "isolated"; or for all: echo off > '
        "/sys/devices/system/cpu/smt/control",
        (f"{_CPU}/vulnerabilities/*", "the VMs' plans"),
        _smt_vulnerable,
        "nosmt on the kernel command line",
    ),
    Rule(
        "cpu.microcode",
        "old, missing or mixed microcode",
        "high",
        "Mitigations that need a newer microcode are not in force.",
        UNKNOWN_COST,
        "apt install intel-microcode amd64-microcode || dnf install microcode_ctl linux-firmware   # then reboot",
        ("/proc/cpuinfo", f"{_CPU}/vulnerabilities/old_microcode"),
        _microcode,
    ),
    Rule(
        "cpu.clocksource",
        "time is read from a slow clock",
        "high",
        "HPET and the ACPI timer are read over the bus, by every thread one after the other; kvmclock in guests needs the TSC.",
        Cost(
            "10 million readings of the clock: 0.6 s from the TSC, 12.3 s from HPET, 25.5 s from the ACPI timer",
            "Red Hat Enterprise Linux for Real Time 7, Reference Guide, 15.2.4",
            95,
        ),
        "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        ("/sys/devices/system/clocksource/clocksource0/current_clocksource",),
        _clocksource,
        "find in dmesg why the TSC was given up (firmware, unsynchronised sockets); tsc=reliable only if it is",
    ),
    Rule(
        "cpu.nmi-watchdog",
        "the NMI watchdog ticks on pCPUs that vCPUs own",
        "low",
        "It takes a performance counter and an interrupt now and then on each pCPU.",
        UNKNOWN_COST,
        "sysctl -w kernel.nmi_watchdog=0",
        ("/proc/sys/kernel/nmi_watchdog",),
        _watchdog,
        "kernel.nmi_watchdog = 0 in /etc/sysctl.d/90-qsup.conf",
    ),
    Rule(
        "cpu.tick",
        "pCPUs of isolated VMs tick",
        "low",
        "The scheduler's tick stops the guest CONFIG_HZ times a second, though nothing else may run there.",
        UNKNOWN_COST,
        "# add nohz_full={pcpus} rcu_nocbs={pcpus} to the kernel command line, then reboot",
        (f"{_CPU}/nohz_full", "the VMs' plans"),
        _ticking,
    ),
    Rule(
        "cpu.host-is-guest",
        "guests are nested",
        "low",
        "Every exit of a guest passes through the hypervisor below as well.",
        Cost(
            "6 to 8 % for common workloads, at best",
            "Ben-Yehuda et al., The Turtles Project: Design and Implementation of Nested Virtualization, OSDI 2010",
            8,
        ),
        "# run guests that count on a host of their own",
        ("/proc/cpuinfo",),
        _is_guest,
    ),
)
