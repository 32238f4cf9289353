"""qsup wait against the in-memory registry."""

from __future__ import annotations

import json
from pathlib import Path

import trio

from tests.api.reports import FIRST_REPORT
from tests.api.serving import serving
from tests.cli.running import qsup

GOLDEN_JSON = Path(__file__).parents[1] / "api" / "golden"


def golden(name: str) -> object:
    return json.loads((GOLDEN_JSON / f"{name}.json").read_text())


async def test_once_is_the_first_span_with_names(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        ran = await qsup("wait", "--json", served=served)
        assert (ran.code, ran.json) == (0, golden("wait"))
        ran = await qsup("wait", "web1", "--json", served=served)
        assert (ran.code, ran.json) == (0, golden("wait-of-one"))
        ran = await qsup("wait", "web1", served=served)
        assert "db1 vCPU 3 40.0" in ran.out
        assert "SINCE" in ran.out
        ran = await qsup("wait", "web", served=served)
        assert (ran.code, ran.out) == (66, "")
        await served.registry.wait_until(lambda: not served.registry.wait_followers)


async def test_watching_goes_on_until_the_reader_lags_or_the_daemon_ends(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.registry.reports = [FIRST_REPORT] * 3

        async def end() -> None:
            await served.registry.wait_until(lambda: bool(served.registry.wait_followers))
            for follower in served.registry.wait_followers:
                follower.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            ran = await qsup("wait", "--watch", "--json", served=served)
        assert ran.code == 1
        assert [json.loads(line)["blamed"] for line in ran.out.splitlines()] == [False] * 3
        assert "too slow" in ran.err
