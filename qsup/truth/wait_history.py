"""The last hour of a VM's waiting, a minute a row, at bounded cost: 60 rows of a few numbers and at most nine names each."""

from __future__ import annotations

from collections import deque

from attrs import define, field, frozen

from qsup.truth.wait import BlameShare, VmWait
from qsup.truth.wait_blame import MOST_NAMES, OTHERS

MINUTES = 60
UNKNOWN = "unknown"


@frozen
class WaitMinute:
    """One minute: `begins_at_s` in Unix time, `seen_s` of it were sampled.

    `ready_share` is the mean of the worst vCPU's, `worst_share` its highest, `skew_share` the highest. `blame` is of all the
    VM's threads together, a share of wall time, the most first, with "unknown" and "others" in it.
    """

    begins_at_s: int
    seen_s: float
    ready_share: float
    worst_share: float
    throttled_share: float
    skew_share: float
    blame: tuple[BlameShare, ...] = ()


@define(eq=False)
class _Row:
    begins_at_s: int
    seen_s: float = 0.0
    ready_s: float = 0.0
    worst_share: float = 0.0
    throttled_s: float = 0.0
    skew_share: float = 0.0
    blame_s: dict[str, float] = field(factory=dict)


class WaitHistory:
    """One VM's. A clock that steps makes a row longer or the order odd, never the ring."""

    def __init__(self) -> None:
        self._rows: deque[_Row] = deque(maxlen=MINUTES)

    def add(self, now_s: float, span_s: float, wait: VmWait) -> None:
        """Take in one span that ended at this Unix time."""
        minute_s = int(now_s) // 60 * 60
        if not self._rows or self._rows[-1].begins_at_s != minute_s:
            self._rows.append(_Row(minute_s))
        row = self._rows[-1]
        row.seen_s += span_s
        row.ready_s += wait.ready_share * span_s
        row.throttled_s += wait.throttled_share * span_s
        row.worst_share = max(row.worst_share, wait.ready_share)
        row.skew_share = max(row.skew_share, wait.skew_share)
        for thread in wait.threads:
            for item in thread.blame:
                _add(row.blame_s, item.who, item.share * span_s)
            if thread.unknown_share:
                _add(row.blame_s, UNKNOWN, thread.unknown_share * span_s)

    def minutes(self) -> tuple[WaitMinute, ...]:
        """The rows, oldest first."""
        return tuple(_minute_of(row) for row in self._rows if row.seen_s > 0)


def _add(blame_s: dict[str, float], who: str, seconds: float) -> None:
    """At most MOST_NAMES names of a minute are told apart, besides "unknown" and "others"; a greater one ousts the least."""
    if who in blame_s:
        blame_s[who] += seconds
        return
    named = blame_s.keys() - {UNKNOWN, OTHERS}
    if who not in (UNKNOWN, OTHERS) and len(named) >= MOST_NAMES:
        least = min(named, key=lambda name: (blame_s[name], name))
        if blame_s[least] < seconds:
            blame_s[OTHERS] = blame_s.get(OTHERS, 0.0) + blame_s.pop(least)
        else:
            who = OTHERS
    blame_s[who] = blame_s.get(who, 0.0) + seconds


def _minute_of(row: _Row) -> WaitMinute:
    shares = sorted(((seconds / row.seen_s, who) for who, seconds in row.blame_s.items()), reverse=True)
    return WaitMinute(
        row.begins_at_s,
        round(row.seen_s, 3),
        row.ready_s / row.seen_s,
        row.worst_share,
        row.throttled_s / row.seen_s,
        row.skew_share,
        tuple(BlameShare(who, share) for share, who in shares),
    )
