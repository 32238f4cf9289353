"""qsup on a lab, as its operator and its doubters see it: files dropped, verbs typed, and what the kernel says about it all.

What qsup claims is read by its own commands (`view`, `vms`); what is true is read by `threads`, `cgroup_of`, `pool`,
`memory_by_node` from /proc and /sys. A test holds the one against the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from .lab import Done, Lab
from .nested import INITRAMFS, KERNEL, KERNEL_WORDS

VMS_DIR = "/etc/qsup/vms.d"
ROM = "/srv/halt.rom"
PHASE_S = 120.0
GUEST_S = 240.0
_HALT_LOOP = bytes.fromhex("faf4ebfd")  # at the reset vector: cli; hlt; jmp to the hlt
_ROM_BYTES = b"\xf4" * 65520 + _HALT_LOOP + bytes(12)
_WAIT = """
import json, socket, sys, time

def seen():
    try:
        with socket.socket(socket.AF_UNIX) as api:
            api.settimeout(30)
            api.connect("/run/qsup/api.sock")
            api.sendall(b"GET /v1/vms HTTP/1.1\\r\\nHost: qsup\\r\\nConnection: close\\r\\n\\r\\n")
            answer = b"".join(iter(lambda: api.recv(65536), b""))
        return {vm["name"]: vm["phase"] for vm in json.loads(answer.partition(b"\\r\\n\\r\\n")[2])["vms"]}
    except (OSError, ValueError, KeyError):
        return None

wanted = dict(word.split("=") for word in sys.argv[1:])
while (phases := seen()) is None or not wanted.items() <= phases.items():
    time.sleep(0.2)
"""
"""Asks the daemon again and again in one process: a command for each look would keep the lab's processors busy."""
_TYPE = """
import socket, sys
path, line, answer = sys.argv[1:]
console = socket.socket(socket.AF_UNIX)
console.connect(path)
console.sendall(line.encode() + b"\\n")
seen = b""
while answer.encode() not in seen:
    data = console.recv(4096)
    assert data, seen
    seen += data
sys.stdout.buffer.write(seen)
"""
_THREADS = 'for t in /proc/"$1"/task/*; do echo "${t##*/} $(grep Cpus_allowed_list $t/status | cut -f2) $(cat $t/comm)"; done'
_KTHREADS = (
    'for p in /proc/[0-9]*; do read -r name <$p/comm || continue; case "$name" in *[-/]"$1")'
    ' echo "${p##*/} $(grep Cpus_allowed_list $p/status | cut -f2) $name";; esac; done'
)
_PAGE_KIB = re.compile(r"\bkernelpagesize_kB=(\d+)")
_NODE_PAGES = re.compile(r"\bN(\d+)=(\d+)")


@frozen
class Thread:
    """One thread as the kernel shows it; `mask` is the kernel's own cpulist."""

    tid: int
    mask: str
    name: str


class QsupHost:
    """A lab with qsup on it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._asked = 0
        lab.write(ROM, _ROM_BYTES)

    # --- the operator

    def start_daemon(self) -> None:
        """Start qsup by systemd, where it does not run."""
        self.lab.run("systemctl", "start", "qsup")

    def stop_daemon(self) -> None:
        """Stop qsup and the unit that shuts guests down: the host is as if they had never been started."""
        self.lab.run("systemctl", "stop", "qsup-guests", "qsup")

    def drop_in(self, text: str) -> None:
        """Add settings to qsup.service; they hold from its next start on."""
        self.lab.write("/etc/systemd/system/qsup.service.d/test.conf", f"[Service]\n{text}\n")
        self.lab.run("systemctl", "daemon-reload")

    def drop(self, name: str, text: str) -> None:
        """Drop the file of a VM."""
        self.lab.write(f"{VMS_DIR}/{name}.toml", text)

    def run(self, name: str, text: str) -> dict[str, Any]:
        """Drop a file and wait until its VM runs; return its view."""
        self.drop(name, text)
        return self.wait_phase(name, "running")

    def remove(self, name: str) -> None:
        """Remove the file of a VM."""
        self.lab.run("rm", f"{VMS_DIR}/{name}.toml")

    def qsup(self, *words: str, check: bool = True) -> Done:
        """Run a qsup command."""
        return self.lab.run("qsup", *words, check=check)

    def vms(self) -> dict[str, dict[str, Any]]:
        """Return `qsup list --json`, by name."""
        return {vm["name"]: vm for vm in json.loads(self.qsup("list", "--json").stdout)}

    def view(self, name: str) -> dict[str, Any]:
        """Return `qsup status NAME --json`."""
        view: dict[str, Any] = json.loads(self.qsup("status", name, "--json", check=False).stdout)
        return view

    def wait_phase(self, name: str, phase: str, timeout_s: float = PHASE_S) -> dict[str, Any]:
        """Wait until a VM is in a phase and return its view."""
        self.wait_phases({name: phase}, timeout_s)
        return self.view(name)

    def wait_phases(self, phases: Mapping[str, str], timeout_s: float = PHASE_S) -> None:
        """Wait until each of some VMs is in its phase."""
        try:
            self._wait(*(f"{name}={phase}" for name, phase in phases.items()), timeout_s=timeout_s)
        except TimeoutError:
            views = json.dumps([self.view(name) for name in phases], indent=1)
            raise AssertionError(f"not so after {timeout_s} s: {phases}:\n{views}") from None

    def _wait(self, *phases: str, timeout_s: float) -> None:
        self.lab.run("/usr/bin/python3", "-S", "-E", "-c", _WAIT, *phases, timeout_s=timeout_s)

    def main_pid(self) -> int:
        """Return the daemon's process; 0 while there is none."""
        return int(self.lab.run("systemctl", "show", "-P", "MainPID", "qsup").stdout)

    def wait_daemon(self) -> None:
        """Wait until the API answers."""
        self._wait(timeout_s=PHASE_S)

    def wait_console(self, name: str, text: str, timeout_s: float = GUEST_S) -> str:
        """Wait until a guest's serial console shows a text and return the console."""
        return self.lab.wait_for_text(f"/run/qsup/vms/{name}/log/serial.log", text, timeout_s)

    def type(self, name: str, line: str, answer: str) -> str:
        """Type a line on a guest's serial console, wait for an answer, which the line must not hold; return all that came."""
        path = f"/run/qsup/vms/{name}/console.sock"
        return self.lab.run("/usr/bin/python3", "-S", "-E", "-c", _TYPE, path, line, answer, timeout_s=GUEST_S).stdout

    def ask(self, name: str, command: str) -> str:
        """Run a command in the shell on a guest's console and return what it printed."""
        self._asked += 1
        begin, end = f"ASKED-{self._asked}\r\n", f"ANSWERED-{self._asked}\r\n"
        line = f'echo ASK""ED-{self._asked}; {command}; echo ANSW""ERED-{self._asked}'
        return self.type(name, line, end).partition(begin)[2].partition(end)[0].replace("\r\n", "\n").strip()

    def journal(self) -> str:
        """Return what qsup and systemd said about qsup since the lab's boot."""
        return self.lab.journal("-b", "-o", "cat", "-u", "qsup")

    def events(self, name: str, boot: str = "all") -> list[tuple[str, str]]:
        """Return the (code, message) of a VM's events in the journal, by its own fields, oldest first; of all boots or one."""
        words = ("journalctl", "--no-pager", "-o", "json", "-u", "qsup", "-b", boot.replace("-", ""), f"QSUP_VM={name}")
        entries = map(json.loads, self.lab.run(*words).stdout.splitlines())
        return [(entry["QSUP_CODE"], entry["MESSAGE"]) for entry in entries]

    # --- the doubter

    def pid(self, name: str) -> int:
        """Return the process that is the VM's QEMU, found by its own command line."""
        (pid,) = self.pids(name)
        return pid

    def pids(self, name: str) -> list[int]:
        """Return all QEMU processes of that VM."""
        done = self.lab.run("pgrep", "-f", f"^[^ ]*qemu-system-x86_64 -name guest={name},", check=False)
        return [int(word) for word in done.stdout.split()]

    def identity(self, name: str) -> tuple[int, int]:
        """Return (pid, start time): the same process only if both are the same."""
        pid = self.pid(name)
        return pid, int(self.lab.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19])

    def threads(self, name: str) -> dict[int, Thread]:
        """Return all threads of a VM's QEMU, by thread id."""
        return self._threads(_THREADS, self.pid(name))

    def vhost_kthreads(self, name: str) -> dict[int, Thread]:
        """Return the vhost workers of a VM that are processes (kernel threads, before Linux 6.4), by thread id."""
        return {tid: thread for tid, thread in self.kernel_threads(name).items() if thread.name.startswith("vhost-")}

    def kernel_threads(self, name: str) -> dict[int, Thread]:
        """Return the processes that are kernel threads for a VM: their names end in its QEMU's process id."""
        return self._threads(_KTHREADS, self.pid(name))

    def all_threads(self, name: str) -> dict[int, Thread]:
        """Return every thread that works for a VM, those of QEMU and those of the kernel, by thread id."""
        return {**self.threads(name), **self.kernel_threads(name)}

    def masks(self, name: str) -> dict[tuple[int, str], str]:
        """Return the mask of every thread of a VM that lives as long as it does, by (thread id, name)."""
        threads = {**self.threads(name), **self.vhost_kthreads(name)}
        return {(thread.tid, thread.name): thread.mask for thread in threads.values() if thread.name != "worker"}

    def vcpu_masks(self, name: str) -> list[str]:
        """Return the masks of the vCPU threads, position = vCPU, found by the names that QEMU gives them."""
        found = {thread.name: thread.mask for thread in self.threads(name).values() if thread.name.endswith("/KVM")}
        return [found[f"CPU {index}/KVM"] for index in range(len(found))]

    def cgroup_of(self, pid: int) -> str:
        """Return the path of a process in the cgroup hierarchy."""
        return self.lab.read(f"/proc/{pid}/cgroup").strip().removeprefix("0::")

    def memory_charged(self, cgroup: str, key: str = "current") -> int:
        """Return memory.current, memory.peak … of a cgroup, in bytes."""
        return int(self.lab.read(f"/sys/fs/cgroup{cgroup}/memory.{key}"))

    def bound_memory(self, name: str) -> list[str]:
        """Return the lines of numa_maps about memory with a policy of its own: QEMU gives one to guest memory alone."""
        lines = self.lab.read(f"/proc/{self.pid(name)}/numa_maps").splitlines()
        return [line for line in lines if line.split()[1] != "default"]

    def memory_by_node(self, name: str) -> dict[int, int]:
        """Return the bytes of guest memory that lie on each host node."""
        found: dict[int, int] = {}
        for line in self.bound_memory(name):
            for node, pages in _NODE_PAGES.findall(line):
                # a line without page size is memory that nobody has touched yet
                found[int(node)] = found.get(int(node), 0) + int(pages) * int(_PAGE_KIB.findall(line)[0]) * 1024
        return found

    def pool(self, node: int, kib: int, key: str = "free") -> int:
        """Return a counter ("free", "nr", "surplus") of a host node's hugepage pool."""
        return int(self.lab.read(f"/sys/devices/system/node/node{node}/hugepages/hugepages-{kib}kB/{key}_hugepages"))

    def taps(self) -> list[str]:
        """Return the names of all tap devices of the host."""
        links = json.loads(self.lab.run("ip", "-json", "-details", "link").stdout)
        return sorted(link["ifname"] for link in links if link.get("linkinfo", {}).get("info_kind") == "tun")

    def siblings(self, pcpu: str) -> str:
        """Return the pCPUs of one core, as the kernel lists them."""
        return self.lab.read(f"/sys/devices/system/cpu/cpu{pcpu}/topology/thread_siblings_list").strip()

    def _threads(self, script: str, pid: int) -> dict[int, Thread]:
        found = {}
        for line in self.lab.run("sh", "-c", script, "sh", str(pid)).stdout.splitlines():
            tid, mask, name = line.split(" ", 2)
            if mask and name:  # it has not ended meanwhile
                found[int(tid)] = Thread(int(tid), mask, name)
        return found


def halting(cpu: str = "vcpus = 1", memory: str = 'size = "64MiB"', more: str = "", vm: str = "grace_period_s = 1") -> str:
    """Return the file of a VM whose guest halts at its first instruction: it costs nothing and obeys nothing."""
    return f'[vm]\n{vm}\n[cpu]\n{cpu}\n[memory]\n{memory}\n[boot]\nbios = "{ROM}"\n{more}\n'


def linux(
    words: str = "",
    cpu: str = "vcpus = 1",
    memory: str = 'size = "160MiB"',
    more: str = "",
    vm: str = "grace_period_s = 120",
    initrd: str = INITRAMFS,
) -> str:
    """Return the file of a VM that runs Linux; `words` are those of guest-init.sh."""
    boot = f'kernel = "{KERNEL}"\ninitrd = "{initrd}"\ncmdline = "{KERNEL_WORDS} {words}"'
    return f"[vm]\n{vm}\n[cpu]\n{cpu}\n[memory]\n{memory}\n[boot]\n{boot}\n{more}\n"
