"""qsup cmdline FILE: spec, host, plan, QEMU's capabilities and argv, in one real process and without a daemon."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

from tests.cli.running import Ran, qsup

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="asks a real QEMU"),
]

VALID = '[machine]\naccel = "tcg"\n\n[cpu]\nvcpus = 1\n\n[memory]\nsize = "64MiB"\n'


async def cmdline(directory: Path, text: str, *words: str) -> Ran:
    await trio.Path(directory / "tiny.toml").write_text(text)
    dirs = ("--run-dir", str(directory / "run"), "--state-dir", str(directory / "state"))
    return await qsup("cmdline", str(directory / "tiny.toml"), *dirs, *words)


async def test_words(tmp_path: Path) -> None:
    ran = await cmdline(tmp_path, VALID)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("qemu-system-x86_64 \\\n    -name ")
    told = (await cmdline(tmp_path, VALID, "--json")).json
    assert told["running"] is False
    assert told["words"][0] == "qemu-system-x86_64"
    assert all(option["why"] for option in told["options"])
    explained = (await cmdline(tmp_path, VALID, "--explain")).out
    assert all(option["why"] in explained for option in told["options"])


async def test_nothing_is_left(tmp_path: Path) -> None:
    await cmdline(tmp_path, VALID)
    assert [path.name for path in await trio.Path(tmp_path).iterdir()] == ["tiny.toml"]


async def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    ran = await cmdline(tmp_path, VALID.replace("64MiB", "900TiB"))
    assert ran.code in (65, 69)
    ran = await cmdline(tmp_path, VALID + '\n[[disk]]\npath = "/nowhere/at/all.raw"\n')
    assert (ran.code, ran.out) == (69, "")
    assert "/nowhere/at/all.raw" in ran.err


async def test_a_bad_file(tmp_path: Path) -> None:
    ran = await cmdline(tmp_path, VALID.replace("vcpus", "vcpu"))
    assert ran.code == 65
    assert "tiny.toml:5:1:" in ran.err
    assert (await qsup("cmdline", str(tmp_path / "gone.toml"))).code == 65


async def test_a_missing_binary(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    await trio.Path(settings).write_text('[daemon]\nqemu = "/nowhere/qemu"\n')
    ran = await cmdline(tmp_path, VALID, "--settings", str(settings))
    assert ran.code == 1
    assert "/nowhere/qemu" in ran.err
