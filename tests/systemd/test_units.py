"""The units: systemd understands every word, and the order of shutdown is the one that keeps guests whole.

What only a running systemd can show is shown in the lab.
"""

from __future__ import annotations

import argparse
import configparser
import importlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from qsup.cli.verb_table import VERBS

SHIPPED = Path(__file__).parents[2] / "systemd"
SYSTEM_UNITS = Path("/usr/lib/systemd/system")
UNITS = ("qsup.service", "qsup-guests.service", "qsup.slice")
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or not SYSTEM_UNITS.is_dir(), reason="systemd is not installed here"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory with systemd's own units, ours, and a program where qsup would be."""
    units = tmp_path / "usr/lib/systemd/system"
    shutil.copytree(SYSTEM_UNITS, units, symlinks=True)
    for name in UNITS:
        shutil.copy(SHIPPED / name, units)
    for path in (tmp_path / "usr/local/bin/qsup", tmp_path / "bin/true"):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", path)
    return tmp_path


def words_of(unit: str, section: str, key: str) -> list[str]:
    """All words of a key that may be written several times."""
    lines = (SHIPPED / unit).read_text().partition(f"[{section}]")[2].partition("\n[")[0].splitlines()
    return [word for line in lines if line.startswith(f"{key}=") for word in line.partition("=")[2].split()]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_to_say(root: Path, unit: str) -> None:
    done = run("systemd-analyze", f"--root={root}", "verify", "--man=no", unit)
    assert (done.stdout, done.returncode) == ("", 0)


@needs_systemd
def test_a_wrong_word_would_be_found(root: Path) -> None:
    unit = root / "usr/lib/systemd/system/qsup.service"
    unit.write_text(unit.read_text().replace("KillMode=", "KilMode="))
    assert "KilMode" in run("systemd-analyze", f"--root={root}", "verify", "--man=no", unit.name).stdout


@needs_systemd
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the directories belong to root")
def test_directories_are_made_as_the_daemon_wants_them(tmp_path: Path) -> None:
    done = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", SHIPPED / "qsup.tmpfiles")
    assert done.returncode == 0, done.stdout
    modes = {name: oct((tmp_path / name).stat().st_mode & 0o777) for name in ("etc/qsup/vms.d", "run/qsup", "var/lib/qsup")}
    assert modes == {"etc/qsup/vms.d": "0o755", "run/qsup": "0o755", "var/lib/qsup": "0o700"}


@needs_systemd
def test_group_is_made(tmp_path: Path) -> None:
    done = run("systemd-sysusers", "--dry-run", f"--root={tmp_path}", SHIPPED / "qsup.sysusers")
    assert "qsup" in done.stdout
    assert done.returncode == 0


def test_guests_are_stopped_before_daemon_network_and_storage() -> None:
    after = words_of("qsup-guests.service", "Unit", "After")
    assert {"qsup.service", "network.target", "local-fs.target", "remote-fs.target"} <= set(after)


def test_restarting_the_daemon_does_not_stop_guests() -> None:
    for key in ("Requires", "Requisite", "BindsTo", "PartOf"):
        assert words_of("qsup-guests.service", "Unit", key) == []
    assert words_of("qsup.service", "Unit", "Conflicts") == []
    assert words_of("qsup.service", "Service", "KillMode") == ["process"]


def test_daemon_arms_the_guests_unit() -> None:
    assert words_of("qsup.service", "Unit", "Wants") == ["qsup-guests.service"]


@pytest.mark.parametrize("unit", ["qsup.service", "qsup-guests.service"])
def test_nothing_gives_the_unit_a_mount_namespace_or_a_filter(unit: str) -> None:
    """A QEMU would inherit either (systemd.exec(5)): images would be unreachable, system calls fail."""
    text = configparser.ConfigParser(strict=False, interpolation=None)
    text.optionxform = str  # type: ignore[assignment,method-assign]
    text.read(SHIPPED / unit)
    prefixes = ("Protect", "Private", "Restrict", "SystemCall", "ReadOnly", "ReadWrite", "Inaccessible", "Bind", "Capability")
    exact = {"NoNewPrivileges", "LockPersonality", "MemoryDenyWriteExecute", "DynamicUser", "RootDirectory", "OOMScoreAdjust"}
    guilty = [
        key for key in text["Service"] if key in exact or (key.startswith(prefixes) and key != "RestartPreventExitStatus")
    ]
    assert guilty == []


@pytest.mark.parametrize(("unit", "key"), [("qsup.service", "ExecStart"), ("qsup-guests.service", "ExecStop")])
def test_command_is_one_of_qsup(unit: str, key: str) -> None:
    program, verb, *words = words_of(unit, "Service", key)
    assert program == "/usr/local/bin/qsup"
    parser = argparse.ArgumentParser(allow_abbrev=False)
    importlib.import_module(VERBS[verb].module).configure(parser)
    parser.parse_args(words)
