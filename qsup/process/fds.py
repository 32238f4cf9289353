"""The descriptors that QEMU gets instead of rights: sockets, images, firmware, logs, taps.

All are close-on-exec here; the spawn passes them on under the same number. The daemon's copies are closed right after it:
with a listening socket still open here, connecting to a dead QEMU would succeed and hang.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from qsup.argv.option import Argv, FdNeed
from qsup.errors import KernelRefused
from qsup.process.refusals import refusing

LONGEST_SOCKET_PATH_BYTES = 107
_BACKLOG = 16
_COPY_BYTES = 1 << 20


class FdBundle:
    """Descriptors by the names that argv gave them. Owns them: leaving the block closes this process' copies."""

    def __init__(self) -> None:
        """An empty bundle."""
        self.numbers: dict[str, int] = {}

    def __enter__(self) -> FdBundle:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def fds(self) -> tuple[int, ...]:
        """The numbers to pass on."""
        return tuple(self.numbers.values())

    def close(self) -> None:
        """Close this process' copies; a second call does nothing."""
        while self.numbers:
            os.close(self.numbers.popitem()[1])


def open_fds(argv: Argv, *, taps: Mapping[str, Sequence[int]], vhosts: Mapping[str, Sequence[int]]) -> FdBundle:
    """Open all that the command line needs.

    Args:
        taps: nic_id → one descriptor a queue. They are duplicated: the caller keeps its own and closes them.
        vhosts: the same for /dev/vhost-net.

    Raises:
        KernelRefused: process.socket-refused, process.socket-path-too-long, process.image-refused, process.blob-refused,
            process.log-refused, process.queue-refused, process.disk-full. Everything opened so far is closed then.

    Touches: the paths of the needs; stale sockets are removed.
    """
    bundle = FdBundle()
    openers: Mapping[str, Callable[[FdNeed], int]] = {
        "listen": lambda need: open_listener(need.path),
        "image": lambda need: open_image(need.path, readonly=need.readonly, direct=need.direct),
        "blob": lambda need: open_blob(need.path),
        "log": lambda need: open_log(need.path),
        "tap": lambda need: _duplicate(taps, need),
        "vhost": lambda need: _duplicate(vhosts, need),
    }
    try:
        for need in argv.fds:
            bundle.numbers[need.name] = openers[need.kind](need)
    except BaseException:
        bundle.close()
        raise
    return bundle


def open_listener(path: str) -> int:
    """A Unix stream socket, bound (mode 0600) and listening; a stale socket at the path is removed.

    Raises:
        KernelRefused: process.socket-path-too-long, process.socket-refused.
    """
    length = len(os.fsencode(path))
    if length > LONGEST_SOCKET_PATH_BYTES:
        message = f"the socket path {path} has {length} bytes; at most {LONGEST_SOCKET_PATH_BYTES} are accepted"
        hint = "choose a shorter run directory or VM name"
        raise KernelRefused("process.socket-path-too-long", path, errno.ENAMETOOLONG, message, hint)
    with refusing("process.socket-refused", path, "listen on"):
        _remove_stale_socket(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
            # Linux gives the new name the mode of the socket's own inode: there is no moment with a wider one.
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(path)
            listener.listen(_BACKLOG)
            return listener.detach()


def _remove_stale_socket(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    os.unlink(path)


def open_image(path: str, *, readonly: bool, direct: bool = False) -> int:
    """A disk image or block device, opened read-only or read-write, past the page cache where `direct`.

    Raises:
        KernelRefused: process.image-refused; process.no-direct, where its file system does not offer O_DIRECT.
    """
    flags = os.O_RDONLY if readonly else os.O_RDWR
    fd = _open_data(path, flags, "process.image-refused", "open the image" if readonly else "open for writing the image")
    try:
        if direct:
            _bypass_page_cache(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _bypass_page_cache(fd: int, path: str) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_DIRECT)
    except OSError as error:
        message = f"the file system of {path} does not offer direct I/O, which the disk's cache mode needs"
        hint = 'set cache = "writeback" for this disk, or move the image'
        raise KernelRefused("process.no-direct", path, error.errno or errno.EINVAL, message, hint) from error


def _open_data(path: str, flags: int, code: str, deed: str) -> int:
    with refusing(code, path, deed):
        # Non-blocking, so that a FIFO at this path cannot hold the daemon up.
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        os.set_blocking(fd, True)
        return fd
    os.close(fd)
    message = f"could not {deed} {path}: only regular files and block devices are accepted"
    raise KernelRefused(code, path, errno.EINVAL, message, "name a file or a block device")


def open_blob(path: str) -> int:
    """A file that QEMU loads once by reopening /proc/self/fd/N.

    Reopening asks for the rights of QEMU's own user: what not everybody may read is copied to a sealed memfd.

    Raises:
        KernelRefused: process.blob-refused.
    """
    fd = _open_data(path, os.O_RDONLY, "process.blob-refused", "read")
    if os.fstat(fd).st_mode & stat.S_IROTH:
        return fd
    try:
        with refusing("process.blob-refused", path, "copy into memory"):
            return _sealed_copy(fd, os.path.basename(path))
    finally:
        os.close(fd)


def _sealed_copy(source_fd: int, name: str) -> int:
    fd = os.memfd_create(name[:200], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        while os.sendfile(fd, source_fd, None, _COPY_BYTES):
            pass
        os.lseek(fd, 0, os.SEEK_SET)
        os.fchmod(fd, 0o444)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_log(path: str) -> int:
    """A log for appending (mode 0600), made where it does not exist.

    Raises:
        KernelRefused: process.log-refused, process.disk-full.
    """
    with refusing("process.log-refused", path, "open the log"):
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _duplicate(queues: Mapping[str, Sequence[int]], need: FdNeed) -> int:
    with refusing("process.queue-refused", f"{need.kind} {need.path}", f"pass on queue {need.queue} of"):
        return os.dup(queues[need.path][need.queue])
