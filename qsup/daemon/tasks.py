"""SIGUSR1: where every task of the daemon is, on stderr. For the moment when it seems to do nothing."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import trio


async def print_tasks_at_signal() -> None:
    """Print the tree of tasks at each SIGUSR1, for ever."""
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        async for _ in signals:
            root = trio.lowlevel.current_root_task()
            if root is not None:
                sys.stderr.write("".join(f"{line}\n" for line in _lines_of(root, 0)))


def _lines_of(task: trio.lowlevel.Task, depth: int) -> Iterator[str]:
    indent = "  " * depth
    yield f"{indent}{task.name}"
    for frame, line in task.iter_await_frames():
        yield f"{indent}  at {frame.f_code.co_qualname} ({frame.f_code.co_filename}:{line})"
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _lines_of(child, depth + 1)
