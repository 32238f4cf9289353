"""Opens vhost-net: the kernel's backend for virtio networks."""

from __future__ import annotations

import errno
import os

from qsup.errors import KernelRefused

VHOST_PATH = "/dev/vhost-net"


def open_vhost(count: int) -> tuple[int, ...]:
    """Opens /dev/vhost-net `count` times: one descriptor a queue (close-on-exec); the caller owns them.

    Raises:
        KernelRefused: host.vhost-missing, host.vhost-refused.

    Touches:
        /dev/vhost-net.
    """
    fds: list[int] = []
    try:
        for _ in range(count):
            fds.append(os.open(VHOST_PATH, os.O_RDWR | os.O_CLOEXEC))  # noqa: PERF401 (what was opened must be closed on error)
    except OSError as error:
        for fd in fds:
            os.close(fd)
        number = error.errno or errno.EIO
        missing = number in (errno.ENOENT, errno.ENODEV, errno.ENXIO)
        code = "host.vhost-missing" if missing else "host.vhost-refused"
        hint = f"{'load the vhost_net module' if missing else 'run the daemon as root'}, or write vhost = false"
        raise KernelRefused(code, VHOST_PATH, number, f"{VHOST_PATH} cannot be opened: {error.strerror}", hint) from None
    return tuple(fds)
