"""The planner against exhaustive search on small hosts: within 5 % of the best seat, and nothing refused that is possible.

A thousand more cases than here are run by `python -m tests.bench.placement_quality`.
"""

from __future__ import annotations

from qsup.plan import cost
from tests.plan.quality import results
from tests.plan.weights import POINTS

SEEDS = range(300)


def test_seats_are_within_five_percent_of_the_best_and_nothing_possible_is_refused() -> None:
    found = list(results(SEEDS))
    assert [result for result in found if not result.good] == []
    placed = [result for result in found if result.planned is not None]
    assert len(placed) > 130
    assert len({result.planned for result in placed}) > 20, "the cases differ in what they cost"


def test_the_documented_weights_are_those_of_the_planner() -> None:
    constants = {name: value for name, value in vars(cost).items() if name.isupper() and not name.startswith("_")}
    assert constants.pop("LOAD_MOST") == POINTS["load"]
    assert constants == {name.upper(): points for name, points in POINTS.items() if name != "load"}
