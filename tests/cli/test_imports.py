"""What each verb loads: client verbs the standard library only, so that they stay quick."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from qsup.cli.verb_table import VERBS
from tests.api.serving import serving
from tests.cli.running import ENVIRONMENT
from tests.cli.top.terminal import on_terminal

PROBE = """
import json, os, sys
before = set(sys.modules)
from qsup.cli.main import entry
try:
    code = entry(sys.argv[2:])
except SystemExit as error:
    code = error.code
with open(sys.argv[1], "w") as file:
    json.dump({"code": code, "loaded": sorted(set(sys.modules) - before)}, file)
"""
CLIENT_WORDS = {
    "list": ["list"],
    "status": ["status", "web1"],
    "start": ["start", "web1"],
    "stop": ["stop", "web1"],
    "restart": ["restart", "web1"],
    "reset": ["reset", "web1"],
    "pause": ["pause", "web1"],
    "resume": ["resume", "web1"],
    "cmdline": ["cmdline", "web1", "--explain"],
    "console": ["console", "db1"],
    "events": ["events"],
    "timeline": ["timeline", "web1"],
    "wait": ["wait", "web1"],
    "top": ["top", "--once"],
    "verify": ["verify", "big1"],
    "audit": ["audit"],
    "qmp": ["qmp", "web1", "query-status"],
    "hmp": ["hmp", "web1", "info"],
}
OFFLINE_VERBS = {"daemon", "check", "plan", "topology"}
SLOW = {
    "asyncio",
    "http.client",
    "urllib.request",
    "email",
    "inspect",
    "dataclasses",
    "typing_extensions",
    "ssl",
    "logging",
    "typing",
    "shutil",
}


def loaded_by(tmp_path: Path, words: list[str]) -> tuple[int, set[str]]:
    report = tmp_path / "loaded.json"
    command = [sys.executable, "-c", PROBE, str(report), *words]
    environment = ENVIRONMENT | {"QSUP_RUN_DIR": str(tmp_path)}
    subprocess.run(command, env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    told = json.loads(report.read_text())
    return told["code"], set(told["loaded"])


def foreign(modules: set[str]) -> set[str]:
    tops = {name.partition(".")[0] for name in modules}
    return tops - set(sys.stdlib_module_names) - {"qsup"}


def test_every_verb_is_probed() -> None:
    assert set(CLIENT_WORDS) | OFFLINE_VERBS == set(VERBS)


@pytest.mark.parametrize("verb", sorted(CLIENT_WORDS))
async def test_client_verbs_load_the_standard_library_only(tmp_path: Path, verb: str) -> None:
    async with serving(tmp_path):
        code, loaded = await trio.to_thread.run_sync(loaded_by, tmp_path, CLIENT_WORDS[verb])
    assert code == (1 if verb in ("console", "audit") else 0)
    assert foreign(loaded) == set()
    assert loaded & SLOW == set()
    others = {f"qsup.cli.verbs.{other}" for other in VERBS if other != verb}
    assert loaded & others == set()


async def test_the_full_screen_alone_loads_textual(tmp_path: Path) -> None:
    """Of `top` the frame as text and as JSON are client verbs as any other; the screen has a library of its own."""
    report = tmp_path / "loaded.json"
    async with serving(tmp_path):
        command = [sys.executable, "-c", PROBE, str(report), "top"]
        with on_terminal(command, {"QSUP_RUN_DIR": str(tmp_path)}) as terminal:
            await trio.to_thread.run_sync(terminal.until, "web1")
            terminal.press("q")
            await trio.to_thread.run_sync(terminal.until_ended)
    loaded = set(json.loads(report.read_text())["loaded"])
    assert "textual" in foreign(loaded)
    assert not foreign(loaded) & {"trio", "attr", "attrs", "cattrs", "pyroute2", "psutil"}, "nothing of the daemon's"


@pytest.mark.parametrize("words", [["--help"], ["start", "--help"], ["daemon", "--help"], ["check", "--help"]])
def test_help_loads_nothing_more(tmp_path: Path, words: list[str]) -> None:
    code, loaded = loaded_by(tmp_path, words)
    assert (code, foreign(loaded)) == (0, set())


def test_offline_status_loads_the_standard_library_only(tmp_path: Path) -> None:
    code, loaded = loaded_by(tmp_path, ["status", "web1", "--offline"])
    assert (code, foreign(loaded)) == (3, set())
