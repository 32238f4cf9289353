"""Who made a vCPU wait, found by sampling alone, and what a quota of its cgroup held: the default, over many seconds."""

from __future__ import annotations

import json
from typing import Any

from .qsup_host import QsupHost, halting
from .test_exact_wait import BURN_LOOP, BURN_ROM, PCPU, burn, share_of

REPORTS = 20
QUOTA = 0.2
CPU = f'vcpus = 1\nplacement = "pinned"\npin = ["{PCPU}"]\nemulator = "0"'


def run_burner(host: QsupHost) -> None:
    """A guest that uses its vCPU all the time."""
    host.lab.write(BURN_ROM, b"\xf4" * 65520 + BURN_LOOP.ljust(16, b"\0"))
    host.run("burner", halting(cpu=CPU).replace("/srv/halt.rom", BURN_ROM))


def reports_of(host: QsupHost) -> list[dict[str, Any]]:
    """What `qsup wait --watch` tells of the VM in so many seconds."""
    text = host.lab.sh(f"timeout 90 qsup wait burner --watch --json | head -n {REPORTS}")
    reports = [json.loads(line) for line in text.splitlines()]
    assert len(reports) == REPORTS
    assert not any(report["exact"] for report in reports)
    return reports


def vcpu_of(report: dict[str, Any]) -> dict[str, Any]:
    """Its vCPU."""
    ((vcpu,),) = [[row for row in vm["threads"] if row["thread_class"] == "vcpu"] for vm in report["vms"]]
    return dict(vcpu)


def test_two_burners_are_named_by_sampling_in_the_order_of_their_weights(host: QsupHost) -> None:
    run_burner(host)
    burn(host, "heavy", 300)
    burn(host, "light", 100)
    told = [vcpu_of(report) for report in reports_of(host) if report["blamed"]][1:]  # the burners may have begun in the first
    assert len(told) > REPORTS // 2
    waited = sum(vcpu["ready_share"] for vcpu in told)
    heavy, light = (sum(share_of(vcpu, name) for vcpu in told) for name in ("heavy", "light"))
    assert waited > 0.3 * len(told), told
    assert heavy + light >= 0.9 * waited, told
    assert 2 < heavy / light < 4.5, told


def test_what_a_quota_held_is_told_as_the_kernel_counts_it(host: QsupHost) -> None:
    run_burner(host)
    host.lab.run("systemctl", "set-property", "--runtime", "qsup-burner.scope", f"CPUQuota={QUOTA:.0%}")
    reports_of(host)  # by now it holds in every span
    before_s = throttled_s(host)
    reports = reports_of(host)
    grown_s = throttled_s(host) - before_s
    told_s = sum(vm["throttled_share"] * report["span_s"] for report in reports for vm in report["vms"])
    assert 0.5 * grown_s < told_s < 1.2 * grown_s, (told_s, grown_s)
    vcpus = [vcpu_of(report) for report in reports]
    assert sum(vcpu["throttled_share"] for vcpu in vcpus) > 0.9 * sum(vcpu["ready_share"] for vcpu in vcpus) > 0.3 * REPORTS


def throttled_s(host: QsupHost) -> float:
    """The kernel's count for the VM's scope, in seconds."""
    text = host.lab.sh("cat /sys/fs/cgroup/qsup.slice/qsup-burner.scope/cpu.stat")
    (value,) = [line.split()[1] for line in text.splitlines() if line.startswith("throttled_usec")]
    return int(value) / 1e6
