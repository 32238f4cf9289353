"""What this machine can give to the demo's guest, and what it cannot, with the reason."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from attrs import frozen

from qsup.cpuset import format_cpulist
from tests.demo.bridge import Bridge, make_bridge, reason_against_bridge
from tests.demo.guest import Guest
from tests.demo.kvm_probe import Accelerator, accelerator
from tests.demo.screen import say

QEMU = "qemu-system-x86_64"
MEMORY_MIB = 256
POOLS = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
KERNEL_WORDS = "console=ttyS0 quiet panic=-1"
TCG_WORDS = "mitigations=off nokaslr no_timer_check"  # they cost a guest under TCG much of its boot


@frozen
class Offer:
    """The choices for the guest: accelerator, one pCPU per vCPU, hugepages or not, a bridge or none."""

    accelerator: Accelerator
    pcpus: tuple[int, ...]
    hugepages: bool
    bridge: Bridge | None


def made_offer(root: Path) -> Offer:
    """Look at the machine, say what was found, make the bridge."""
    qemu = shutil.which(QEMU)
    if qemu is None:
        raise SystemExit(f"demo: {QEMU} is not installed")
    chosen = accelerator(qemu, root)
    say(f"accelerator   {chosen.name}: {chosen.why}")
    pcpus = tuple(sorted(os.sched_getaffinity(0))[-2:])
    say(f"vCPUs         {len(pcpus)}, to be pinned to pCPU {' and '.join(map(str, pcpus))}, one each")
    against_pages = _reason_against_hugepages()
    say(f"memory        {MEMORY_MIB} MiB on {f'base pages: {against_pages}' if against_pages else 'hugepages of 2 MiB'}")
    against_bridge = reason_against_bridge()
    bridge = None if against_bridge else make_bridge()
    if bridge is None:
        say(f"network       none: {against_bridge}")
    else:
        say(f"network       bridge {bridge.name}, host {bridge.host}, guest {bridge.guest}")
    return Offer(chosen, pcpus, against_pages is None, bridge)


def _reason_against_hugepages() -> str | None:
    if not POOLS.is_dir():
        return "this kernel has no hugepages of 2 MiB"
    if os.geteuid() != 0:
        return "only root may enlarge the pool"
    return None if os.access(POOLS / "nr_hugepages", os.W_OK) else "the pool cannot be written here"


def vm_file(offer: Offer, guest: Guest) -> str:
    """The TOML that is dropped."""
    pins = ", ".join(f'"{format_cpulist({pcpu})}"' for pcpu in offer.pcpus)
    words = f"{KERNEL_WORDS} {TCG_WORDS}" if offer.accelerator.name == "tcg" else KERNEL_WORDS
    if offer.bridge is not None:
        words += f" demo.ip={offer.bridge.guest} demo.host={offer.bridge.host.ip}"
    lines = [
        *("[machine]", f'accel = "{offer.accelerator.name}"', ""),
        *("[cpu]", f"vcpus = {len(offer.pcpus)}", 'placement = "pinned"', f"pin = [{pins}]", ""),
        *("[memory]", f'size = "{MEMORY_MIB}MiB"', *(['hugepages = "2MiB"'] if offer.hugepages else ()), ""),
        *("[boot]", f'kernel = "{guest.kernel}"', f'initrd = "{guest.initramfs}"', f'cmdline = "{words}"'),
        *(("", "[[nic]]", f'bridge = "{offer.bridge.name}"') if offer.bridge else ()),
    ]
    return "\n".join(lines) + "\n"
