"""Is anything left? Processes, links, hugepages, mounts and directories, held against what was there before."""

from __future__ import annotations

from attrs import frozen

from tests.demo.offer import POOLS
from tests.live.evidence import leftovers, links
from tests.live.harness import Daemon


@frozen
class Before:
    """What the machine had before the demo."""

    links: frozenset[str]
    hugepages: int

    @classmethod
    def now(cls) -> Before:
        """Look at the machine."""
        pool = POOLS / "nr_hugepages"
        return cls(frozenset(links()), int(pool.read_text()) if pool.exists() else 0)


def left_of(before: Before, daemon: Daemon) -> list[str]:
    """What is there now and was not before, in words; empty when all is as it was. Other programs' things are not ours."""
    now = Before.now()
    left = leftovers(daemon)
    left += [f"link {name}" for name in sorted(now.links - before.links) if name.startswith(("qdemo", "demo"))]
    if now.hugepages > before.hugepages:
        left.append(f"hugepages: {now.hugepages} in the pool, {before.hugepages} before")
    if daemon.root.exists():
        left.append(f"directory {daemon.root}")
    return left
