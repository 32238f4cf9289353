"""docs/placement-examples.md is what qsup says: its commands are run on recorded hosts, answers and pictures compared.

Each section has a directory of its own with the files of its `toml` blocks; a `console` block is a command and its answer.
`pytest tests/cli/test_examples_page.py --regenerate` writes the answers and the pictures anew.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio

from qsup.api.ledger_wire import ledger_json
from qsup.bytesize import GIB, MIB
from qsup.plan.ledger import Ledger
from qsup.spec.memory import MemorySpec
from qsup.spec.vmspec import VmSpec
from tests.cli.running import ENVIRONMENT, REPOSITORY, words_of
from tests.host.recorded import recorded_facts, tree_of_recording
from tests.host.synthesize import HOSTS_DIR
from tests.plan.asking import ask, dedicated, settle

PAGE = REPOSITORY / "docs" / "placement-examples.md"
PICTURES = REPOSITORY / "docs" / "pictures"
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
TOML = re.compile(r"^```toml\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n\$ qsup (.+?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"^!\[.+?\]\((.+?)\)$", re.MULTILINE)


def sections() -> dict[str, str]:
    """Title → text of each section."""
    parts = SECTION.split(PAGE.read_text(encoding="utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def crowded() -> str:
    """two-sockets-smt, recorded while every second of fourteen small VMs still ran on node 0 and node 1 was full."""
    tree, facts, ledger = tree_of_recording("two-sockets-smt"), recorded_facts("two-sockets-smt"), Ledger()
    for spec in (_vm("db1", 16, 1), *(_vm(f"job{number}", 1, 0) for number in range(1, 15))):
        ledger = settle(ledger, ask(spec, facts, ledger), facts)
    for number in range(1, 15, 2):
        ledger = ledger.released(f"job{number}")
    tree["/qsup/ledger.json"] = json.dumps(ledger_json(ledger))
    return json.dumps(tree)


def _vm(name: str, vcpus: int, host_node: int) -> VmSpec:
    memory = MemorySpec(size_bytes=vcpus * GIB // 2, hugepages_bytes=2 * MIB, host_nodes=frozenset({host_node}))
    return dedicated(name, vcpus, memory=memory)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("hosts")
    (directory / "crowded.json").write_text(crowded(), encoding="utf-8")
    return directory


@pytest.mark.parametrize("title", sections())
async def test_the_page_says_what_qsup_says(title: str, hosts: Path, tmp_path: Path, regenerate: bool) -> None:
    text = sections()[title]
    _lay_out(text, (HOSTS_DIR, hosts), tmp_path)
    for command, told in CONSOLE.findall(text):
        answer = await _answer(command, tmp_path)
        if regenerate:
            page = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(page.replace(f"$ qsup {command}\n{told}```", f"$ qsup {command}\n{answer}```"), encoding="utf-8")
        else:
            assert told == answer
    for drawing in (tmp_path / "pictures").iterdir():
        if regenerate:
            (PICTURES / drawing.name).write_bytes(drawing.read_bytes())
        assert (PICTURES / drawing.name).read_bytes() == drawing.read_bytes()
    assert {f"pictures/{drawing.name}" for drawing in (tmp_path / "pictures").iterdir()} == set(PICTURE.findall(text))


def _lay_out(text: str, recordings: Iterable[Path], directory: Path) -> None:
    """The files of a section, and every recorded host beside them."""
    for path in (path for recording in recordings for path in recording.glob("*.json")):
        (directory / path.name).symlink_to(path)
    for name, content in TOML.findall(text):
        (directory / name).write_text(content, encoding="utf-8")
    (directory / "pictures").mkdir()


async def _answer(command: str, directory: Path) -> str:
    """What one command of the page prints, run where its files are."""
    done = await trio.run_process(
        words_of(*shlex.split(command)),
        check=False,
        capture_stdout=True,
        capture_stderr=True,
        cwd=directory,
        env=ENVIRONMENT,
    )
    assert done.stderr == b""
    return done.stdout.decode()


def test_every_picture_is_on_the_page() -> None:
    assert {f"pictures/{path.name}" for path in PICTURES.iterdir()} == set(PICTURE.findall(PAGE.read_text(encoding="utf-8")))
