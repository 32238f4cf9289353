"""Who made a vCPU wait, counted exactly at every switch of threads: two burners whose weights are 3 to 1."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .qsup_host import QsupHost, halting

BURN_ROM = "/srv/burn.rom"
BURN_LOOP = bytes.fromhex("faebfe")  # at the reset vector: cli; jmp to itself
PCPU = 3
REPORTS = 20
REFUSED = "who waits for whom is found out by sampling"


def burn(host: QsupHost, name: str, weight: int) -> None:
    """A service that does nothing but use the pCPU, with this weight against its neighbours."""
    words = ("systemd-run", f"--unit={name}", f"--property=CPUWeight={weight}", "taskset", "-c", str(PCPU))
    host.lab.run(*words, "sh", "-c", "while :; do :; done")


def exact_reports(host: QsupHost, name: str) -> list[dict[str, Any]]:
    """The vCPU in reports that were counted at every switch; the lab's kernels all let it be counted."""
    text = host.lab.sh(f"timeout 90 qsup wait {name} --watch --json | head -n {REPORTS}")
    reports = [json.loads(line) for line in text.splitlines()]
    assert [line for line in host.journal().splitlines() if REFUSED in line] == []
    vms = [vm for report in reports if report["exact"] and report["blamed"] for vm in report["vms"] if vm["vm"] == name]
    return [thread for vm in vms for thread in vm["threads"] if thread["thread_class"] == "vcpu"]


def share_of(vcpu: dict[str, Any], name: str) -> float:
    return sum(float(item["share"]) for item in vcpu["blame"] if name in item["who"])


@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.lab(release="trixie"))])
def test_two_burners_are_named_in_the_order_of_their_weights(host: QsupHost, release: str) -> None:
    host.stop_daemon()
    host.lab.write("/etc/qsup/settings.toml", "[daemon]\nexact_wait = true\n")
    host.lab.write(BURN_ROM, b"\xf4" * 65520 + BURN_LOOP.ljust(16, b"\0"))
    host.start_daemon()
    cpu = f'vcpus = 1\nplacement = "pinned"\npin = ["{PCPU}"]\nemulator = "0"'
    host.run("burner", halting(cpu=cpu).replace("/srv/halt.rom", BURN_ROM))
    burn(host, "heavy", 300)
    burn(host, "light", 100)
    seen = exact_reports(host, "burner")
    assert seen, "it was watched, and no report was exact"
    waiting = [vcpu for vcpu in seen if vcpu["ready_share"] > 0.3]
    assert waiting, seen[-1]
    told = waiting[1:]  # in the first span the burners may have begun
    heavy, light = (sum(share_of(vcpu, name) for vcpu in told) for name in ("heavy", "light"))
    assert heavy + light >= 0.9 * sum(vcpu["ready_share"] for vcpu in told), told
    assert 2 < heavy / light < 4.5, told
    assert all(share_of(vcpu, "heavy") > share_of(vcpu, "light") > 0 for vcpu in told), told
