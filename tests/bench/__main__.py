"""`make bench`: every row, one after the other; each compares side by side in one run and prints ratios.

`python -m tests.bench NAME…` runs some of them.
"""

from __future__ import annotations

import importlib
import sys

ROWS = ("start", "adoption", "cycles", "pages", "flat", "placement_quality", "placement_speed", "nova_comparison")


def main(names: list[str]) -> int:
    """Run the rows; 1 where one is beyond its limit."""
    failed = []
    for name in names or ROWS:
        print(f"== {name}", flush=True)
        if importlib.import_module(f"tests.bench.{name}").main() != 0:
            failed.append(name)
    if failed:
        print(f"beyond their limits: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
