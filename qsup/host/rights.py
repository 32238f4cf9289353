"""What this process may do on this host: KVM, vhost, capabilities. Asked by trying, where trying changes nothing.

On a recorded tree (`root` is not "/") the devices are empty files: their being there means that they could be opened.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import stat

from qsup.host.pools import GLOBAL_DIR
from qsup.host.sysfs import NODE_DIR, is_dir, list_dir, read_text, rooted

KVM_PATH = "/dev/kvm"
VHOST_NET_PATH = "/dev/vhost-net"
CAP_SETGID, CAP_SETUID, CAP_NET_ADMIN = 6, 7, 12
_KVM_GET_API_VERSION = 0xAE00
_KVM_API_VERSION = 12
_MBIND = {"x86_64": 237, "aarch64": 235, "riscv64": 235}
_CAP_EFF = re.compile(r"^CapEff:\s*([0-9a-fA-F]{1,16})$", re.ASCII | re.MULTILINE)


def read_kvm_problem(root: str = "/") -> str | None:
    """A sentence that says why KVM cannot be used, or None.

    Touches:
        /dev/kvm, ioctl KVM_GET_API_VERSION.
    """
    try:
        fd = os.open(rooted(root, KVM_PATH), os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return _kvm_sentence(error.errno or errno.EIO)
    try:
        if root != "/" and stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        version = fcntl.ioctl(fd, _KVM_GET_API_VERSION)
    except OSError as error:
        return f"{KVM_PATH} is not the KVM device: {error.strerror}"
    finally:
        os.close(fd)
    return None if version == _KVM_API_VERSION else f"{KVM_PATH} speaks API version {version}; {_KVM_API_VERSION} is needed"


def _kvm_sentence(number: int) -> str:
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"{KVM_PATH} is missing: load kvm_intel or kvm_amd, and enable virtualization in the firmware"
    if number in (errno.EACCES, errno.EPERM):
        return f"{KVM_PATH} may not be opened by uid {os.geteuid()}: run as root or join the group that owns it"
    return f"{KVM_PATH} cannot be opened: {os.strerror(number)}"


def read_vhost_net(root: str = "/") -> bool:
    """Whether vhost-net can be used. Touches: /dev/vhost-net."""
    try:
        os.close(os.open(rooted(root, VHOST_NET_PATH), os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def read_capabilities(root: str = "/") -> frozenset[int]:
    """The numbers of this process' effective capabilities. Touches: /proc/self/status."""
    match = _CAP_EFF.search(read_text(root, "/proc/self/status") or "")
    mask = int(match[1], 16) if match else 0
    return frozenset(bit for bit in range(64) if mask >> bit & 1)


def read_may_grow_pools(root: str = "/") -> bool:
    """Whether some hugepage pool can be resized: the file's mode, our capabilities and a read-only /sys all count.

    Touches:
        access of nr_hugepages.
    """
    parents = [f"{NODE_DIR}/{name}/hugepages" for name in list_dir(root, NODE_DIR) if name.startswith("node")]
    paths = (f"{parent}/{name}/nr_hugepages" for parent in [*parents, GLOBAL_DIR] for name in list_dir(root, parent))
    return any(os.access(rooted(root, path), os.W_OK, effective_ids=True) for path in paths)


def read_may_bind_memory(root: str = "/") -> bool:
    """Whether memory can be bound to nodes: the kernel has NUMA, and no seccomp filter (a container's) forbids mbind.

    Touches:
        mbind of an empty range, which does nothing where it is allowed.
    """
    if not is_dir(root, NODE_DIR):
        return False
    number = _MBIND.get(os.uname().machine)
    return root != "/" or number is None or ctypes.CDLL(None).syscall(number, 0, 0, 0, 0, 0, 0) == 0
