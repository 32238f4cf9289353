"""The floor: a script that spawns the very same command line, speaks QMP, pins, reads back and continues. No qsup in it.

It opens what the command line refers to (sockets, taps, logs, firmware) as plainly as can be, and does nothing else: no
record, no confinement, no check.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x2, 0x1000, 0x4000, 0x100
SIOCSIFFLAGS, SIOCBRADDIF, IFF_UP = 0x8914, 0x89A2, 0x1
FD_TOKEN = re.compile(r"@fd:([A-Za-z0-9_.-]+)@")


class BareVm:
    """One QEMU started by hand."""

    def __init__(self, options: Sequence[Mapping[str, Any]], record: Mapping[str, Any], directory: Path) -> None:
        self._options = options
        self._record = record
        self._directory = directory
        self._fds: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._monitor: socket.socket | None = None

    def start(self) -> float:
        """Seconds from nothing to running, pinned and read back."""
        began_s = time.perf_counter()
        words = [self._record["argv"][0]]
        for option in self._options:
            words.append(option["flag"])
            if option["value"] is not None:
                text = option["value"]
                words.append(text if option["literal"] else FD_TOKEN.sub(lambda match: str(self._fd(match[1])), text))
        with (self._directory / "stderr.log").open("ab") as stderr:
            self._process = subprocess.Popen(words, pass_fds=tuple(self._fds.values()), stdout=stderr, stderr=stderr)
        for number in self._fds.values():
            os.close(number)
        self._fds.clear()
        self._monitor = socket.socket(socket.AF_UNIX)
        self._monitor.connect(str(self._directory / "qmp"))
        replies = self._monitor.makefile("rb")
        json.loads(replies.readline())
        self._ask(replies, "qmp_capabilities")
        plan = self._record["plan"]
        for vcpu in self._ask(replies, "query-cpus-fast"):
            mask = set(plan["vcpus"][vcpu["cpu-index"]]["pin"])
            os.sched_setaffinity(vcpu["thread-id"], mask)
            assert os.sched_getaffinity(vcpu["thread-id"]) == mask
        for task in os.listdir(f"/proc/{self._process.pid}/task"):
            os.sched_getaffinity(int(task))
        self._ask(replies, "cont")
        return time.perf_counter() - began_s

    def end(self) -> None:
        """Kill it; its tap goes with it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        if self._monitor is not None:
            self._monitor.close()

    def _ask(self, replies: Any, command: str) -> Any:
        assert self._monitor is not None
        self._monitor.sendall(json.dumps({"execute": command}).encode() + b"\n")
        while True:
            reply = json.loads(replies.readline())
            if "return" in reply:
                return reply["return"]
            assert "error" not in reply, reply

    def _fd(self, name: str) -> int:
        if name not in self._fds:
            self._fds[name] = self._open(name)
        return self._fds[name]

    def _open(self, name: str) -> int:
        if name in ("qmp", "telemetry", "console"):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self._directory / name))
            listener.listen(1)
            return listener.detach()
        if name == "bios":
            return os.open(self._record["plan"]["boot"]["bios"], os.O_RDONLY)
        if ".tap" in name:
            return self._open_tap(self._record["plan"]["nics"][0])
        return os.open(self._directory / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def _open_tap(self, nic: Mapping[str, Any]) -> int:
        tap = os.open("/dev/net/tun", os.O_RDWR)
        name = nic["tap"].encode()
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            index = socket.if_nametoindex(nic["tap"])
            fcntl.ioctl(control, SIOCBRADDIF, struct.pack("16si20x", nic["bridge"].encode(), index))
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name, IFF_UP))
        return tap
