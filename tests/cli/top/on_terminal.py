"""The full screen on the terminal it is started on, fed from descriptor 3: each line is a frame's JSON, or words of a fault.

python -m tests.cli.top.on_terminal
"""

from __future__ import annotations

import json
import os
import sys
import threading

from qsup.cli.top.app import TopApp
from qsup.cli.top.feed import Deliver, News


class Lines:
    """News by descriptor."""

    def look_at(self, vm: str | None, deliver: Deliver) -> None:
        threading.Thread(target=self._run, args=(deliver,), daemon=True).start()

    def _run(self, deliver: Deliver) -> None:
        with os.fdopen(int(sys.argv[1]), encoding="utf-8") as lines:
            for line in lines:
                deliver(News(json.loads(line)) if line.startswith("{") else News(fault=line.strip()))

    def close(self) -> None:
        pass


if __name__ == "__main__":
    TopApp(Lines()).run(mouse=False)
