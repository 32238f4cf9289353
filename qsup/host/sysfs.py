"""Reads small kernel files. Strategy: a file that is missing, unreadable or malformed is None here, never an exception.

Every path is absolute as on the real machine ("/sys/…"); `root` is put before it, so that a recorded tree can stand in.
What None means is said by the caller: each assumption is written down in docs/host.md.
"""

from __future__ import annotations

import os
import re

from qsup.cpuset import parse_cpulist

CPU_DIR = "/sys/devices/system/cpu"
NODE_DIR = "/sys/devices/system/node"
NET_DIR = "/sys/class/net"
READ_LIMIT_BYTES = 4 << 20
_CHUNK_BYTES = 64 << 10
_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def rooted(root: str, path: str) -> str:
    """The path below the root; `root` "/" leaves it as it is."""
    return root.rstrip("/") + path


def read_text(root: str, path: str) -> str | None:
    """The file's text (at most 4 MiB, bytes outside ASCII replaced), or None where it cannot be read."""
    try:
        fd = os.open(rooted(root, path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None
    try:
        return _all_of(fd).decode("ascii", "replace")
    except OSError:
        return None
    finally:
        os.close(fd)


def _all_of(fd: int) -> bytes:
    # A sysfs attribute arrives whole in one read; only the long files of /proc need more than one.
    chunks: list[bytes] = []
    size = 0
    while size < READ_LIMIT_BYTES:
        chunk = os.read(fd, _CHUNK_BYTES)
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def number_of(text: str | None) -> int | None:
    """The decimal number that the text is, or None for anything else."""
    if text is None:
        return None
    stripped = text.strip()
    return int(stripped) if _NUMBER.fullmatch(stripped) else None


def read_number(root: str, path: str) -> int | None:
    """The decimal number in the file, or None."""
    return number_of(read_text(root, path))


def read_count(root: str, path: str) -> int | None:
    """The decimal number in the file where it is not negative, or None."""
    number = read_number(root, path)
    return number if number is not None and number >= 0 else None


def read_cpulist(root: str, path: str) -> frozenset[int] | None:
    """The numbers of a cpulist file; None where it is missing or malformed ("(null)" of older kernels among them)."""
    text = read_text(root, path)
    if text is None:
        return None
    try:
        return parse_cpulist(text)
    except ValueError:
        return None


def list_dir(root: str, path: str) -> tuple[str, ...]:
    """The names in the directory, sorted; none where it cannot be listed."""
    try:
        return tuple(sorted(os.listdir(rooted(root, path))))
    except OSError:
        return ()


def numbered(names: tuple[str, ...], prefix: str) -> tuple[int, ...]:
    """The numbers N of the names `prefixN`, ascending."""
    numbers = (number_of(name[len(prefix) :]) for name in names if name.startswith(prefix))
    return tuple(sorted(number for number in numbers if number is not None and 0 <= number < 1 << 20))


def is_dir(root: str, path: str) -> bool:
    """Whether the path is a directory."""
    return os.path.isdir(rooted(root, path))


def exists(root: str, path: str) -> bool:
    """Whether something is at the path."""
    return os.path.exists(rooted(root, path))
