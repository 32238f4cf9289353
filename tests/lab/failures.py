"""What a failed test leaves behind: consoles, journals, command lines and qsup's own folders, in one place."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

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
    "qemu-command-lines.txt": (
        "for pid in $(pidof qemu-system-x86_64); do"
        " echo \"# $pid\"; tr '\\0' '\\n' </proc/$pid/cmdline; grep Cpus_allowed_list /proc/$pid/task/*/status; done"
    ),
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
    """Fill a folder with what can be had from a lab, alive or dead."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in HOST_FILES:
        with suppress(OSError):
            shutil.copy(lab.frame.folder / name, folder / name)
    try:
        _collect_inside(lab, folder)
    except (NoAnswer, TimeoutError) as problem:
        (folder / "no-answer.txt").write_text(f"{problem}\n")


def _collect_inside(lab: Lab, folder: Path) -> None:
    # a lab that does not answer is asked once, briefly
    lab.answers_within(ANSWER_S)
    for name, script in COMMANDS.items():
        done = lab.run("sh", "-c", script, check=False, timeout_s=COMMAND_S)
        (folder / name).write_text(done.stdout + done.stderr)
    for path in LAB_FOLDERS:
        if lab.run("test", "-d", path, check=False).status == 0:
            lab.get(path, folder / path.strip("/").replace("/", "-"))
