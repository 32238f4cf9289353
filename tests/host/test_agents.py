"""The host's agents, on a tree of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsup.host.agents import read_agents
from qsup.truth.suspects import AgentFacts
from qsup.truth.tuned import TunedScheduler


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
        frozenset({"tuned", "irqbalance"}),
        "mine",
        TunedScheduler(isolates=True, spares=(".*pmd.*", "^DPDK", ".*qemu-kvm.*")),
    )


def scheduler_of(tmp_path: Path, active: str, **profiles: str) -> TunedScheduler:
    files = {f"etc/tuned/profiles/{name}/tuned.conf": text for name, text in profiles.items()}
    return read_agents(write(tmp_path, {"etc/tuned/active_profile": f"{active}\n", **files})).tuned


def test_a_later_profile_is_above_an_earlier_one_and_an_including_one_above_what_it_includes(tmp_path: Path) -> None:
    found = scheduler_of(
        tmp_path,
        "first second",
        first="[scheduler]\nisolated_cores=1\nps_blacklist=first\nps_whitelist=all\n",
        second="[main]\ninclude=below\n[scheduler]\nps_blacklist=second\n",
        below="[scheduler]\nps_blacklist=below\ncgroup_ps_blacklist=/machine;a\\;b\n",
    )
    assert found == TunedScheduler(isolates=True, takes=("all",), spares=("second",), spares_cgroups=("/machine", "a\\;b"))


def test_a_section_of_another_name_and_groups_with_an_affinity(tmp_path: Path) -> None:
    text = (
        "[mine]\ntype=scheduler\nisolated_cores=2-3\ngroup.qemu=0:f:10:c:.*qemu.*:x\ngroup.rt=0:f:10:*:^rt\ngroup.odd=1:2\n"
        "[scheduler]\ntype=sysctl\nps_blacklist=no\n"
    )
    assert scheduler_of(tmp_path, "p", p=text) == TunedScheduler(isolates=True, groups=(".*qemu.*:x",))


def test_a_profile_that_includes_itself_ends(tmp_path: Path) -> None:
    text = "[main]\ninclude=p,p;p\n[scheduler]\nisolated_cores=1\n"
    assert scheduler_of(tmp_path, "p", p=text) == TunedScheduler(isolates=True)


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
