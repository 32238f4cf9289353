"""read_host_facts: everything that the planner must know of this machine, in one look. Start reading here.

Strategy: nothing raises; each part states what it could not find. `root` stands in front of /sys, /proc, /dev and the firmware,
so that a recorded machine can be planned for; images and files are what a VM's file names, and are read where it says.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable

from qsup.host.bridges import read_bridges
from qsup.host.images import read_image_facts
from qsup.host.pages import base_page_bytes
from qsup.host.rights import (
    CAP_NET_ADMIN,
    CAP_SETGID,
    CAP_SETUID,
    read_capabilities,
    read_kvm_problem,
    read_may_bind_memory,
    read_may_grow_pools,
    read_vhost_net,
)
from qsup.host.sysfs import NET_DIR, exists, list_dir, read_text
from qsup.host.topology import read_nodes, read_pcpus
from qsup.plan.host_facts import FileFacts, HostFacts, ImageFacts

OLDEST_KERNEL = (6, 1)
# Code and variables must be of the same build. 4 MiB builds first: distributions drop the 2 MiB ones.
UEFI_PAIRS = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),  # Debian, Ubuntu
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),  # Arch
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),  # Fedora
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),  # Debian up to 12, and links of Fedora
    ("/usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd"),  # Arch before 2024
)
_KERNEL = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})", re.ASCII)
_VENDOR = re.compile(r"^vendor_id\s*:\s*([0-9A-Za-z]{1,12})\s*$", re.ASCII | re.MULTILINE)


def read_host_facts(
    *,
    bridges: Iterable[str] = (),
    images: Iterable[tuple[str, str]] = (),
    files: Iterable[str] = (),
    root: str = "/",
) -> HostFacts:
    """Reads the machine. Blocks on slow storage: call it in a worker thread.

    Args:
        bridges: names of bridges that VMs ask for.
        images: (path, format) of each disk; all files below them are read too.
        files: paths that VMs name (kernel, initrd, bios).

    Touches:
        /sys, /proc, /dev/kvm, /dev/vhost-net, the firmware's directories, and the images and files.
    """
    capabilities = read_capabilities(root)
    uefi_code, uefi_vars = read_uefi(root) or (None, None)
    links = frozenset(list_dir(root, NET_DIR))  # before the bridges: one that is made meanwhile is no link of another kind
    return HostFacts(
        pcpus=read_pcpus(root),
        nodes=read_nodes(root),
        bridges=read_bridges(bridges, root),
        images=_read_images(images),
        files={path: read_file_facts(path) for path in dict.fromkeys(files)},
        kvm_problem=read_kvm_problem(root),
        vhost_net=read_vhost_net(root),
        kernel=read_kernel(root),
        page_size_bytes=base_page_bytes(),
        uefi_code=uefi_code,
        uefi_vars=uefi_vars,
        may_network=CAP_NET_ADMIN in capabilities,
        may_grow_pools=read_may_grow_pools(root),
        may_change_uid={CAP_SETUID, CAP_SETGID} <= capabilities,
        links=links,
        may_bind_memory=read_may_bind_memory(root),
        cpu_vendor=read_cpu_vendor(root),
    )


def _read_images(images: Iterable[tuple[str, str]]) -> dict[str, ImageFacts]:
    """All files of all chains, keyed by path; where two chains share a file, the entry of the first stands."""
    found: dict[str, ImageFacts] = {}
    tops: dict[str, ImageFacts] = {}
    for path, image_format in dict.fromkeys(images):
        chain = read_image_facts(path, image_format)
        tops.setdefault(path, chain[0])
        for facts in chain[1:]:
            found.setdefault(facts.path, facts)
    return {**found, **tops}


def read_kernel(root: str = "/") -> tuple[int, int]:
    """(major, minor) of the running kernel; (6, 1) where it does not tell. Touches: /proc/sys/kernel/osrelease."""
    match = _KERNEL.match(read_text(root, "/proc/sys/kernel/osrelease") or "")
    return (int(match[1]), int(match[2])) if match else OLDEST_KERNEL


def read_cpu_vendor(root: str = "/") -> str:
    """The processor's maker as it names itself; empty where the kernel does not tell. Touches: /proc/cpuinfo."""
    match = _VENDOR.search(read_text(root, "/proc/cpuinfo") or "")
    return match[1] if match else ""


def read_uefi(root: str = "/") -> tuple[str, str] | None:
    """The (code, variables) pair of the first UEFI firmware found, or None."""
    return next((pair for pair in UEFI_PAIRS if all(exists(root, path) for path in pair)), None)


def read_file_facts(path: str) -> FileFacts:
    """Whether a file that a plan names can be used. Touches: stat, access."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        reason = error.strerror if isinstance(error, OSError) else "the name holds a NUL byte"
        return FileFacts(path, f"{path} does not exist" if missing else f"{path} cannot be opened: {reason}", False)
    if not stat.S_ISREG(mode):
        return FileFacts(path, f"{path} is not a regular file", False)
    if not os.access(path, os.R_OK, effective_ids=True):
        return FileFacts(path, f"{path} may not be read by uid {os.geteuid()}", False)
    return FileFacts(path, None, bool(mode & stat.S_IROTH) and _is_reachable(path))


def _is_reachable(path: str) -> bool:
    """Whether every user may walk to the file: all directories above it are searchable by others."""
    directory = os.path.dirname(os.path.realpath(path))
    while True:
        if not os.stat(directory).st_mode & stat.S_IXOTH:
            return False
        if directory == "/":
            return True
        directory = os.path.dirname(directory)
