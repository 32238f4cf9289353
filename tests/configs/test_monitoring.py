"""The dashboard and the alert rules ask for metrics that exist, with labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import trio

from qsup.plan.policy import HostPolicy
from qsup.spec.settings import SettingsSpec
from qsup.supervisor.caps import CapsCache
from qsup.supervisor.events import EventLog
from qsup.supervisor.metrics import Metrics
from qsup.supervisor.reservations import Reservations
from qsup.supervisor.services import Services
from qsup.supervisor.wait_watch import WaitWatch
from tests.promtool import needs_promtool, promtool

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "configs" / "grafana-dashboard.json"
RULES = ROOT / "configs" / "alert-rules.yaml"
PAGE = ROOT / "docs" / "metrics.md"
NAME = re.compile(r"\bqsup_[a-z0-9_]+")
EXPRESSION = re.compile(r"^\s+expr: (.+)$", re.MULTILINE)


def known_names() -> set[str]:
    return trio.run(_known_names)


async def _known_names() -> set[str]:
    policy = HostPolicy()
    services = Services(SettingsSpec(), policy, Reservations(policy), CapsCache(), EventLog(()), None, {})
    families = Metrics(services, WaitWatch({})).families()
    parts = ("_bucket", "_sum", "_count")
    return {family.name + part for family in families for part in (parts if family.kind == "histogram" else ("",))}


def panels() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def test_the_page_lists_every_metric_and_no_other() -> None:
    rows = re.findall(r"^\| `(qsup_[a-z0-9_]+)`", PAGE.read_text(), re.MULTILINE)
    known = {name.removesuffix("_bucket") for name in known_names() if not name.endswith(("_sum", "_count"))}
    assert sorted(rows) == sorted(known)


@pytest.mark.parametrize("path", [DASHBOARD, RULES], ids=lambda path: path.name)
def test_what_is_asked_for_exists(path: Path) -> None:
    asked = set(NAME.findall(path.read_text()))
    assert asked
    assert asked <= known_names()


def test_counters_are_asked_as_rates() -> None:
    targets = [target for panel in panels() for target in panel.get("targets", [])]  # type: ignore[attr-defined]
    expressions = [str(target["expr"]) for target in targets] + EXPRESSION.findall(RULES.read_text())
    assert len(expressions) > 20
    for expression in expressions:
        for counter in re.findall(r"(\w+\()?(qsup_\w+_total)", expression):
            assert counter[0] in ("rate(", "increase("), expression


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert isinstance(place, dict)
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_every_alert_says_what_to_do() -> None:
    alerts = RULES.read_text().split("- alert: ")[1:]
    assert len(alerts) >= 10
    for alert in alerts:
        assert all(word in alert for word in ("expr:", "severity:", "summary:", "action:")), alert


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    code, words = promtool("rules", str(RULES))
    assert code == 0, words
