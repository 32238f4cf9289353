"""Nova from the package index, in an environment of its own: made when it is first needed, kept in the cache directory.

400 MB, for this one comparison: no group of pyproject.toml has it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

NOVA = "nova==34.0.0"


def environment_dir() -> Path:
    """Where it lies, there or not."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "qsup-bench" / NOVA.replace("==", "-")


def nova_python() -> Path:
    """The interpreter that can import Nova; installs it where that is missing or was left half done.

    Raises:
        subprocess.CalledProcessError: the package index does not give it.
    """
    directory = environment_dir()
    python, whole = directory / "bin" / "python", directory / "whole"
    if whole.exists():
        return python
    shutil.rmtree(directory, ignore_errors=True)
    print(f"  installing {NOVA} into {directory}: 400 MB, a few minutes, once", file=sys.stderr, flush=True)
    venv.create(directory, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", NOVA], check=True)
    whole.touch()
    return python
