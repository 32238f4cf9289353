"""How an operator knows a thread that ran: a VM's own role, a systemd service, a kernel thread, or a process with its id."""

from __future__ import annotations

import re
from collections.abc import Mapping

_HELPER = re.compile(r"(vhost|kvm-pit|kvm-nx-lpage-re\w*)[-/]([0-9]+)", re.ASCII)
_KWORKER = re.compile(r"kworker/([^:]+):[0-9]+([HIR]?)(?:[-+](.+))?", re.ASCII)
_VCPU = re.compile(r"CPU ([0-9]+)/", re.ASCII)


def name_in_vm(vm: str, role: str) -> str:
    """ "web3 vCPU 2", "web1 vhost", "web1 iothread io-disk0"."""
    return f"{vm} {role.replace('vcpu ', 'vCPU ', 1)}"


def role_by_name(comm: str) -> tuple[str, str]:
    """(thread class, role) of a QEMU thread by its name alone, for a QEMU whose monitor has not told its thread ids."""
    vcpu = _VCPU.match(comm)
    if vcpu:
        return "vcpu", f"vcpu {vcpu[1]}"
    if comm.startswith("vhost-"):
        return "vhost", "vhost"
    return "emulator", "emulator"


def name_of_kernel_thread(comm: str, vms_by_pid: Mapping[int, str]) -> str:
    """ "web1 kvm-pit" for a helper of a VM, "kworker/1 events" without the worker's own number, else the name itself."""
    helper = _HELPER.fullmatch(comm)
    if helper and int(helper[2]) in vms_by_pid:
        return f"{vms_by_pid[int(helper[2])]} {helper[1]}"
    worker = _KWORKER.fullmatch(comm)
    if worker:
        return f"kworker/{worker[1]}{worker[2]} {worker[3] or ''}".rstrip()
    return comm


def name_of_process(comm: str, pid: int, cgroup_text: str) -> str:
    """The systemd service that it belongs to, else its name with its id ("stress[4711]").

    Args:
        cgroup_text: its /proc/PID/cgroup; "" where it could not be read.
    """
    service = _service_in(cgroup_text)
    return service or f"{comm}[{pid}]"


def _service_in(cgroup_text: str) -> str | None:
    for line in cgroup_text.splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers not in ("", "name=systemd"):
            continue
        units = [part for part in path.split("/") if part.endswith(".service") and not part.startswith("user@")]
        if units:
            return units[-1]
    return None
