"""Every client verb against the in-memory registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from attrs import evolve

from qsup.cli.verb_table import VERBS
from qsup.errors import InvalidInput, QemuFailed, QmpLost, Refused
from tests.api import views
from tests.api.serving import serving
from tests.cli.running import qsup
from tests.cli.test_imports import CLIENT_WORDS

GOLDEN_JSON = Path(__file__).parents[1] / "api" / "golden"


def golden(name: str) -> object:
    return json.loads((GOLDEN_JSON / f"{name}.json").read_text())


async def test_list(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        ran = await qsup("list", "--json", served=served)
        vms = golden("vms")
        assert isinstance(vms, dict)
        assert (ran.code, ran.json) == (0, vms["vms"])
        ran = await qsup("list", served=served)
        assert [line.split()[0] for line in ran.out.splitlines()] == ["NAME", "big1", "db1", "web1"]
        served.registry.vms.clear()
        assert (await qsup("list", "--json", served=served)).json == []
        assert "no VMs" in (await qsup("list", served=served)).out


async def test_run_dir_may_stand_anywhere(tmp_path: Path) -> None:
    async with serving(tmp_path):
        for words in (
            ("list", "--run-dir", str(tmp_path)),
            ("--run-dir", str(tmp_path), "list"),
            (f"--run-dir={tmp_path}", "--json", "list"),
        ):
            assert (await qsup(*words)).code == 0


async def test_status(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        ran = await qsup("status", "web1", "--json", served=served)
        assert (ran.code, ran.json) == (0, golden("vm-full"))
        ran = await qsup("status", "db1", "--json", served=served)
        assert (ran.code, ran.json) == (3, golden("vm-bare"))
        ran = await qsup("status", "--json", served=served)
        assert (ran.code, ran.json) == (0, golden("host"))
        ran = await qsup("status", "web", served=served)
        assert (ran.code, ran.out) == (66, "")
        assert "did you mean web1?" in ran.err
        assert "2 absent" in (await qsup("status", served=served)).out


async def test_orders(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        ran = await qsup("start", "web1", served=served)
        assert (ran.code, ran.out) == (0, "web1: already running\n")
        ran = await qsup("start", "db1", "--paused", "--no-wait", served=served)
        assert (ran.code, ran.out) == (0, "db1: paused\n")
        for verb in ("stop", "restart"):
            assert (await qsup(verb, "db1", "--force", served=served)).code == 0
        for verb in ("reset", "pause", "resume"):
            assert (await qsup(verb, "db1", served=served)).code == 0
        assert served.registry.orders == [
            ("web1", "start", False, False, True),
            ("db1", "start", True, False, False),
            ("db1", "stop", False, True, True),
            ("db1", "restart", False, True, True),
            ("db1", "reset", False, False, True),
            ("db1", "pause", False, False, True),
            ("db1", "resume", False, False, True),
        ]


async def test_orders_for_several(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        ran = await qsup("stop", "web1", "nope", "db1", "web1", "--json", served=served)
        assert ran.code == 66
        assert [(row["vm"], row.get("message"), row.get("error", {}).get("code")) for row in ran.json] == [
            ("web1", "absent", None),
            ("nope", None, "api.unknown-vm"),
            ("db1", "already absent", None),
        ]
        assert "qsup: nope:" in ran.err
        ran = await qsup("start", "--all", served=served)
        assert sorted(ran.out.splitlines()) == ["big1: running", "db1: running", "web1: running"]
        for words in ((), ("--all", "web1")):
            assert (await qsup("stop", *words, served=served)).code == 2


async def test_slow_orders_do_not_wait_for_one_another(tmp_path: Path) -> None:
    """All are under way at once: the gate opens only when the registry has got every order."""
    async with serving(tmp_path) as served:
        names = [f"vm{number}" for number in range(100)]
        served.registry.vms = {name: evolve(views.FULL_VM, name=name) for name in names}
        served.registry.gate = trio.Event()

        async def open_gate_when_many_wait() -> None:
            await served.registry.wait_until(lambda: len(served.registry.orders) >= 64)
            served.registry.gate.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_gate_when_many_wait)
            ran = await qsup("stop", *names, served=served)
        assert (ran.code, len(ran.out.splitlines())) == (0, 100)


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (Refused((views.REASON,)), 69, "held by db1 (2048 pages), foreign (512 pages)"),
        (InvalidInput((views.PROBLEM,)), 65, "web1.toml:2:1:"),
        (QemuFailed("process.died", "QEMU died", "exit status 1", "no \x1b[1mbios"), 1, "    no \\x1b[1mbios"),
        (QmpLost("qmp.silent", "cont", "no answer after 5 s", outcome_known=False), 76, "no answer"),
        (ZeroDivisionError("own fault"), 70, "journalctl"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_goes_wrong_has_a_code_and_is_told(tmp_path: Path, failure: Exception, code: int, said: str) -> None:
    async with serving(tmp_path) as served:
        served.registry.failures["web1"] = failure
        ran = await qsup("start", "web1", served=served)
        assert (ran.code, ran.out) == (code, "")
        assert said in ran.err


@pytest.mark.parametrize("verb", sorted(CLIENT_WORDS.keys() - {"audit"}))  # which looks at the host itself then
async def test_every_verb_says_that_no_daemon_is_there(tmp_path: Path, verb: str) -> None:
    for more in ((), ("--json",)):
        ran = await qsup(*CLIENT_WORDS[verb], *more, "--run-dir", str(tmp_path))
        assert (ran.code, ran.out) == (75, "")
        assert "hint: start it" in ran.err


@pytest.mark.parametrize("verb", sorted(VERBS))
async def test_every_verb_knows_json(verb: str) -> None:
    assert "--json" in (await qsup(verb, "--help")).out


async def test_no_daemon_and_not_permitted(tmp_path: Path) -> None:
    for words in (("list",), ("start", "web1"), ("events", "-f"), ("console", "web1"), ("cmdline", "web1"), ("status",)):
        ran = await qsup(*words, "--run-dir", str(tmp_path))
        assert (ran.code, ran.out) == (75, "")
        assert "hint: start it" in ran.err
    async with serving(tmp_path, authorize=lambda peer: False) as served:
        assert (await qsup("list", served=served)).code == 77
    assert (await qsup("list", "--run-dir", "/x" * 100)).code == 2


async def test_monitor(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        ran = await qsup("qmp", "web1", "query-status", '{"a": 1}', served=served)
        assert (ran.code, ran.json) == (0, {"status": "running", "arguments": {"a": 1}})
        assert (await qsup("qmp", "web1", "nope", served=served)).code == 1
        for wrong in ("[]", "{", "1"):
            assert (await qsup("qmp", "web1", "query-status", wrong, served=served)).code == 2
        assert (await qsup("hmp", "web1", "info", "status", served=served)).out == "you said info status\n"
        assert (await qsup("hmp", "web1", "info status", "--json", served=served)).json == "you said info status\r\n"


async def test_cmdline(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        ran = await qsup("cmdline", "web1", served=served)
        assert ran.out == "qemu-system-x86_64 \\\n    -name guest=web1,debug-threads=on \\\n    -S\n"
        assert (await qsup("cmdline", "web1", "--json", served=served)).json == golden("cmdline")
        assert "— pinned before it runs" in (await qsup("cmdline", "web1", "--explain", served=served)).out
        assert (await qsup("cmdline", "db1", served=served)).code == 1


async def test_timeline(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        assert "prealloc" in (await qsup("timeline", "web1", served=served)).out
        (start,) = (await qsup("timeline", "web1", "--json", served=served)).json
        assert start["total_ms"] == 812.4
        starts = tuple(evolve(views.STARTS[0], started_at_s=float(number), outcome=f"start-{number}") for number in range(6))
        served.registry.vms["web1"] = evolve(views.FULL_VM, starts=starts[::-1])
        for words, shown in (((), (3, 4, 5)), (("-n", "1"), (5,)), (("--all",), range(6))):
            told = (await qsup("timeline", "web1", "--json", *words, served=served)).json
            assert [start["outcome"] for start in told] == [f"start-{number}" for number in shown], "the newest last"
        assert (await qsup("timeline", "web1", "-n", "0", served=served)).code == 2
        assert (await qsup("timeline", "db1", served=served)).code == 1


async def test_events(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        assert [event["seq"] for event in (await qsup("events", "--json", served=served)).json] == [7, 8]
        assert [event["seq"] for event in (await qsup("events", "--json", "-n", "1", served=served)).json] == [8]
        assert (await qsup("events", "--json", "-n", "0", served=served)).json == []
        assert [event["seq"] for event in (await qsup("events", "--json", "--vm", "web1", served=served)).json] == [7]
        assert "web1: web1 is running [vm.running]" in (await qsup("events", served=served)).out
        assert (await qsup("events", "-n", "x", served=served)).code == 2


async def test_a_multi_line_message_stays_one_line(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.registry.history = [evolve(views.EVENT, message="a\nb\x1b[2J")]
        assert (await qsup("events", served=served)).out.count("\n") == 1


@pytest.mark.parametrize("words", [(), ("bogus",), ("list", "--nope"), ("status", "a", "b"), ("start", "--forc", "a")])
async def test_wrong_words(words: tuple[str, ...]) -> None:
    ran = await qsup(*words)
    assert (ran.code, ran.out) == (2, "")


async def test_help_and_version() -> None:
    assert "timeline" in (await qsup("--help")).out
    assert "did you mean 'status'" in (await qsup("statsu")).err
    assert (await qsup("--version")).out.startswith("qsup 0.")
    assert "--paused" in (await qsup("start", "--help")).out


async def test_verify_says_it_by_its_code(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        drift = await qsup("verify", "web1", served=served)
        assert (drift.code, drift.out.splitlines()[0]) == (
            1,
            "web1  pid 4242, running: 9 ok, 4 drift, 1 not placeable, 1 unknown",
        )
        assert (await qsup("verify", "web1", "--json", served=served)).json == golden("verify")
        assert (await qsup("verify", "big1", served=served)).code == 0
        assert (await qsup("verify", "db1", served=served)).code == 3
        assert (await qsup("verify", "nobody", served=served)).code == 66
        every = await qsup("verify", "--json", served=served)
        assert (every.code, [table["vm"] for table in every.json]) == (1, ["db1", "mail", "web1"])
        assert "3 VMs: 1 ok, 1 drift, 1 not running" in (await qsup("verify", served=served)).out


async def test_audit_asks_the_daemon_and_says_it_by_its_code(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        ran = await qsup("audit", "--json", served=served)
        assert (ran.code, [one["rule_id"] for one in ran.json["findings"]]) == (
            1,
            ["cpu.clocksource", "disk.no-iothread", "memory.swappiness"],
        )
        high = await qsup("audit", "--least", "high", served=served)
        assert (high.code, "memory.swappiness" in high.out, "1 finding (1 high)" in high.out) == (1, False, True)
        three = ("--skip", "cpu.clocksource", "--skip", "disk.no-iothread", "--skip", "memory.swappiness")
        unknown = await qsup("audit", *three, served=served)
        assert (unknown.code, "3 skipped" in unknown.out) == (4, True)
        untold = ("--skip", "irq.default-affinity", "--skip", "cpu.host-is-guest", "--skip", "kvm.no-extension")
        assert (await qsup("audit", *three, *untold, served=served)).code == 0
        misspelt = await qsup("audit", "--skip", "cpu.clocksourc", served=served)
        assert (misspelt.code, misspelt.err) == (
            66,
            "qsup: there is no rule called 'cpu.clocksourc' [truth.no-such-rule]\n  hint: did you mean cpu.clocksource?\n",
        )


async def test_verify_repairs_memory_first(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        assert (await qsup("verify", "--repair-memory", served=served)).code == 2
        ran = await qsup("verify", "big1", "--repair-memory", served=served)
        assert (ran.code, ran.err) == (1, "qsup: big1 is not running [supervisor.not-running]\n")
        ran = await qsup("verify", "web1", "--repair-memory", served=served)
        assert ran.out.startswith("web1: mem1: 1022MiB moved in 3.2 s\n  2MiB did not move: node 1 has no free page of 2MiB\n")
        ran = await qsup("verify", "web1", "--repair-memory", "--json", served=served)
        assert ran.json["repaired"] == golden("repair-memory")
