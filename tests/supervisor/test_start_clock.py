"""The timeline of a start: its stages add up to its whole, whatever was marked how often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qsup.supervisor.start_clock import StartClock
from qsup.supervisor.vm_state import VmState


@given(st.lists(st.sampled_from(["plan", "turn", "prealloc", "greeting"]), max_size=30))
def test_stages_add_up(marks: list[str]) -> None:
    clock = StartClock()
    for stage in marks:
        clock.mark(stage)
    start = clock.finished("running")
    assert [stage.stage for stage in start.stages] == list(dict.fromkeys(marks))
    assert round(sum(stage.duration_ms for stage in start.stages), 3) == start.total_ms


def test_a_start_is_kept_once() -> None:
    past = VmState("vm").past
    assert past.finish_start("running") is None, "nobody timed it"
    past.clock = StartClock()
    kept = past.finish_start("paused")
    assert past.finish_start("running") is None
    assert list(past.starts) == [kept]
