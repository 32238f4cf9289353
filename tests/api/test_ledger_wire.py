"""The ledger crosses the wire whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.api.ledger_wire import ledger_json, ledger_of
from qsup.plan.ledger import Holding, Ledger
from tests.api.memory_registry import MemoryRegistry
from tests.api.serving import raw_client, serving
from tests.plan.asking import dedicated, started, vm
from tests.plan.hosts import two_sockets

LEDGER = started([dedicated("db1", 4, threads=2), vm("web1")], two_sockets())[0]

pages = st.dictionaries(st.tuples(st.integers(0, 7), st.sampled_from([2 << 20, 1 << 30])), st.integers(0, 1 << 40), max_size=4)


@given(pages, st.dictionaries(st.integers(0, 7), st.integers(0, 1 << 50), max_size=3), st.booleans())
def test_what_is_sent_is_what_is_read(huge: dict[tuple[int, int], int], base: dict[int, int], grown: bool) -> None:
    ledger = LEDGER.reserved(Holding(LEDGER.holdings["db1"].plan, huge, base, grown))
    read = ledger_of(json.loads(json.dumps(ledger_json(ledger))))
    assert read.holdings == ledger.holdings


@pytest.mark.parametrize("document", [{}, {"holdings": {}}, {"holdings": [{}]}, {"holdings": [], "more": 1}])
def test_another_shape_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        ledger_of(document)


async def test_it_can_be_asked(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    registry.held = LEDGER
    async with serving(tmp_path, registry=registry) as served, raw_client(served) as client:
        status, told = await client.ask("GET", "/v1/ledger")
    assert status == 200
    assert ledger_of(told).holdings == LEDGER.holdings
    assert ledger_of({"holdings": []}) == Ledger()
