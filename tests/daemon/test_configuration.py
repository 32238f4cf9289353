"""The daemon's settings: the file, its absence, and what the planner gets of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsup.daemon.configuration import policy_of, read_settings
from qsup.errors import InvalidInput, KernelRefused
from qsup.spec.settings import SettingsSpec


def test_a_named_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[network]\ncreate_bridges = true\n")
    assert read_settings(str(file)).create_bridges


def test_a_named_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KernelRefused, match="No such file") as caught:
        read_settings(str(tmp_path / "nowhere.toml"))
    assert caught.value.code == "daemon.settings-unreadable"


def test_a_wrong_file_tells_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[network]\ncreate_bridges = 3\n[nonsense]\n")
    with pytest.raises(InvalidInput) as caught:
        read_settings(str(file))
    assert len(caught.value.problems) == 2
    assert {problem.line for problem in caught.value.problems} == {2, 3}


def test_the_policy_has_absolute_directories_and_the_hosts_own_seed() -> None:
    policy = policy_of(SettingsSpec(create_bridges=True), "run", "/var/lib/qsup/")
    assert Path(policy.run_dir).is_absolute()
    assert policy.state_dir == "/var/lib/qsup"
    assert policy.create_bridges
    machine_id = Path("/etc/machine-id")
    assert policy.identity_seed == (machine_id.read_text().strip() if machine_id.exists() else "")
