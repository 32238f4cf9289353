"""Wheels: of all that qsup needs, for the lab's Python, and of qsup itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from . import cache, recipe

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "linux_x86_64")
_WHEEL_SOURCES = ("qsup", "systemd", "configs", "pyproject.toml", "README.md", "LICENSE")


def wheelhouse(release: str) -> Path:
    """Return a folder with the wheels of everything that qsup needs at run time, for a release's Python."""
    python = recipe.RELEASES[release]
    names = recipe.dependencies()

    def download(folder: Path) -> None:
        platforms = [word for name in _PLATFORMS for word in ("--platform", name)]
        target = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
        _run(*_PIP, "download", "--dest", str(folder), *target, *platforms, *names)

    return cache.made("wheelhouse", release, recipe.digest(python, *names), download)


def qsup_wheel() -> Path:
    """Return qsup's wheel: $QSUP_LAB_WHEEL, or one built from this checkout (once per content)."""
    if given := os.environ.get("QSUP_LAB_WHEEL"):
        return Path(given)

    def build(folder: Path) -> None:
        _run(*_PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(recipe.PROJECT))

    present = [path for name in _WHEEL_SOURCES if (path := recipe.PROJECT / name).exists()]
    (wheel,) = cache.made("wheel", "qsup", recipe.digest(*present), build).glob("*.whl")
    return wheel


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}:\n{done.stdout}{done.stderr}")
