"""The processor as the kernel tells it: flags, microcode, vulnerabilities, clocks, C-states, clock source.

Source: Documentation/admin-guide/pm/{cpufreq,cpuidle,intel_pstate}.rst, Documentation/ABI/testing/sysfs-devices-system-cpu.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from qsup.host.audit.settings import told
from qsup.host.sysfs import CPU_DIR, list_dir, numbered, read_count, read_text
from qsup.truth.audit.facts import IdleState, PcpuClock, ProcessorFacts

_CLOCKSOURCE = "/sys/devices/system/clocksource/clocksource0"
_FIELD = re.compile(r"^([a-z_ ]+?)\s*:\s*(.*?)\s*$", re.MULTILINE)


def read_processor(root: str, pcpus: Iterable[int]) -> ProcessorFacts:
    """The processor, of these (online) pCPUs.

    Touches:
        /proc/cpuinfo, /sys/devices/system/cpu, /sys/devices/system/clocksource, /proc/sys/kernel/nmi_watchdog.
    """
    numbers = sorted(pcpus)
    vendor, flags, microcodes = _cpuinfo(root)
    first = numbers[0] if numbers else 0
    return ProcessorFacts(
        vendor=vendor,
        flags=flags,
        microcodes=microcodes,
        vulnerabilities=tuple(
            told(root, f"{CPU_DIR}/vulnerabilities/{name}") for name in list_dir(root, f"{CPU_DIR}/vulnerabilities")
        ),
        clocks=tuple(_clocks(root, numbers)),
        idle_states=tuple(_idle_states(root, numbers)),
        driver=told(root, f"{CPU_DIR}/cpu{first}/cpufreq/scaling_driver"),
        no_turbo=told(root, f"{CPU_DIR}/intel_pstate/no_turbo"),
        boost=told(root, f"{CPU_DIR}/cpufreq/boost"),
        clocksource=told(root, f"{_CLOCKSOURCE}/current_clocksource"),
        clocksources=told(root, f"{_CLOCKSOURCE}/available_clocksource"),
        nmi_watchdog=told(root, "/proc/sys/kernel/nmi_watchdog"),
    )


def _cpuinfo(root: str) -> tuple[str, frozenset[str] | None, dict[str, frozenset[int]]]:
    """(maker, flags of the first pCPU, microcode revision → pCPUs)."""
    vendor, flags, pcpu = "", None, -1
    microcodes: dict[str, set[int]] = {}
    for name, value in _FIELD.findall(read_text(root, "/proc/cpuinfo") or ""):
        if name == "processor" and value.isdigit():
            pcpu = int(value)
        elif name == "vendor_id":
            vendor = vendor or value
        elif name == "flags" and flags is None:
            flags = frozenset(value.split())
        elif name == "microcode":
            microcodes.setdefault(value, set()).add(pcpu)
    return vendor, flags, {revision: frozenset(numbers) for revision, numbers in microcodes.items()}


def _clocks(root: str, pcpus: Iterable[int]) -> Iterator[PcpuClock]:
    for pcpu in pcpus:
        top = f"{CPU_DIR}/cpu{pcpu}/cpufreq"
        governor = told(root, f"{top}/scaling_governor")
        if governor.text is not None:
            preference = told(root, f"{top}/energy_performance_preference")
            yield PcpuClock(
                pcpu, governor, preference, told(root, f"{top}/cpuinfo_max_freq"), told(root, f"{top}/base_frequency")
            )


def _idle_states(root: str, pcpus: Iterable[int]) -> Iterator[IdleState]:
    for pcpu in pcpus:
        top = f"{CPU_DIR}/cpu{pcpu}/cpuidle"
        for number in numbered(list_dir(root, top), "state"):
            file = f"{top}/state{number}/latency"
            latency = read_count(root, file)
            if latency is not None:
                name = (read_text(root, f"{top}/state{number}/name") or f"state{number}").strip()
                disabled = bool(read_count(root, f"{top}/state{number}/disable"))
                yield IdleState(pcpu, name, latency, disabled, file)
