"""qsup check: all problems of all files, and those between files; a real process, no daemon."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.cli.running import Ran, qsup

VALID = '[cpu]\nvcpus = 2\n\n[memory]\nsize = "1GiB"\n'


async def check(directory: Path, files: dict[str, str], *words: str) -> Ran:
    for name, text in files.items():
        await trio.Path(directory / name).write_text(text)
    return await qsup("check", *(words or ("--config-dir", str(directory))))


async def test_valid_files(tmp_path: Path) -> None:
    ran = await check(tmp_path, {"web1.toml": VALID, "web2.toml": VALID, ".hidden.toml": "x", "notes.txt": "x"})
    assert (ran.code, ran.out) == (0, f"{tmp_path}/web1.toml: valid\n{tmp_path}/web2.toml: valid\n")


async def test_all_problems_of_all_files(tmp_path: Path) -> None:
    files = {"a.toml": VALID.replace("vcpus", "vcpu"), "b.toml": VALID, "c.toml": "[cpu\n", "-d.toml": VALID}
    ran = await check(tmp_path, files, "--config-dir", str(tmp_path), "--json")
    assert ran.code == 65
    assert [(Path(row["file"]).name, row["valid"]) for row in ran.json] == [
        ("-d.toml", False),
        ("a.toml", False),
        ("b.toml", True),
        ("c.toml", False),
    ]
    unknown = next(row for row in ran.json[1]["problems"] if row["code"] == "spec.unknown-key")
    assert (unknown["file"], unknown["line"], unknown["column"]) == (f"{tmp_path}/a.toml", 2, 1)
    assert "vcpus" in unknown["hint"]
    text = await check(tmp_path, {})
    assert f"{tmp_path}/a.toml:2:1: error [spec.unknown-key]" in text.out
    assert "  hint: " in text.out


async def test_named_files_and_directories(tmp_path: Path) -> None:
    ran = await check(tmp_path, {"a.toml": VALID, "b.toml": "x"}, str(tmp_path / "a.toml"))
    assert ran.code == 0
    ran = await qsup("check", str(tmp_path), str(tmp_path / "b.toml"))
    assert (ran.code, ran.out.count("b.toml:1:")) == (65, 1)


async def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    await trio.Path(tmp_path / "latin.toml").write_bytes(b"# \xe4\n")
    ran = await qsup("check", str(tmp_path / "gone.toml"), str(tmp_path / "latin.toml"), "--json")
    assert ran.code == 65
    assert [row["problems"][0]["code"] for row in ran.json] == ["cli.file-unreadable", "spec.not-utf8"]
    ran = await qsup("check", "--config-dir", str(tmp_path / "nowhere"))
    assert (ran.code, ran.out) == (66, "")


async def test_an_empty_directory(tmp_path: Path) -> None:
    ran = await qsup("check", "--config-dir", str(tmp_path))
    assert (ran.code, ran.out) == (0, "no VM files here: a VM file is called NAME.toml\n")


async def test_settings(tmp_path: Path) -> None:
    ran = await check(tmp_path, {"settings.toml": "[daemon]\non_removed = 3\n"}, str(tmp_path / "settings.toml"))
    assert ran.code == 65
    assert "settings.toml:2:14" in ran.out


DISK = '\n[[disk]]\npath = "{}"\n'
NIC = '\n[[nic]]\nbridge = "br0"\n{}\n'


@pytest.mark.parametrize(
    ("first", "second", "codes"),
    [
        (DISK.format("/srv/a.raw"), DISK.format("/srv/a.raw"), ["cli.shared-image"]),
        (DISK.format("/srv/a.raw"), DISK.format("/srv/a.raw") + "readonly = true\n", ["cli.shared-image"]),
        (DISK.format("/srv/a.raw") + "readonly = true\n", DISK.format("/srv/a.raw") + "readonly = true\n", []),
        (DISK.format("/srv/a.raw"), DISK.format("/srv/b.raw"), []),
        (NIC.format('mac = "52:54:00:00:00:0a"'), NIC.format('mac = "52:54:00:00:00:0A"'), ["cli.shared-mac"]),
        (NIC.format('tap = "t0"'), NIC.format('tap = "t0"'), ["cli.shared-tap"]),
        (NIC.format(""), NIC.format(""), []),
    ],
)
async def test_what_two_files_may_not_both_ask(tmp_path: Path, first: str, second: str, codes: list[str]) -> None:
    ran = await check(tmp_path, {"a.toml": VALID + first, "b.toml": VALID + second}, str(tmp_path), "--json")
    assert ran.code == (65 if codes else 0)
    for row, other in zip(ran.json, ("b.toml", "a.toml"), strict=True):
        assert [problem["code"] for problem in row["problems"]] == codes
        for problem in row["problems"]:
            assert other in problem["message"]
            assert problem["line"] >= 8
            assert problem["column"] > 1


async def test_two_names_of_one_image(tmp_path: Path) -> None:
    image, link = tmp_path / "a.raw", tmp_path / "b.raw"
    await trio.Path(link).symlink_to(image)
    files = {"a.toml": VALID + DISK.format(image), "b.toml": VALID + DISK.format(link)}
    ran = await check(tmp_path, files)
    assert (ran.code, ran.out.count("[cli.shared-image]")) == (65, 2)
