"""qsup audit on recorded hosts and without a daemon: golden text and JSON of a host with many faults, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qsup.truth.audit.table import RULES
from tests.audit_hosts.recordings import laid_over, write_base
from tests.cli.running import qsup

GOLDEN = Path(__file__).parent / "golden_hosts"
FAULTS = {
    "files": {
        "/sys/module/kvm/parameters/halt_poll_ns": "0",
        "/sys/devices/system/clocksource/clocksource0/current_clocksource": "acpi_pm",
        "/proc/sys/kernel/numa_balancing": "1",
        "/sys/class/net/br0/mtu": "9000",
        "/proc/sys/net/bridge/bridge-nf-call-iptables": False,
        "/proc/sys/net/bridge/bridge-nf-call-ip6tables": "1",
        "/proc/irq/default_smp_affinity": False,
        "/sys/fs/cgroup/qsup.slice/qsup-web1.scope/memory.max": "536870912",
        "/sys/devices/system/cpu/cpufreq/boost": "0",
    },
    "per_pcpu": {"cpuidle/state2/disable": "0"},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("audit") / "host"
    root.mkdir()
    return write_base(root)


@pytest.mark.parametrize("kind", ["txt", "json"])
async def test_golden_audit(kind: str, base: Path, regenerate: bool) -> None:
    with laid_over(base, FAULTS):
        ran = await qsup("audit", "--host", str(base), *(["--json"] if kind == "json" else []))
    assert (ran.code, ran.err) == (1, "")
    text = ran.out
    if kind == "json":
        report = json.loads(ran.out)
        assert report["at_s"] > 0
        text = json.dumps({**report, "at_s": 0}, indent=1, ensure_ascii=False) + "\n"
    golden = GOLDEN / f"audit-faults.{kind}"
    if regenerate:
        golden.write_text(text)
    assert text == golden.read_text()


async def test_a_sound_host(base: Path) -> None:
    ran = await qsup("audit", "--host", str(base))
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)
    assert ran.out.startswith("0 findings; of ")


async def test_this_host_without_a_daemon(tmp_path: Path) -> None:
    ran = await qsup("audit", "--json", "--run-dir", str(tmp_path / "none"), "--config-dir", str(tmp_path))
    assert ran.code in (0, 1, 4)
    assert ran.err == ""
    listed = [*(one["rule_id"] for key in ("findings", "unknown", "irrelevant") for one in ran.json[key]), *ran.json["passed"]]
    assert sorted(listed) == sorted(rule.rule_id for rule in RULES)


async def test_vm_files_are_audited_on_paper(base: Path, tmp_path: Path) -> None:
    (tmp_path / "new1.toml").write_text(
        '[cpu]\nvcpus = 1\n[memory]\nsize = "1GiB"\n[[disk]]\npath = "/x.raw"\ncache = "unsafe"\n'
    )
    (tmp_path / "huge1.toml").write_text('[cpu]\nvcpus = 1\n[memory]\nsize = "1TiB"\n')
    (tmp_path / "bad1.toml").write_text("[cpu]\n")
    ran = await qsup("audit", "--host", str(base), "--config-dir", str(tmp_path), "--json")
    assert ran.code == 1
    assert "disk.cache-unsafe" in [one["rule_id"] for one in ran.json["findings"]]
    assert ran.json["notes"] == [
        f"bad1.toml cannot be planned: qsup check {tmp_path}/bad1.toml says why",
        "huge1 finds no room here and is left out: qsup plan says why",
    ]


async def test_rules_are_explained_without_anybody(tmp_path: Path) -> None:
    nobody = ("--run-dir", str(tmp_path / "none"))
    ran = await qsup("audit", "--explain", "disk.qcow2-small-cache", *nobody)
    assert (ran.code, ran.err) == (0, "")
    assert "63,600" in ran.out
    assert "A. Garcia" in ran.out
    every = await qsup("audit", "--rules", "--json", *nobody)
    assert [rule["rule_id"] for rule in every.json] == [rule.rule_id for rule in RULES]
    one = await qsup("audit", "--explain", RULES[0].rule_id, "--json", *nobody)
    assert one.json == every.json[0]
    assert len((await qsup("audit", "--rules", *nobody)).out.splitlines()) == len(RULES)


async def test_what_is_refused(tmp_path: Path) -> None:
    ran = await qsup("audit", "--explain", "disk.qcow2-small-cach")
    assert (ran.code, ran.err.splitlines()[1]) == (66, "  hint: did you mean disk.qcow2-small-cache?")
    ran = await qsup("audit", "--host", str(tmp_path), "--skip", "no.such")
    assert (ran.code, "[truth.no-such-rule]" in ran.err) == (66, True)
    ran = await qsup("audit", "--host", str(tmp_path / "gone"))
    assert (ran.code, "[cli.no-such-host]" in ran.err) == (66, True)
    ran = await qsup("audit", "--host", str(tmp_path))
    assert (ran.code, "[cli.not-a-recording]" in ran.err) == (65, True)
