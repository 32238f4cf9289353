"""What a failed test leaves behind: consoles, journals, command lines and qsup's own folders, in one place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from .before_off import COMMAND_LINES, KEPT
from .channel import NoAnswer
from .lab import Lab
from .recipe import HERE

HOST_FILES = ("console.log", "journal.log", "qemu.argv", "qemu.log")
LAB_FOLDERS = ("/run/lab", "/run/qsup", "/var/lib/qsup", "/var/log/qsup", "/etc/qsup")
COMMANDS = {
    "qsup.txt": (
        "timeout 20 qsup list;"
        " for file in /run/qsup/vms/* /etc/qsup/vms.d/*.toml; do"
        ' name=${file##*/}; timeout 20 qsup status "${name%.toml}"; timeout 20 qsup timeline "${name%.toml}"; done;'
        " timeout 20 qsup events; journalctl --no-pager -o short-precise -u qsup -u qsup-guests"
    ),
    "journal.txt": "journalctl --no-pager -o short-precise",
    "kernel.txt": "dmesg",
    "units.txt": "systemctl --failed --no-pager; systemctl status --no-pager --full; systemctl list-jobs --no-pager",
    "processes.txt": "ps axfww -o pid,ppid,stat,psr,etime,wchan:20,args",
    "qemu-command-lines.txt": COMMAND_LINES,
    "memory.txt": "free -m; grep . /sys/devices/system/node/node*/hugepages/*/*_hugepages",
    "network.txt": "ip -d address; bridge link; nft list ruleset",
}
COMMAND_S = 60.0
ANSWER_S = 15.0


def folder_of(test: str) -> Path:
    """Return where the evidence of a test goes: under $QSUP_LAB_FAILURES, or tests/lab/failures."""
    above = Path(os.environ.get("QSUP_LAB_FAILURES") or HERE / "failures")
    return above / re.sub(r"[^\w.-]+", "_", test).strip("_")


def collect(lab: Lab, folder: Path) -> None:
    """Fill a folder with what can be had from a lab, alive or dead; what cannot be had is told in it, not raised."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in HOST_FILES:
        with suppress(OSError):
            shutil.copy(lab.frame.folder / name, folder / name)
    for kept in lab.frame.folder.glob(f"{KEPT}*"):
        shutil.copytree(kept, folder / kept.name, symlinks=True, ignore=_special_files, dirs_exist_ok=True)
    problems = list(_collect_inside(lab, folder))
    if problems:
        (folder / "no-answer.txt").write_text("".join(f"{problem}\n" for problem in problems))


def _collect_inside(lab: Lab, folder: Path) -> Iterator[str]:
    """Yields what could not be had. A lab that does not answer is asked once, briefly."""
    asked: list[tuple[str, Callable[[], None]]] = [
        ("an answer", lambda: lab.answers_within(ANSWER_S)),
        *((name, partial(_save, lab, script, folder / name)) for name, script in COMMANDS.items()),
        *((path, partial(_get, lab, path, folder / path.strip("/").replace("/", "-"))) for path in LAB_FOLDERS),
    ]
    for name, ask in asked:
        try:
            ask()
        except (NoAnswer, TimeoutError) as problem:
            yield f"{name}: {problem}"
            return
        except (AssertionError, OSError, subprocess.SubprocessError) as problem:
            yield f"{name}: {problem}"


def _save(lab: Lab, script: str, file: Path) -> None:
    done = lab.run("sh", "-c", script, check=False, timeout_s=COMMAND_S)
    file.write_text(done.stdout + done.stderr)


def _get(lab: Lab, path: str, folder: Path) -> None:
    if lab.run("test", "-d", path, check=False).status == 0:
        lab.get(path, folder)


def _special_files(folder: str, names: list[str]) -> list[str]:
    """Sockets and fifos, which cannot be copied."""
    paths = [(name, Path(folder, name)) for name in names]
    return [name for name, path in paths if not (path.is_symlink() or path.is_file() or path.is_dir())]
