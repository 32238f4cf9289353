"""The walk config → plan → argv on a host that never changes: NAME.toml gives NAME.plan (JSON) and NAME.argv.

NAME.argv has one argument a line. Every VM in configs/ is a case too; its files lie in tests/golden/configs.
`pytest tests/golden --regenerate` writes them; review the difference.
"""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
from attrs import evolve

from qsup.argv.build import build
from qsup.argv.caps import QemuCaps
from qsup.argv.missing import missing_capabilities
from qsup.cpuset import format_cpulist
from qsup.plan.ledger import Ledger
from qsup.plan.place import place
from qsup.plan.policy import HostPolicy
from qsup.plan.vmplan import VmPlan
from qsup.spec.parse import parse_vm
from tests.argv.plans import CAPS
from tests.golden.host import host_for

GOLDEN = Path(__file__).parent
CONFIGS = GOLDEN.parents[1] / "configs"
CASES = sorted(GOLDEN.glob("*.toml")) + sorted(path for path in CONFIGS.glob("*.toml") if "settings" not in path.stem)


def expected_file(case: Path, suffix: str) -> Path:
    folder = GOLDEN if case.parent == GOLDEN else GOLDEN / "configs"
    return folder / f"{case.stem}.{suffix}"


def caps_of(case: Path) -> QemuCaps:
    """The binary; NAME-qemu9.toml meets a newer one."""
    return evolve(CAPS, version=(9, 0, 0)) if case.stem.endswith("-qemu9") else CAPS


def plan_of(case: Path) -> VmPlan:
    spec = parse_vm(case.read_text(), file=case.name, name=case.stem)
    caps = caps_of(case)
    threads = caps.disk_queue_threads
    return place(spec, host_for(spec), HostPolicy(), Ledger(), None, caps.machine_aliases, disk_queue_threads=threads)


def plan_text(plan: VmPlan) -> str:
    """The plan as JSON, without what is at its default, so that a new key changes no other case; sets of pCPUs as cpulists."""
    told = attrs.asdict(plan, filter=lambda field, value: value != field.default)
    return json.dumps(told, indent=1, ensure_ascii=False, default=format_cpulist) + "\n"


def compare(path: Path, text: str, regenerate: bool) -> None:
    if regenerate:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_config_gives_the_recorded_plan_and_command_line(case: Path, regenerate: bool) -> None:
    plan, caps = plan_of(case), caps_of(case)
    assert missing_capabilities(plan, caps) == ()
    compare(expected_file(case, "plan"), plan_text(plan), regenerate)
    compare(expected_file(case, "argv"), "\n".join(build(plan, caps).words()) + "\n", regenerate)


def test_every_golden_file_has_its_config() -> None:
    wanted = {expected_file(case, suffix) for case in CASES for suffix in ("plan", "argv")}
    found = {path for suffix in ("plan", "argv") for path in GOLDEN.rglob(f"*.{suffix}")}
    assert found == wanted
