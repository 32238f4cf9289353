"""The report: its order, its commands, and what becomes of many places."""

from __future__ import annotations

import shlex
from pathlib import Path

from qsup.truth.audit.facts import AuditFacts, KvmFacts, Told, VmFacts
from qsup.truth.audit.report import audit
from qsup.truth.audit.rule import SEVERITIES
from tests.audit_hosts.recordings import facts_of, laid_over
from tests.plan.asking import dedicated, started
from tests.plan.hosts import two_sockets


def test_the_worst_comes_first_then_what_is_known_to_gain_most(base: Path) -> None:
    faults = {
        "/sys/module/kvm/parameters/halt_poll_ns": "0",
        "/sys/module/kvm_intel/parameters/enable_apicv": "N",
        "/sys/devices/system/cpu/cpufreq/boost": "0",
        "/proc/sys/vm/swappiness": "60",
        "/sys/class/net/br0/mtu": "9000",
        "/sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet",
    }
    with laid_over(base, {"files": faults}):
        findings = audit(facts_of(base)).findings
    assert [finding.rule_id for finding in findings] == [
        "cpu.clocksource",
        "network.mtu-mismatch",
        "cpu.no-turbo",
        "kvm.no-halt-polling",
        "kvm.no-apicv",
        "memory.swappiness",
    ]
    ranks = [SEVERITIES.index(finding.severity) for finding in findings]
    assert ranks == sorted(ranks)


def test_names_that_others_gave_are_quoted_in_commands(base: Path) -> None:
    path = "/srv/vm/a; reboot 'x.qcow2"
    disk = f'[cpu]\nvcpus = 1\n[memory]\nsize = "64MiB"\n[[disk]]\npath = "{path}"\n'
    image = {path: {"length": "64KiB", "virtual": "40GiB"}}
    with laid_over(base, {"files": {"/etc/qsup/vms.d/odd1.toml": disk}, "images": image}):
        (finding,) = audit(facts_of(base)).findings
    words = shlex.split(finding.places[0].mend, comments=True)
    assert words[-2:] == [path, f"{path}.new"]


def test_one_fault_of_many_vms_is_one_finding() -> None:
    host = two_sockets()
    ledger, _ = started([dedicated(f"db{number}", 1) for number in range(12)], host)
    vms = tuple(VmFacts(ledger.holdings[name].plan) for name in sorted(ledger.holdings))
    facts = AuditFacts(host, vms, kvm=KvmFacts("kvm_intel", nested=Told("nested", "Y\n")))
    report = audit(facts)
    finding = next(finding for finding in report.findings if finding.rule_id == "kvm.nested-passed")
    assert len(finding.places) == 1
    assert finding.places[0].what == "the guests of db0, db1, db10, db11 and 8 more may run VMs of their own"


def test_hugepages_count_where_cgroups_count_them(base: Path) -> None:
    limit = {"/sys/fs/cgroup/qsup.slice/qsup-db1.scope/memory.max": "1073741824"}
    mounts = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate"
    with laid_over(base, {"files": {**limit, "/proc/self/mountinfo": f"{mounts}\n"}}):
        assert "limits.memory" in audit(facts_of(base)).passed
    with laid_over(base, {"files": {**limit, "/proc/self/mountinfo": f"{mounts},memory_hugetlb_accounting\n"}}):
        report = audit(facts_of(base))
    (finding,) = (one for one in report.findings if one.rule_id == "limits.memory")
    assert finding.places[0].what.startswith("db1 may need 42")


def test_interrupts_that_nobody_may_move_are_left_out(base: Path) -> None:
    lines = ["nvme0q3", "nvme0q0", "virtio1-req.2", "eth0-rx-1"]
    table = "".join(f" {40 + number}: 0 9  PCI-MSIX 0-edge {name}\n" for number, name in enumerate(lines))
    files = {
        "/proc/interrupts": f" CPU0 CPU1\n{table}",
        **{f"/proc/irq/{40 + n}/effective_affinity_list": "1" for n in range(4)},
    }
    with laid_over(base, {"files": files}):
        report = audit(facts_of(base))
    (finding,) = (one for one in report.findings if one.rule_id == "irq.on-owned-pcpus")
    assert [one.value for one in finding.places[0].evidence] == ["1 (nvme0q0)", "1 (eth0-rx-1)"]


def test_what_is_skipped_is_not_asked() -> None:
    report = audit(AuditFacts(two_sockets()), ("cpu.clocksource", "memory.swappiness"))
    assert report.skipped == ("cpu.clocksource", "memory.swappiness")
    assert "cpu.clocksource" not in {one.rule_id for one in report.unknown}
