"""An audit as the supervisor would give it: one fault of the host, one of many VMs, what could not be told."""

from __future__ import annotations

from attrs import evolve

from qsup.truth.audit.report import AuditReport, Finding, Place, Untold
from qsup.truth.audit.rule import Cost, Evidence

_TABLE = (
    Finding(
        "cpu.clocksource",
        "high",
        "time is read from a slow clock",
        "HPET and the ACPI timer are read over the bus, by every thread one after the other; kvmclock in guests needs the TSC.",
        Cost("10 million readings: 0.6 s from the TSC, 12.3 s from HPET", "Red Hat, Reference Guide, 15.2.4", 95),
        (
            Place(
                "host",
                "time is read from hpet",
                (
                    Evidence("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"),
                    Evidence("/sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm"),
                ),
                "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
            ),
        ),
        "find in dmesg why the TSC was given up",
    ),
    Finding(
        "disk.no-iothread",
        "medium",
        "a disk without an iothread",
        "The main loop serves the disk between timers, monitor and every other device, under QEMU's big lock.",
        Cost(),
        tuple(
            Place(
                f"web{number}",
                f"disk0 of web{number} (/srv/vm/web{number}.qcow2) is served by QEMU's main loop",
                (Evidence(f"web{number}: disk0.iothread", "false"),),
                f"# in web{number}'s file: [[disk]] iothread = true; then qsup restart web{number}",
            )
            for number in range(1, 6)
        ),
        None,
    ),
    Finding(
        "memory.swappiness",
        "low",
        "guest memory may be swapped for page cache",
        "The kernel weighs a guest's idle pages against files that were read once.",
        Cost(),
        (
            Place(
                "host",
                "memory of web1 may be swapped out\x1b[31m",
                (Evidence("/proc/sys/vm/swappiness", "60"),),
                "sysctl -w vm.swappiness=1",
            ),
        ),
        "vm.swappiness = 1 in /etc/sysctl.d/90-qsup.conf",
    ),
)
_UNTOLD = (
    Untold("irq.default-affinity", "cannot be read: /proc/irq/default_smp_affinity"),
    Untold("cpu.host-is-guest", "cannot be read: /proc/cpuinfo"),
    Untold("kvm.no-extension", "cannot be read: /proc/cpuinfo"),
)
TROUBLED = AuditReport(
    _TABLE,
    _UNTOLD,
    (Untold("kvm.l1d-flush-always", "kvm_intel is not loaded"),),
    ("agents.numad",),
    (),
    ("web9 finds no room here and is left out: qsup status web9 says why",),
)
AT_S = 1_769_864_060.1234


def troubled_without(skip: frozenset[str]) -> AuditReport:
    """The same audit where some rules are not asked."""
    return evolve(
        TROUBLED,
        findings=tuple(one for one in TROUBLED.findings if one.rule_id not in skip),
        unknown=tuple(one for one in TROUBLED.unknown if one.rule_id not in skip),
        skipped=tuple(sorted(skip)),
    )
