"""How disks' requests travel: what a context, a ring and a line of the log say, and of which disk."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve

from qsup.plan.vmplan import DiskPlan, ImagePlan, QueueThread
from qsup.truth.disk_aio import UNUSED, AioFacts, aio_seen, fallback_of

NATIVE_FELL = "Unable to use native AIO, falling back to thread pool: Resource temporarily unavailable"
NEWER_NATIVE_FELL = "Unable to use Linux AIO, falling back to thread pool: Resource temporarily unavailable"
URING_FELL = "Unable to use linux io_uring, falling back to thread pool: Operation not permitted"
UNLIKE_ANY = "something new, falling back to thread pool"


def disk(number: int, aio: str = "native", iothread: str | None = "own", *queue_threads: str) -> DiskPlan:
    name = f"io{number}" if iothread == "own" else iothread
    plan = DiskPlan(f"disk{number}", (ImagePlan("/a", "raw", False),), False, "none", aio, "unmap", name, 4, None, 1)
    return evolve(plan, queue_threads=tuple(QueueThread(thread, (index,)) for index, thread in enumerate(queue_threads)))


def seen(disks: Sequence[DiskPlan], facts: AioFacts, requests: Sequence[int] | None) -> list[tuple[str | None, str]]:
    had = None if requests is None else {one.disk_id: count for one, count in zip(disks, requests, strict=True)}
    return [(row.in_force, row.note) for row in (aio_seen(one, disks, facts, had) for one in disks)]


@pytest.mark.parametrize(
    ("lines", "native", "io_uring"),
    [
        ((), None, None),
        ((NATIVE_FELL,), NATIVE_FELL, None),
        ((NEWER_NATIVE_FELL,), NEWER_NATIVE_FELL, None),
        ((URING_FELL, NATIVE_FELL), NATIVE_FELL, URING_FELL),
        ((UNLIKE_ANY,), None, None),
    ],
)
def test_a_line_is_about_the_kind_that_it_names(lines: tuple[str, ...], native: str | None, io_uring: str | None) -> None:
    assert (fallback_of("native", lines), fallback_of("io_uring", lines)) == (native, io_uring)


def test_only_the_kind_that_fell_back_is_blamed() -> None:
    both = [disk(0), disk(1, "io_uring")]
    assert seen(both, AioFacts(1, 0, (URING_FELL,)), (7, 7)) == [("native", ""), ("threads", URING_FELL)]
    assert seen(both, AioFacts(0, 1, (NATIVE_FELL,)), (7, 7)) == [("threads", NATIVE_FELL), ("io_uring", "")]


def test_of_several_disks_of_the_kind_none_is_named() -> None:
    both = [disk(0), disk(1)]
    told = f"one of the 2 disks with aio = native or more: {NATIVE_FELL}"
    assert seen(both, AioFacts(1, 0, (NATIVE_FELL,)), (7, 7)) == [(None, told), (None, told)]
    assert seen(both, AioFacts(0, 0, (NATIVE_FELL,)), (7, 7)) == [("threads", NATIVE_FELL), ("threads", NATIVE_FELL)]
    assert seen(both, AioFacts(0, 0, (NATIVE_FELL,)), (7, 0)) == [("threads", NATIVE_FELL), (None, told)]


@pytest.mark.parametrize(("aio", "what"), [("native", "libaio contexts"), ("io_uring", "rings")])
def test_one_context_does_not_vouch_for_two_event_loops(aio: str, what: str) -> None:
    both = [disk(0, aio), disk(1, aio)]
    told = f"the process has 1 of the 2 {what} that its event loops need: which disk goes without is not told"
    assert seen(both, AioFacts(1, 1), (7, 7)) == [(None, told), (None, told)]
    assert seen(both, AioFacts(2, 2), (7, 7)) == [(aio, ""), (aio, "")]
    assert seen(both, AioFacts(1, 1), (7, 0)) == [(aio, ""), (None, UNUSED)]
    assert seen(both, AioFacts(1, 1), None) == [(None, ""), (None, "")]
    assert seen(both, AioFacts(2, 2), None) == [(aio, ""), (aio, "")]


def test_disks_that_share_an_event_loop_share_its_context() -> None:
    loop = [disk(0, iothread=None), disk(1, iothread=None)]
    assert seen(loop, AioFacts(1, 0), (7, 7)) == [("native", ""), ("native", "")]


def test_a_disk_whose_queues_are_shared_out_needs_one_at_least() -> None:
    shared = [disk(0, "native", "io0.0", "io0.0", "io0.1")]
    assert seen(shared, AioFacts(1, 0), (7,)) == [("native", "")]
    assert seen([*shared, disk(1)], AioFacts(1, 0), (7, 7))[0][0] is None


def test_what_cannot_be_read_is_unknown_with_its_reason() -> None:
    assert seen([disk(0)], AioFacts(problem="it hangs"), (7,)) == [(None, "it hangs")]
    assert seen([disk(0)], AioFacts(problem="it hangs", fallbacks=(NATIVE_FELL,)), (7,)) == [("threads", NATIVE_FELL)]
