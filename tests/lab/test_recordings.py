"""The recorded hosts that the lab can be shaped into come from its real kernel, and are still what it says.

`QSUP_LAB_RECORD=1 pytest tests/lab/test_recordings.py` writes tests/hosts/lab-*.json anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .qsup_host import QsupHost
from .recipe import PROJECT
from .shapes import SHAPES

HOSTS = PROJECT / "tests/hosts"
VARYING = ("/meminfo", "/osrelease", "/free_hugepages")
"""The ends of paths whose content is another at each boot, or with each kernel."""


def tree_in(folder: Path) -> dict[str, str]:
    """Return a recorded directory as tests/hosts keeps it: path → content, an empty directory with a slash at its end."""
    tree = {}
    for path in sorted(folder.rglob("*")):
        name = f"/{path.relative_to(folder)}"
        if path.is_file():
            tree[name] = path.read_text()
        elif not any(path.iterdir()):
            tree[f"{name}/"] = ""
    return tree


def lasting(tree: dict[str, str]) -> dict[str, str]:
    """Return what is the same at each boot."""
    return {path: text for path, text in tree.items() if not path.endswith(VARYING)}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.lab(shape=name), id=name) for name in SHAPES])
def test_the_recorded_host_is_what_the_kernel_says(host: QsupHost, tmp_path: Path, name: str) -> None:
    said = json.loads(host.qsup("topology", "--record", "/srv/recorded", "--json").stdout)
    host.lab.get("/srv/recorded", tmp_path)
    tree = tree_in(tmp_path)
    assert 0 < len(tree) <= said["files"]
    stored = HOSTS / f"lab-{name.replace('_', '-')}.json"
    if os.environ.get("QSUP_LAB_RECORD"):
        stored.write_text(json.dumps(tree, indent=0, sort_keys=True) + "\n")
    kept = json.loads(stored.read_text())
    assert lasting(kept) == lasting(tree)
    assert set(kept) == set(tree)
    live, recorded = (json.loads(host.qsup("topology", "--json", *words).stdout) for words in ((), ("--host", "/srv/recorded")))
    assert [node["caches"] for node in recorded["nodes"]] == [node["caches"] for node in live["nodes"]]
    assert [node["distances"] for node in recorded["nodes"]] == [node["distances"] for node in live["nodes"]]
