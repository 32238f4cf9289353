"""Fd sets: how QEMU is given a file that it may not open itself. One file, one set.

The numbers are stable: they depend on what the file is for, never on what else the VM has, so that a set that is added to
a running VM never meets one of its command line.

Source: QEMU 7.2, `-add-fd` in qemu-options.hx; QMP add-fd and query-fdsets.
"""

from __future__ import annotations

from qsup.argv.option import FdNeed, Option, fd_token
from qsup.argv.syntax import key_values

SERIAL_LOG_SET = 1
UEFI_CODE_SET = 2
UEFI_VARS_SET = 3
FIRST_DISK_SET = 1000
SETS_PER_DISK = 1000


def disk_image_set(position: int, depth: int) -> int:
    """The set of an image: `position` is the disk's, `depth` the image's in its chain (0 = top).

    Raises:
        ValueError: the chain is too long to number.
    """
    if not 0 <= depth < SETS_PER_DISK:
        raise ValueError(f"a chain of more than {SETS_PER_DISK} images has no fd set numbers")
    return FIRST_DISK_SET + position * SETS_PER_DISK + depth


def fdset_path(set_number: int) -> str:
    """The file name by which QEMU opens the set."""
    return f"/dev/fdset/{set_number}"


def add_fd_option(need: FdNeed, set_number: int) -> Option:
    """Puts the descriptor into its set; `query-fdsets` shows its name."""
    value = key_values(None, ("fd", fd_token(need.name)), ("set", set_number), ("opaque", need.name))
    mode = "read-only" if need.readonly else "append-only" if need.kind == "log" else "read-write"
    return Option("-add-fd", value, f"rule: files come as descriptors; {need.path}, {mode}")
