"""What the kernel refused in the run and state directories, told with the path, the reason and the next step."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from qsup.errors import KernelRefused

_HINTS = {
    errno.EDQUOT: "raise the quota of qsup's user on that file system",
    errno.EACCES: "check the modes and the owner of that path and of its directories",
    errno.EPERM: "run the daemon as root, or choose a path that its user may write",
    errno.EROFS: "choose a path on a writable file system, or mark the disk readonly",
    errno.ENOENT: "check the spelling, or create it",
    errno.EMFILE: "raise LimitNOFILE of the daemon",
    errno.ETXTBSY: "end the program that is using it",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)


def refusal_of(error: OSError, code: str, path: str, deed: str) -> KernelRefused:
    """`deed` completes "could not …" and names the object; a full file system has a code of its own."""
    number = error.errno or errno.EIO
    return KernelRefused(
        "process.disk-full" if number in _FULL else code,
        path,
        number,
        f"could not {deed} {path}: {os.strerror(number)}",
        f"free space in {os.path.dirname(path)} (`df -h`, `df -i`)" if number == errno.ENOSPC else _HINTS.get(number),
    )


@contextmanager
def refusing(code: str, path: str, deed: str) -> Iterator[None]:
    """Turn an OSError of the block into a KernelRefused."""
    try:
        yield
    except OSError as error:
        raise refusal_of(error, code, path, deed) from error
