"""qsup plan: golden answers for recorded machines, and every way to ask wrongly."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.api.memory_registry import MemoryRegistry
from tests.api.serving import serving
from tests.cli.running import Ran, qsup
from tests.host.synthesize import HOSTS_DIR
from tests.plan.asking import dedicated, started, vm
from tests.plan.hosts import laptop

GOLDEN = Path(__file__).parent / "golden_hosts"

DB1 = """
[cpu]
vcpus = 6
threads = 2
placement = "dedicated"
[memory]
size = "6GiB"
hugepages = "2MiB"
[[disk]]
path = "/srv/vm/db1.qcow2"
[[nic]]
bridge = "br0"
"""
ISO = '[cpu]\nvcpus = 2\nplacement = "isolated"\n[memory]\nsize = "3GiB"\nhugepages = "1GiB"\n'
WEB = '[cpu]\nvcpus = 2\n[memory]\nsize = "1GiB"\n'
VAST = '[cpu]\nvcpus = 1000\nplacement = "dedicated"\n[memory]\nsize = "1TiB"\n'
OFF = "[vm]\nautostart = false\n" + WEB
ONE = '[cpu]\nvcpus = 1\nplacement = "dedicated"\n[memory]\nsize = "128MiB"\n[machine]\naccel = "tcg"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / "vms.d"
    directory.mkdir()
    for name, text in (("db1", DB1), ("iso", ISO), ("web1", WEB), ("off", OFF)):
        (directory / f"{name}.toml").write_text(text)
    return directory


async def plan(config: Path, host: str | None, *words: str) -> Ran:
    where = ["--host", str(HOSTS_DIR / f"{host}.json")] if host else ["--run-dir", str(config / "run")]
    return await qsup("plan", *where, "--config-dir", str(config), "--state-dir", str(config / "state"), *words)


@pytest.mark.parametrize("mode", ["plan", "reboot"])
@pytest.mark.parametrize("host", ["two-sockets-smt", "xeon-snc", "hybrid", "uneven-nodes"])
async def test_golden_plan(host: str, mode: str, config: Path, regenerate: bool) -> None:
    extra = config.parent / "vast.toml"
    extra.write_text(VAST)
    words = ["--reboot"] if mode == "reboot" else ["--with", str(extra)]
    ran = await plan(config, host, *words)
    text = ran.out.replace(str(HOSTS_DIR), "HOSTS")
    golden = GOLDEN / f"{mode}-{host}.txt"
    if regenerate:
        golden.write_text(text)
    assert ran.err == ""
    assert text == golden.read_text()


async def test_json_tells_everything(config: Path) -> None:
    told = (await plan(config, "two-sockets-smt", "--json")).json
    assert {vm["name"]: vm["action"] for vm in told["vms"]} == {"db1": "starts", "iso": "starts", "web1": "starts"}
    db1 = next(vm for vm in told["vms"] if vm["name"] == "db1")
    assert db1["score"]["smt"] == db1["score"]["l3"] == db1["score"]["node"] == 100
    assert told["map"]["vms"] == ["db1", "iso", "web1"]
    assert told["room"][0]["vcpus"] > 0


@pytest.mark.parametrize("host", ["epyc-nps4", "eight-sockets", "epyc-256", "memory-only-node", "offline-isolated", "one-node"])
async def test_every_recorded_host_can_be_planned_for(host: str, config: Path) -> None:
    for words in ([], ["--reboot"], ["--without", "db1", "--offline", "1"]):
        ran = await plan(config, host, *words)
        assert ran.code in (0, 1, 69)
        assert ran.err == ""


async def test_what_does_not_fit_is_refused_with_what_would(config: Path) -> None:
    (config / "vast.toml").write_text(VAST)
    ran = await plan(config, "two-sockets-smt", "--json")
    assert ran.code == 69
    (refused,) = ran.json["refused"]
    assert refused["name"] == "vast"
    assert {reason["host_node"] for reason in refused["reasons"]} >= {0, 1}


async def test_what_is_left_out_and_did_not_run_does_not_stop(config: Path) -> None:
    told = (await plan(config, "two-sockets-smt", "--without", "web1", "--json")).json
    assert {vm["name"]: vm["action"] for vm in told["vms"]} == {"db1": "starts", "iso": "starts", "web1": "stays off"}
    assert "web1  stays off" in (await plan(config, "two-sockets-smt", "--without", "web1")).out


async def test_the_map_is_there_unless_it_is_not_wanted(config: Path) -> None:
    row = "\nnode 0  "
    assert row in (await plan(config, "two-sockets-smt")).out
    assert row not in (await plan(config, "two-sockets-smt", "--no-map")).out
    assert row not in (await plan(config, "two-sockets-smt", "--reboot")).out
    assert row in (await plan(config, "two-sockets-smt", "--reboot", "--map")).out


async def test_the_host_as_it_would_be_is_drawn(config: Path, tmp_path: Path) -> None:
    drawing = tmp_path / "plan.svg"
    ran = await plan(config, "two-sockets-smt", "--svg", str(drawing))
    assert (ran.code, ran.err) == (0, "")
    texts = [node.text or "" for node in ElementTree.fromstring(drawing.read_text()).iter("{http://www.w3.org/2000/svg}text")]
    assert {"3  db1:0", "1  iso:0", "17  empty"} <= set(texts)
    ran = await plan(config, "two-sockets-smt", "--svg", f"{config}/db1.toml/x.svg")
    assert (ran.code, ran.out) == (1, "")
    assert "cannot be written" in ran.err


async def test_vms_are_recorded_with_their_host_and_planned_beside(tmp_path: Path, config: Path) -> None:
    registry, recorded = MemoryRegistry(), tmp_path / "recorded"
    registry.vms = {}
    registry.held = started([vm("web9")], laptop())[0]
    async with serving(tmp_path, registry=registry) as served:
        ran = await qsup("topology", "--record", str(recorded), "--vms", "--json", served=served)
    assert ran.json["vms"] == ["web9"]
    told = (await plan(config, None, "--host", str(recorded), "--without", "web9", "--json")).json
    assert told["basis"] == "VMs recorded with the host"
    assert {"name": "web9", "action": "stops"} in told["vms"]
    assert (await qsup("topology", "--host", str(recorded), "--json")).json["vms"] == ["web9"]
    (recorded / "qsup" / "ledger.json").write_text('{"holdings": [{}]}')
    ran = await plan(config, None, "--host", str(recorded))
    assert (ran.code, ran.out) == (65, "")
    assert "its qsup/ledger.json is not what --vms writes" in ran.err


async def test_running_vms_stay_stop_and_come_anew(tmp_path: Path, config: Path) -> None:
    registry = MemoryRegistry()
    registry.vms = {}
    registry.held = started([dedicated("db9", 1), vm("web1")], laptop())[0]
    extra = tmp_path / "one.toml"
    extra.write_text(ONE)
    async with serving(tmp_path, registry=registry) as served:
        ran = await qsup("plan", "--json", served=served)
        stopped = await qsup("plan", "--without", "db9", "--with", str(extra), "--json", served=served)
        unknown = await qsup("plan", "--without", "db8", served=served)
    actions = {vm["name"]: vm["action"] for vm in ran.json["vms"]}
    assert actions.keys() == {"db9", "web1"}
    assert actions["db9"] in ("stays", "re-pinned")
    assert ran.json["basis"] == "the running daemon"
    told = {vm["name"]: vm["action"] for vm in stopped.json["vms"]}
    assert told["db9"] == "stops"
    assert told["one"] == "starts"
    assert (unknown.code, unknown.out) == (66, "")
    assert "did you mean db9?" in unknown.err


async def test_files_that_are_not_valid_are_left_out_and_said(config: Path) -> None:
    (config / "bad.toml").write_text("[cpu]\nvcpu = 1\n")
    ran = await plan(config, "two-sockets-smt")
    assert ran.code == 65
    assert "bad.toml:2:1: cpu.vcpu is not a key of qsup" in ran.out
    assert "db1   starts" in ran.out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--without", "nobody"], 66, "there is no VM called 'nobody'"),
        (["--without", "db2"], 66, "did you mean db1?"),
        (["--offline", "x"], 1, "'x' is not a pCPU number"),
        (["--offline", "3-1"], 1, "runs backwards"),
        (["--offline", ""], 1, "names no pCPU"),
        (["--offline", "31-40"], 1, "32-40, which this host does not have: it has 0-31"),
        (["--offline", "0-31"], 1, "leaves no pCPU online"),
        (["--reboot", "--without", "db1"], 1, "does not go with"),
        (["--reboot", "--offline", "1"], 1, "does not go with"),
        (["--with", "/nowhere/at/all.toml"], 65, "cannot be read"),
        (["--config-dir", "/nowhere"], 66, "/nowhere cannot be listed"),
        (["--settings", "/nowhere/settings.toml"], 1, "/nowhere/settings.toml"),
        (["--bogus"], 2, "unrecognized"),
    ],
)
async def test_wrong_words(words: list[str], code: int, text: str, config: Path) -> None:
    ran = await plan(config, "two-sockets-smt", *words)
    assert (ran.code, ran.out) == (2 if code == 1 and "settings" not in text else code, "")
    assert text in ran.err


async def test_contradicting_files(config: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.toml").write_text(WEB)
    twice = ["--with", str(tmp_path / "a" / "same.toml"), "--with", str(tmp_path / "b" / "same.toml")]
    ran = await plan(config, "hybrid", *twice)
    assert (ran.code, "names the VM same twice" in ran.err) == (2, True)
    ran = await plan(config, "hybrid", *twice[:2], "--without", "same")
    assert (ran.code, "is in --with and in --without" in ran.err) == (2, True)
    (tmp_path / "settings.toml").write_text("")
    ran = await plan(config, "hybrid", "--with", str(tmp_path / "settings.toml"))
    assert (ran.code, "takes VM files" in ran.err) == (2, True)


async def test_a_damaged_record_is_said_and_not_believed(config: Path) -> None:
    record = config / "state" / "vms" / "web1" / "guest.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    ran = await plan(config, None)
    assert "the record of web1 cannot be read" in ran.out


async def test_nothing_is_changed(config: Path) -> None:
    before = sorted(os.listdir(config))
    await plan(config, None, "--reboot")
    await plan(config, None)
    assert sorted(os.listdir(config)) == before
