"""What of a lab is in its memory alone, saved before it goes down: evidence for a test that fails afterwards."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from .channel import NoAnswer

if TYPE_CHECKING:
    from .lab import Lab

KEPT = "before-off-"
COMMAND_LINES = (
    "for pid in $(pidof qemu-system-x86_64); do"
    " echo \"# $pid\"; tr '\\0' '\\n' </proc/$pid/cmdline; grep Cpus_allowed_list /proc/$pid/task/*/status; done"
)
_IN_MEMORY = ("/run/qsup", "/run/lab")
_ASK_S = 20.0


def keep(lab: Lab) -> None:
    """Save run directories with their guests' consoles, and command lines, in the lab's own folder; never in the way."""
    number = len(list(lab.frame.folder.glob(f"{KEPT}*"))) + 1
    folder = lab.frame.folder / f"{KEPT}{number}"
    folder.mkdir()
    with suppress(NoAnswer, TimeoutError, AssertionError, OSError):
        lines = lab.run("sh", "-c", COMMAND_LINES, check=False, timeout_s=_ASK_S)
        (folder / "qemu-command-lines.txt").write_text(lines.stdout)
        for path in _IN_MEMORY:
            if lab.run("test", "-d", path, check=False, timeout_s=_ASK_S).status == 0:
                lab.get(path, folder / path.strip("/").replace("/", "-"))
