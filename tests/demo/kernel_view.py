"""A VM as the kernel shows it, read without qsup."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.live.evidence import masks_of

HUGEPAGE_KIB = 2048


def thread_table(pid: int) -> str:
    """Each thread of QEMU with the mask that the kernel has for it; threads of the same name and mask share a line."""
    counted = Counter(masks_of(pid).values())
    rows = [f"{'THREAD':<18}{'COUNT':<7}MAY RUN ON"]
    rows += [f"{name:<18}{count:<7}{mask}" for (name, mask), count in sorted(counted.items())]
    return "\n".join(rows)


def hugepages_of(pid: int) -> dict[int, int]:
    """Host node → hugepages of 2 MiB that the process has there.

    Source: Linux Documentation/filesystems/proc.rst, numa_maps.
    """
    found: Counter[int] = Counter()
    for line in Path(f"/proc/{pid}/numa_maps").read_text().splitlines():
        words = line.split()
        if f"kernelpagesize_kB={HUGEPAGE_KIB}" in words and "huge" in words:
            for word in words:
                if word[0] == "N" and word[1:2].isdigit():
                    node, _, pages = word[1:].partition("=")
                    found[int(node)] += int(pages)
    return dict(found)


def rights_of(pid: int) -> str:
    """The uid, the capabilities and the confinement of a process."""
    lines = (line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    status = dict(lines)
    uid = status["Uid"].split()[0]
    return f"uid {uid}, capabilities {status['CapEff']}, no_new_privs {status['NoNewPrivs']}, seccomp {status['Seccomp']}"
