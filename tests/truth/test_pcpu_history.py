"""What a set of pCPUs was before it changed, as long as that matters."""

from __future__ import annotations

from qsup.truth.pcpu_history import KEPT_S, PcpuHistory

ALL = frozenset(range(4))


def history(*seen: tuple[float, frozenset[int] | None]) -> PcpuHistory:
    kept = PcpuHistory()
    for now_s, pcpus in seen:
        kept = kept.noted(pcpus, now_s)
    return kept


def test_what_was_never_seen_or_never_changed_was_not_otherwise_before() -> None:
    assert PcpuHistory().before(0) is None
    assert history((0, ALL), (1, ALL), (2, None)).before(0) == ALL


def test_a_change_counts_from_when_it_was_noticed() -> None:
    kept = history((0, ALL), (10, ALL - {3}), (11, ALL - {3}))
    assert (kept.before(10), kept.before(10.1)) == (ALL, ALL - {3})


def test_of_several_changes_the_first_one_tells_what_was_before() -> None:
    assert history((0, ALL), (1, ALL - {3}), (2, ALL - {2, 3})).before(0) == ALL


def test_what_went_and_came_again_is_told_by_what_it_was_in_between() -> None:
    kept = history((0, ALL), (1, ALL - {3}), (2, ALL))
    assert (kept.now, kept.before(0), kept.before(2)) == (ALL, ALL - {3}, ALL - {3})


def test_a_set_that_changes_for_ever_is_kept_in_bounds() -> None:
    often = history(*((step, frozenset({step % 2})) for step in range(1000)))
    assert len(often.changes) == 16
    rarely = history(*((step * KEPT_S / 2, frozenset({step})) for step in range(1000)))
    assert len(rarely.changes) == 3
