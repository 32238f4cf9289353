"""The ledger as JSON and back: `GET /v1/ledger`. Plans have the shape that they have in launch records (docs/launch.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from qsup.natural import natural
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.vmplan import VmPlan
from qsup.process.json_shape import structure, text_of


@frozen
class _PagesTaken:
    host_node: int
    page_size_bytes: int
    count: int


@frozen
class _BaseTaken:
    host_node: int
    size_bytes: int


@frozen
class _Holding:
    """A Holding whose tables are lists: JSON has no keys but texts."""

    plan: VmPlan
    pages_taken: tuple[_PagesTaken, ...]
    base_taken: tuple[_BaseTaken, ...]
    grown: bool = False


@frozen
class _Ledger:
    holdings: tuple[_Holding, ...]


def ledger_json(ledger: Ledger) -> dict[str, Any]:
    """Everything that is held, ascending by name."""
    holdings = tuple(_listed(ledger.holdings[name]) for name in sorted(ledger.holdings, key=natural))
    document: dict[str, Any] = json.loads(text_of(_Ledger(holdings)))
    return document


def ledger_of(document: Mapping[str, Any]) -> Ledger:
    """The ledger in an answer.

    Raises:
        ValueError: it has another shape; the daemon is of another version.
    """
    told = structure(dict(document), _Ledger)
    ledger = Ledger()
    for holding in told.holdings:
        pages = {(taken.host_node, taken.page_size_bytes): taken.count for taken in holding.pages_taken}
        base = {taken.host_node: taken.size_bytes for taken in holding.base_taken}
        ledger = ledger.reserved(Holding(holding.plan, pages, base, holding.grown))
    return ledger


def _listed(holding: Holding) -> _Holding:
    pages = sorted(holding.pages_taken.items())
    base = sorted(holding.base_taken_bytes.items())
    return _Holding(
        holding.plan,
        tuple(_PagesTaken(node, size, count) for (node, size), count in pages),
        tuple(_BaseTaken(node, size) for node, size in base),
        holding.grown,
    )
