"""How good the planner's seats are: against exhaustive search on small hosts, 1,000 VMs that can be placed.

    python -m tests.bench.placement_quality [CASES]

Prints the table and exits with 1 where a seat costs more than 5 % above the best, or what is possible was refused.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import count

from tests.plan.quality import Result, result_of

DEFAULT_PLACED = 1000


def cases(placed: int) -> list[Result]:
    """The cases of seeds 0, 1, … until so many could be placed."""
    found: list[Result] = []
    left = placed
    for seed in count():
        if left <= 0:
            break
        found.append(result_of(seed))
        left -= found[-1].best is not None
    return found


def report(found: Sequence[Result]) -> list[str]:
    """The table, a line an entry."""
    pairs = [(one.planned, one.best) for one in found if one.planned is not None and one.best is not None and one.best >= 0]
    planned, best = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    rows = {
        "seeds": f"0 to {found[-1].seed}",
        "placed by the planner": str(sum(one.planned is not None for one in found)),
        "possible by exhaustive search": str(sum(one.best is not None for one in found)),
        "refused though possible": str(sum(one.planned is None and one.best is not None for one in found)),
        "the best seat exactly": f"{sum(one <= other for one, other in pairs)} of {len(pairs)}",
        "more than 5 % above the best": str(sum(not one.good for one in found)),
        "points in total": f"{planned} against {best} ({100 * (planned - best) / max(1, best):+.2f} %)",
    }
    return [f"{name:<32} {value}" for name, value in rows.items()]


def main(words: Sequence[str] = ()) -> int:
    """Run the cases and print the table."""
    began_s = time.process_time()
    found = cases(int(words[0]) if words else DEFAULT_PLACED)
    print("Placement against exhaustive search, hosts of up to 16 pCPUs")
    print("\n".join(f"  {line}" for line in report(found)))
    print(f"  {'CPU time of both':<32} {time.process_time() - began_s:.1f} s")
    bad = [one for one in found if not one.good]
    for one in bad:
        print(f"  seed {one.seed}: {one.planned} points, best {one.best}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
