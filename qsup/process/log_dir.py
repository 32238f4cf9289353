"""The log directory of one VM: a serial log and QEMU's stderr, bounded together.

Strategy: where the daemon is root, the directory is a tmpfs of exactly the allowed size. QEMU appends to files in it, gets
ENOSPC when it is full, and goes on: the bound holds with no daemon at all. While a daemon lives it keeps the logs short, so
that the newest part is what is kept. QEMU's last words must not find the directory full of the guest's chatter: their room is
allocated in advance. An ordinary user has a plain directory, bounded only while the daemon runs.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress

from qsup.process.mounts import MNT_DETACH, mount_tmpfs, reserve, unmount
from qsup.process.refusals import refusing

SERIAL_LOG = "serial.log"
STDERR_LOG = "stderr.log"
_OLD = ".1"
_FILES = 4  # both logs, each with one older part
_RESERVED_BYTES = 16 << 10


def open_log_dir(log_dir: str, log_bytes: int) -> bool:
    """Make the log directory; of an earlier run's logs the newest part is set aside as `.1`.

    Returns:
        True where the bound holds without a daemon.

    Raises:
        KernelRefused: process.log-dir-refused, process.disk-full.

    Touches: the directory, mount(2).
    """
    with refusing("process.log-dir-refused", log_dir, "make the log directory"):
        os.makedirs(log_dir, 0o700, exist_ok=True)
        bounded = _mount(log_dir, log_bytes)
        for name in (SERIAL_LOG, STDERR_LOG):
            with suppress(FileNotFoundError):
                _set_aside(os.path.join(log_dir, name), log_bytes // _FILES)
        if bounded:
            _reserve_last_words(log_dir)
    return bounded


def _mount(log_dir: str, log_bytes: int) -> bool:
    if os.geteuid() != 0:
        return False
    options = f"size={log_bytes},nr_inodes=16,mode=0700"
    try:
        if os.path.ismount(log_dir):
            _remount(log_dir, options)
        else:
            mount_tmpfs(log_dir, options)
    except OSError as error:
        if error.errno == errno.EPERM:  # root of a container, without the right to mount
            return False
        raise
    return True


def _remount(log_dir: str, options: str) -> None:
    try:
        mount_tmpfs(log_dir, options, remount=True)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # It holds more than the new size allows: the old logs give way.
        close_log_dir(log_dir)
        os.mkdir(log_dir, 0o700)
        mount_tmpfs(log_dir, options)


def _reserve_last_words(log_dir: str) -> None:
    path = os.path.join(log_dir, STDERR_LOG)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        # A limit of a few pages has no room to set aside: no reason to fail.
        with suppress(OSError):
            reserve(fd, _RESERVED_BYTES)
    finally:
        os.close(fd)


def close_log_dir(log_dir: str) -> None:
    """Empty, unmount and remove the log directory; nothing happens where there is none.

    Raises:
        OSError: as the kernel says.

    Touches: umount2(2). It reaches the mount namespaces of running QEMUs by propagation, and where the host's mounts are
        private by the removal of the mount point (which detaches mounts in all other namespaces since Linux 3.18).
    """
    if not os.path.isdir(log_dir):
        return
    for entry in os.listdir(log_dir):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(log_dir, entry))
    while os.path.ismount(log_dir):
        unmount(log_dir, MNT_DETACH)
    shutil.rmtree(log_dir)


def logs_are_long(log_dir: str, limit_bytes: int) -> bool:
    """Whether `trim_logs` would find something to do."""
    share_bytes = limit_bytes // _FILES
    with suppress(OSError):
        return any(os.stat(f"{log_dir}/{name}").st_size > share_bytes for name in (SERIAL_LOG, STDERR_LOG))
    return False


def trim_logs(log_dir: str, limit_bytes: int) -> None:
    """Keep the logs within the limit together: of one that has grown over its share, the newest share goes to `.1`.

    The log itself is emptied, not replaced: QEMU goes on appending to it. What it writes between the copy and the emptying
    is lost, as with every copy-and-truncate.

    Raises:
        KernelRefused: process.log-dir-refused, process.disk-full.
    """
    share_bytes = limit_bytes // _FILES
    with refusing("process.log-dir-refused", log_dir, "trim the logs in"):
        for name in (SERIAL_LOG, STDERR_LOG):
            with suppress(FileNotFoundError):
                if os.stat(os.path.join(log_dir, name)).st_size > share_bytes:
                    _set_aside(os.path.join(log_dir, name), share_bytes)


def _set_aside(path: str, share_bytes: int) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size_bytes = os.fstat(fd).st_size
        if size_bytes == 0:
            return
        newest = os.pread(fd, share_bytes, max(0, size_bytes - share_bytes))
        # Emptied first: a full tmpfs has no room for the copy before.
        os.ftruncate(fd, 0)
        if path.endswith(STDERR_LOG) and os.path.ismount(os.path.dirname(path)):
            with suppress(OSError):
                reserve(fd, _RESERVED_BYTES)
    finally:
        os.close(fd)
    with open(path + _OLD, "wb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as old:
        old.write(newest)


def tail(path: str, count_bytes: int) -> str:
    """The last bytes of a log as text; empty where there is none. Bytes that are not UTF-8 are replaced."""
    try:
        with open(path, "rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(0, size_bytes - count_bytes))
            return file.read(count_bytes).decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""
