"""Access to /dev/kvm for a VM's own user. QEMU opens the device itself: it has no way to take it as a descriptor.

Strategy: where the device's group has the right (the usual `kvm` group), QEMU gets that group; else the device gets an ACL
entry for the VM's uid, taken away at its release. An ACL is read, changed and written: a lock on the device keeps two starts
apart, also those of two daemons.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from qsup.process.posix_acl import (
    OTHER,
    OWNING_GROUP,
    READ_WRITE,
    USER,
    read_acl,
    rights_of,
    with_user,
    without_user,
    write_acl,
)
from qsup.process.refusals import refusing

KVM_DEVICE = "/dev/kvm"
_acl_lock = threading.Lock()


@contextmanager
def _acl_turn(device: str) -> Iterator[None]:
    """Nobody else's change comes between reading and writing the ACL."""
    with _acl_lock:
        fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def grant_kvm(uid: int, device: str = KVM_DEVICE) -> tuple[int, ...]:
    """Let this user open the device.

    Returns:
        The supplementary groups that its QEMU needs: the device's group, or none.

    Raises:
        KernelRefused: process.kvm-refused.

    Touches: the mode and the ACL of /dev/kvm.
    """
    with refusing("process.kvm-refused", device, f"let uid {uid} use"), _acl_turn(device):
        acl, gid = read_acl(device), os.stat(device).st_gid
        if rights_of(acl, OTHER) & READ_WRITE == READ_WRITE:
            return ()
        if gid != 0 and rights_of(acl, OWNING_GROUP) & READ_WRITE == READ_WRITE:
            return (gid,)
        write_acl(device, with_user(acl, uid, READ_WRITE))
        return ()


def revoke_kvm(uid: int, device: str = KVM_DEVICE) -> None:
    """Take the user's ACL entry away again; nothing happens where there is none.

    Raises:
        KernelRefused: process.kvm-refused.

    Touches: the ACL of /dev/kvm.
    """
    if not os.path.exists(device):
        return
    with refusing("process.kvm-refused", device, f"take from uid {uid} the right to use"), _acl_turn(device):
        acl = read_acl(device)
        if any(entry.tag == USER and entry.who == uid for entry in acl):
            write_acl(device, without_user(acl, uid))
