"""What takes from the scores is said in words."""

from __future__ import annotations

from qsup.api.client import Json
from qsup.cli.offline.plan_report import plain
from qsup.cli.render.score_text import shortfalls
from qsup.plan.score import DeviceDistance, Score

BEST = Score(100, (), 0, 100, 1, 1, 100, 0, 100, (DeviceDistance("disk0", 0, 10),))
FAR = (DeviceDistance("disk0", 0, 10), DeviceDistance("net0", 1, 21))
WORST = Score(50, ("db1", "web2"), 2, 83, 6, 5, 90, 1, 65, FAR)
NO_SMT = Score(None, (), 2, None, 0, 0, None, 0, None, ())


def vm(name: str, score: Score) -> Json:
    return {"name": name, "score": plain(score)}


def test_every_score_below_100_has_its_reason() -> None:
    assert shortfalls([vm("good", BEST), vm("bad", WORST), vm("plain", NO_SMT), {"name": "gone", "action": "stops"}]) == [
        "bad: SMT 50, it shares host cores with db1, web2; threads of 2 guest cores lie on different host cores; "
        "L3 83, its vCPUs lie in 6 L3 groups where 5 could hold them; NODE 90, 1 vCPU away from their memory; "
        "DEV 65, net0 on node 1, distance 21"
    ]
