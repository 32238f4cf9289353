"""A guest in the lab run by plain QEMU, without qsup: shows what the lab itself can do, and what bare QEMU costs there."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from .lab import Lab

KERNEL = "/opt/guest/vmlinux"
INITRAMFS = "/opt/guest/initramfs"
KERNEL_WORDS = "console=ttyS0 quiet mitigations=off nokaslr tsc=reliable no_timer_check panic=-1"
"""What makes a nested guest boot quickly."""
BOOT_S = 180.0
QMP_S = 60.0

_ASK = """
import json, socket, sys, time
path, command, arguments = sys.argv[1:]
for _ in range(600):
    try:
        monitor = socket.socket(socket.AF_UNIX)
        monitor.connect(path)
        break
    except OSError:
        time.sleep(0.05)
stream = monitor.makefile("rwb")
stream.readline()
for line in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": json.loads(arguments)}):
    stream.write(json.dumps(line).encode() + b"\\n")
    stream.flush()
    while "event" in (answer := json.loads(stream.readline())):
        pass
print(json.dumps(answer))
"""


@frozen
class NestedGuest:
    """A guest that runs in a unit of its own; its files lie in /run/lab/NAME."""

    lab: Lab
    name: str

    @classmethod
    def start(cls, lab: Lab, name: str, *qemu: str, words: str = "", machine: str = "q35", cpu: str = "host") -> NestedGuest:
        """Start a guest under KVM; it runs when this returns.

        Args:
            qemu: further words of QEMU's command line (vCPUs, memory, devices).
            words: further words of its kernel command line; guest-init.sh says which it knows.
        """
        guest = cls(lab, name)
        command = [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-name", f"{name},debug-threads=on"),
            *("-machine", f"{machine},accel=kvm", "-cpu", cpu, "-kernel", KERNEL, "-initrd", INITRAMFS),
            *("-append", f"{KERNEL_WORDS} {words}", "-serial", f"file:{guest.console_path}"),
            *("-qmp", f"unix:{guest.folder}/qmp.sock,server=on,wait=off", *qemu),
        ]
        lab.run("mkdir", "-p", guest.folder)
        lab.run("systemd-run", "--quiet", f"--unit={guest.unit}", "--property=LimitMEMLOCK=infinity", "--", *command)
        return guest

    @property
    def folder(self) -> str:
        """Where its console and its monitor are, in the lab."""
        return f"/run/lab/{self.name}"

    @property
    def unit(self) -> str:
        """Its unit in the lab."""
        return f"guest-{self.name}.service"

    @property
    def console_path(self) -> str:
        """The file that takes its serial console."""
        return f"{self.folder}/console.log"

    def pid(self) -> int:
        """Return the process id of its QEMU, in the lab."""
        return int(self.lab.run("systemctl", "show", "--property=MainPID", "--value", self.unit).stdout)

    def wait_for(self, marker: str, timeout_s: float = BOOT_S) -> str:
        """Wait until its console shows a marker; return the console."""
        return self.lab.wait_for_text(self.console_path, marker, timeout_s)

    def ask(self, command: str, **arguments: Any) -> Any:
        """Run a QMP command and return its result."""
        words = ("python3", "-c", _ASK, f"{self.folder}/qmp.sock", command, json.dumps(arguments))
        answer = json.loads(self.lab.run(*words, timeout_s=QMP_S).stdout)
        if "return" not in answer:
            raise AssertionError(f"{self.name}: {command}: {answer}")
        return answer["return"]
