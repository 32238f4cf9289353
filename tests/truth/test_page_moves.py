"""Which pages must move where, and what became of them."""

from __future__ import annotations

import errno

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from qsup.bytesize import GIB, MIB
from qsup.truth.memory import MemoryRow
from qsup.truth.page_moves import BATCH_BYTES, BATCH_PAGES, MoveTally, batches_of, mended_of, moves_of, tally_of

ROW = MemoryRow("mem0", GIB, (1,), "bind", 2 * MIB, 0x7F0000000000, "bind", (1,), 2 * MIB, ((0, 512),), GIB, GIB, 0.0, "drift")


@given(st.sampled_from([4096, 2 * MIB, GIB]), st.integers(1, 3000))
def test_batches_hold_every_page_once(page_bytes: int, pages: int) -> None:
    row = evolve(ROW, size_bytes=pages * page_bytes, page_size_bytes=page_bytes, page_size_in_force_bytes=page_bytes)
    batches = list(batches_of(row))
    addresses = [address for batch in batches for address in batch]
    assert addresses == list(range(0x7F0000000000, 0x7F0000000000 + row.size_bytes, page_bytes))
    assert all(len(batch) == 1 or (len(batch) <= BATCH_PAGES and len(batch) * page_bytes <= BATCH_BYTES) for batch in batches)


def test_a_backend_without_a_mapping_has_no_pages() -> None:
    assert list(batches_of(evolve(ROW, start=None))) == []


def test_only_pages_that_are_elsewhere_move() -> None:
    addresses = (0, 4096, 8192, 12288)
    moves = moves_of(addresses, (1, 0, -errno.ENOENT, 2), (1,), 4096)
    assert (moves.addresses, moves.nodes) == ((4096, 12288), (1, 1))
    assert moves_of(addresses, (0, 0, 0, 0), (), 4096).addresses == ()


def test_several_planned_nodes_share_what_moves() -> None:
    moves = moves_of(tuple(range(0, 40960, 4096)), (5,) * 10, (0, 1), 4096)
    assert sorted(moves.nodes) == [0] * 5 + [1] * 5


def test_what_became_of_them_is_where_they_are() -> None:
    moves = moves_of((0, 4096, 8192, 12288), (0, 0, 0, 0), (1,), 4096)
    status = (1, -errno.EBUSY, -errno.ENOMEM, -errno.EBUSY)
    tally = tally_of(moves, status, (1, 1, 0, -errno.ENOENT), (1,))
    assert tally == MoveTally(2, {errno.ENOMEM: 1}), "one moved along with its huge page, one was given back meanwhile"


def test_the_tally_in_words() -> None:
    tally = MoveTally(10, {errno.EBUSY: 1}).plus(MoveTally(5, {errno.EBUSY: 1, errno.ENOMEM: 3, 9999: 1}))
    mended = mended_of(ROW, tally)
    assert mended.moved_bytes == 30 * MIB
    texts = {unmoved.size_bytes: (unmoved.reason, unmoved.hint) for unmoved in mended.unmoved}
    assert texts[6 * MIB][0] == "node 1 has no free page of 2MiB"
    assert "pool of node 1" in texts[6 * MIB][1]
    assert "hold" in texts[4 * MIB][0]
    assert texts[2 * MIB][0] == "the kernel says 9999"
    base = mended_of(evolve(ROW, page_size_bytes=4096, page_size_in_force_bytes=4096), MoveTally(0, {errno.ENOMEM: 1}))
    assert base.unmoved[0].hint == "make room on node 1, then repair again"


@given(st.lists(st.tuples(st.integers(-20, 3), st.integers(-20, 3), st.integers(-20, 3)), max_size=50))
def test_no_page_is_counted_twice(pages: list[tuple[int, int, int]]) -> None:
    addresses = tuple(range(0, 4096 * len(pages), 4096))
    moves = moves_of(addresses, [before for before, _, _ in pages], (1,), 4096)
    moved = [pages[address // 4096] for address in moves.addresses]
    tally = tally_of(moves, [status for _, status, _ in moved], [after for _, _, after in moved], (1,))
    assert tally.moved + sum(tally.failed.values()) <= len(moves.addresses) == len(moved)
