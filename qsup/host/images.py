"""Reads image files and the chains below them, without QEMU.

Strategy: the walk follows qcow2 backing files from the top down. It ends at a raw image, at an image without a backing
file, or at the first that has a problem. Nothing raises: what is wrong stands in `problem`. Only regular files and block
devices are opened, since opening others may block or act.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from attrs import evolve

from qsup.host.block_devices import block_size_bytes, is_readonly_device, node_of_device
from qsup.host.image_locks import read_image_locks
from qsup.host.qcow2 import Qcow2Header, parse_qcow2_header
from qsup.plan.host_facts import ImageFacts

CHAIN_LIMIT = 64
_FORMATS = ("qcow2", "raw")


def read_image_facts(path: str, image_format: str) -> tuple[ImageFacts, ...]:
    """An image and all files below it, top first, never empty.

    The format of a backing file is what the header above it declares; where it declares none, the chain ends there with a
    problem, since qsup never guesses a format from content.

    Touches:
        the files themselves (open read-only, F_OFD_GETLK, BLKGETSIZE64, BLKROGET), /sys/dev/block.
    """
    return tuple(_walk(path, image_format))


def _walk(path: str, image_format: str) -> Iterator[ImageFacts]:
    seen: set[str] = set()
    facts = _read_one(path, image_format)
    yield facts
    while facts.problem is None and facts.backing is not None and facts.backing_format is not None:
        seen.add(facts.file_id or facts.path)
        below = _read_one(facts.backing, facts.backing_format)
        if below.file_id in seen:
            below = evolve(below, problem=f"{below.path} is its own backing file")
        elif len(seen) == CHAIN_LIMIT:
            below = evolve(below, problem=f"{below.path} lies below {CHAIN_LIMIT} images, which is too deep")
        facts = below
        yield facts


def _read_one(path: str, image_format: str) -> ImageFacts:
    facts = ImageFacts(path=path, format=image_format)
    if image_format not in _FORMATS:
        return evolve(facts, problem=f"{path} has the format {image_format!r}; qcow2 and raw are accepted")
    try:
        # The type is asked before opening: a FIFO would block, and opening a device may act (a tape rewinds).
        kind = _kind_problem(os.stat(path).st_mode)
        if kind is not None:
            return evolve(facts, problem=f"{path} {kind}", writable=False)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        return evolve(facts, problem=_open_problem(path, error), writable=False)
    try:
        return _read_open(fd, facts)
    except OSError as error:
        return evolve(facts, problem=f"{path} cannot be read: {error.strerror}")
    finally:
        os.close(fd)


def _kind_problem(mode: int) -> str | None:
    if stat.S_ISDIR(mode):
        return "is a directory"
    return None if stat.S_ISREG(mode) or stat.S_ISBLK(mode) else "is neither a regular file nor a block device"


def _open_problem(path: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        dangling = os.path.islink(path)
        return f"{path} points to a file that does not exist" if dangling else f"{path} does not exist"
    reason = error.strerror if isinstance(error, OSError) else "the name holds a NUL byte"
    return f"{path} cannot be opened: {reason}"


def _read_open(fd: int, facts: ImageFacts) -> ImageFacts:
    status = os.fstat(fd)
    device = stat.S_ISBLK(status.st_mode)
    locks = read_image_locks(fd)
    size_bytes = block_size_bytes(fd) if device else status.st_size
    facts = evolve(
        facts,
        size_bytes=size_bytes,
        virtual_size_bytes=size_bytes,
        locked_by_other=locks.blocks_writing,
        written_by_other=locks.blocks_reading,
        host_node=node_of_device(status.st_rdev if device else status.st_dev),
        block_device=device,
        writable=os.access(facts.path, os.W_OK, effective_ids=True) and not (device and is_readonly_device(fd)),
        file_id=f"block-{status.st_rdev}" if device else f"{status.st_dev}-{status.st_ino}",
    )
    if size_bytes == 0:
        return evolve(facts, problem=f"{facts.path} is empty")
    if facts.format == "raw":
        return facts
    try:
        header = parse_qcow2_header(lambda offset, count: os.pread(fd, count, offset))
    except ValueError as error:
        return evolve(facts, problem=f"{facts.path} {error}")
    return _with_header(facts, header)


def _with_header(facts: ImageFacts, header: Qcow2Header) -> ImageFacts:
    facts = evolve(facts, virtual_size_bytes=header.virtual_size_bytes)
    if header.backing_name is None:
        return facts
    backing = backing_path(facts.path, header.backing_name)
    if backing is None:
        problem = f"{facts.path} has the backing file {header.backing_name!r}; only paths of files are accepted"
        return evolve(facts, problem=problem)
    if header.backing_format is None:
        problem = (
            f"{facts.path} does not declare the format of its backing file {backing}: "
            "declare it with `qemu-img rebase -u -b FILE -F FORMAT`"
        )
        return evolve(facts, backing=backing, problem=problem)
    return evolve(facts, backing=backing, backing_format=header.backing_format)


def backing_path(overlay: str, name: str) -> str | None:
    """The absolute path of a backing file as QEMU finds it: relative to the overlay's directory. None for what is no path.

    `json:{…}` and `nbd://…` name block graphs and protocols: a header must not be able to open those.
    """
    head = name.partition("/")[0]
    if head.startswith("file:") and "://" not in name:
        name = name.removeprefix("file:")
    elif ":" in head:
        return None
    return os.path.join(os.path.dirname(os.path.abspath(overlay)), name) if name else None
