"""cgroup v2, v1 and mixed, from made-up trees; and this boot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qsup.host.boot import read_boot_id, uptime_s
from qsup.host.cgroup import CgroupMemory, cgroup_dir_of, cgroup_of, cpuset_of, read_cgroup_memory
from qsup.host.record import write_tree

V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
SCOPE = "/sys/fs/cgroup/qsup.slice/qsup-web1.scope"


@pytest.fixture
def v2(tmp_path: Path) -> str:
    write_tree(
        {
            "/proc/self/mountinfo": "22 1 0:20 / /proc rw - proc proc rw\n" + V2,
            "/proc/7/cgroup": "0::/qsup.slice/qsup-web1.scope\n",
            f"{SCOPE}/memory.current": "1048576\n",
            f"{SCOPE}/memory.max": "max\n",
            f"{SCOPE}/memory.events": "low 0\nhigh 2\nmax 0\noom 1\noom_kill 3\n",
            "/sys/fs/cgroup/qsup.slice/cpuset.cpus.effective": "2-5\n",
            "/sys/fs/cgroup/cpuset.cpus.effective": "0-7\n",
        },
        str(tmp_path),
    )
    return str(tmp_path)


def test_a_scope(v2: str) -> None:
    assert cgroup_of(7, v2) == "/qsup.slice/qsup-web1.scope"
    assert cgroup_dir_of(7, v2) == SCOPE
    assert cpuset_of(7, v2) == frozenset({2, 3, 4, 5})  # the scope has no cpuset of its own: its slice's is in force
    assert read_cgroup_memory(SCOPE, v2) == CgroupMemory(1048576, None, None, 3)
    assert read_cgroup_memory("/sys/fs/cgroup", v2) is None


def test_a_process_that_is_gone(v2: str) -> None:
    assert (cgroup_of(8, v2), cgroup_dir_of(8, v2), cpuset_of(8, v2)) == (None, None, None)


def test_cpuset_of_a_mixed_host(tmp_path: Path) -> None:
    write_tree(
        {
            "/proc/self/mountinfo": "31 24 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
            "32 24 0:28 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 none rw\n",
            "/proc/7/cgroup": "3:cpuset,cpu:/vms/a\n1:name=systemd:/x\n0::/\n",
            "/sys/fs/cgroup/cpuset/vms/a/cpuset.effective_cpus": "1,3\n",
            "/sys/fs/cgroup/uni fied/cgroup.procs": "",
        },
        str(tmp_path),
    )
    assert cpuset_of(7, str(tmp_path)) == frozenset({1, 3})
    assert cgroup_dir_of(7, str(tmp_path)) == "/sys/fs/cgroup/uni fied"


def test_a_container_that_sees_a_part_of_the_tree(tmp_path: Path) -> None:
    write_tree(
        {
            "/proc/self/mountinfo": "30 24 0:26 /box /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
            "/proc/7/cgroup": "0::/box/vm\n",
            "/proc/8/cgroup": "0::/boxes\n",
            "/sys/fs/cgroup/vm/cpuset.cpus.effective": "0\n",
        },
        str(tmp_path),
    )
    assert cgroup_dir_of(7, str(tmp_path)) == "/sys/fs/cgroup/vm"
    assert cpuset_of(7, str(tmp_path)) == frozenset({0})
    assert cgroup_dir_of(8, str(tmp_path)) is None


@pytest.mark.parametrize("junk", ["", "\n", "::", "0:", "x::/a", "0::relative", "\x00\x01"])
def test_junk(tmp_path: Path, junk: str) -> None:
    write_tree({"/proc/self/mountinfo": V2 + junk, "/proc/7/cgroup": junk}, str(tmp_path))
    assert cgroup_of(7, str(tmp_path)) is None
    assert cpuset_of(7, str(tmp_path)) is None


def test_the_cpuset_of_this_process_holds_its_affinity() -> None:
    allowed = cpuset_of(os.getpid())
    assert allowed is None or os.sched_getaffinity(0) <= allowed


def test_this_boot(tmp_path: Path) -> None:
    assert len(read_boot_id()) == 36
    assert read_boot_id(str(tmp_path)) == ""
    assert 0 < uptime_s() <= uptime_s()
