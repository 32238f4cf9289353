"""Opens taps. A tap lives as long as one of its file descriptors: it is never made persistent, so that the kernel removes it
with the QEMU that holds it. Source: Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from qsup.errors import KernelRefused

TUN_PATH = "/dev/net/tun"
NAME_LIMIT = 15
_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_MULTI_QUEUE = 0x0100
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_IFF_TUN_EXCL = 0x8000


def open_tap(name: str, queues: int) -> tuple[int, ...]:
    """Creates a tap and opens all its queues.

    Returns:
        tuple of file descriptors (close-on-exec), one a queue; the caller owns them. The link is down and on no bridge:
        see `attach_tap`.

    Raises:
        KernelRefused: host.tap-name, host.tun-missing, host.tap-denied, host.tap-busy, host.tap-refused.

    Touches:
        /dev/net/tun.
    """
    if not 1 <= len(name.encode()) <= NAME_LIMIT:
        message = f"{name!r} cannot name a tap: 1 to {NAME_LIMIT} bytes are accepted"
        raise KernelRefused("host.tap-name", TUN_PATH, errno.EINVAL, message)
    # IFF_MULTI_QUEUE only where needed: bringing a multi-queue tap up costs ten times as much.
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | (_IFF_MULTI_QUEUE if queues > 1 else 0)
    fds: list[int] = []
    try:
        for queue in range(queues):
            fds.append(os.open(TUN_PATH, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
            # Without IFF_TUN_EXCL the first queue would join a foreign multi-queue tap of this name.
            request = struct.pack("16sH22x", name.encode(), flags | (0 if queue else _IFF_TUN_EXCL))
            fcntl.ioctl(fds[-1], _TUNSETIFF, request)
    except OSError as error:
        for fd in fds:
            os.close(fd)
        raise _refused(name, error.errno or errno.EIO) from None
    return tuple(fds)


def _refused(name: str, number: int) -> KernelRefused:
    reason = os.strerror(number)
    code, message, hint = {
        errno.ENOENT: ("host.tun-missing", f"{TUN_PATH} does not exist", "load the tun module"),
        errno.ENODEV: ("host.tun-missing", f"{TUN_PATH} has no driver behind it", "load the tun module"),
        errno.EPERM: ("host.tap-denied", f"tap {name} may not be created: {reason}", "run the daemon with CAP_NET_ADMIN"),
        errno.EACCES: ("host.tap-denied", f"{TUN_PATH} may not be opened: {reason}", "run the daemon as root"),
        errno.EBUSY: ("host.tap-busy", f"a link called {name} exists already", f"see who holds it: ip -d link show {name}"),
    }.get(number, ("host.tap-refused", f"the kernel refused tap {name}: {reason}", None))
    return KernelRefused(code, TUN_PATH, number, message, hint)
