"""The host's agents, on a tree of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsup.host.agents import read_agents
from qsup.truth.suspects import AgentFacts


def write(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_a_host_without_agents(tmp_path: Path) -> None:
    assert read_agents(write(tmp_path, {"proc/1/comm": "systemd\n"})) == AgentFacts()


def test_this_host_can_be_read() -> None:
    assert isinstance(read_agents(), AgentFacts)


def test_agents_and_tuneds_profile_with_what_it_includes(tmp_path: Path) -> None:
    files = {
        "proc/10/comm": "tuned\n",
        "proc/11/comm": "irqbalance\n",
        "proc/12/comm": "sshd\n",
        "proc/self/comm": "numad\n",
        "etc/tuned/active_profile": "mine\n",
        "etc/tuned/mine/tuned.conf": "[main]\ninclude=cpu-partitioning\n[scheduler]\nps_blacklist=.*pmd.*;^DPDK;.*qemu-kvm.*\n",
        "usr/lib/tuned/cpu-partitioning/tuned.conf": "[scheduler]\nisolated_cores=${isolated_cores}\nps_blacklist=none\n",
    }
    assert read_agents(write(tmp_path, files)) == AgentFacts(
        frozenset({"tuned", "irqbalance"}), "mine", True, (".*pmd.*", "^DPDK", ".*qemu-kvm.*")
    )


@pytest.mark.parametrize(
    "profile",
    [
        "[main]\ninclude=loop\n",
        "[main]\ninclude=gone\n",
        "no section at all",
        "[scheduler\n",
        "[main]\ninclude=../../etc/passwd\n",
        "[sysctl]\nkernel.x=%d\n",
        "",
    ],
)
def test_profiles_that_say_nothing_or_nonsense(tmp_path: Path, profile: str) -> None:
    files = {"etc/tuned/active_profile": "loop\n", "etc/tuned/loop/tuned.conf": profile}
    assert read_agents(write(tmp_path, files)) == AgentFacts(tuned_profile="loop")
