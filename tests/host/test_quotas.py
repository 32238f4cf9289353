"""How long CPU quotas held, from made-up trees of cgroups; descriptors are kept, and closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qsup.host import quotas as quotas_module
from qsup.host.quotas import Quotas
from qsup.host.record import write_tree


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_quotas_of_either_version(tmp_path: Path) -> None:
    mounts = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n31 24 0:27 / /cg/cpu rw - cgroup cgroup rw,cpu\n"
    write_tree(
        {
            "/proc/self/mountinfo": mounts,
            "/proc/7/cgroup": "0::/q.slice/a.scope\n",
            "/sys/fs/cgroup/q.slice/a.scope/cpu.stat": "usage_usec 9\nnr_throttled 1\nthrottled_usec 250\n",
            "/sys/fs/cgroup/q.slice/cpu.stat": "usage_usec 9\nnr_throttled 1\nthrottled_usec 400\n",
            "/sys/fs/cgroup/cpu.stat": "usage_usec 9\n",
            "/proc/8/cgroup": "4:cpu:/b\n0::/\n",
            "/cg/cpu/b/cpu.stat": "nr_periods 3\nnr_throttled 1\nthrottled_time 77\n",
        },
        str(tmp_path),
    )
    before, quotas = fds(), Quotas(str(tmp_path))
    assert [quotas.throttled_ns(pid) for pid in (7, 8, 9)] == [400_000, 77, 0]
    (tmp_path / "sys/fs/cgroup/q.slice/cpu.stat").write_text("throttled_usec 401\n")
    assert quotas.throttled_ns(7) == 401_000
    quotas.keep_only([8])
    assert quotas.throttled_ns(8) == 77
    quotas.close()
    assert fds() == before


def test_a_quota_that_is_set_later_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "sys/fs/cgroup/q.slice/a.scope/cpu.stat"
    write_tree(
        {
            "/proc/self/mountinfo": "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            "/proc/7/cgroup": "0::/q.slice/a.scope\n",
            "/sys/fs/cgroup/q.slice/a.scope/cpu.stat": "usage_usec 9\n",
            "/sys/fs/cgroup/q.slice/cpu.stat": "usage_usec 9\n",
            "/sys/fs/cgroup/cpu.stat": "usage_usec 9\n",
        },
        str(tmp_path),
    )
    before, quotas = fds(), Quotas(str(tmp_path))
    assert quotas.throttled_ns(7) == 0
    assert fds() == before + 2, "those of the scope and of its slice; the host's root never counts"
    stat.write_text("usage_usec 9\nthrottled_usec 5\n")
    assert quotas.throttled_ns(7) == 0, "not asked each time"
    monkeypatch.setattr(quotas_module, "ASKED_AGAIN_S", 0.0)
    assert quotas.throttled_ns(7) == 0, "what it held before is of no span that is known"
    stat.write_text("usage_usec 9\nthrottled_usec 6\n")
    assert quotas.throttled_ns(7) == 1000
    quotas.close()
    assert fds() == before
