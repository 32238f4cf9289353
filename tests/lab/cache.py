"""The cache folder: finished things under the digest of what they were made from, each made once."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT_VERSIONS = 2


def root() -> Path:
    """Return the cache folder: $QSUP_LAB_CACHE, or ~/.cache/qsup-lab."""
    return Path(os.environ.get("QSUP_LAB_CACHE") or Path.home() / ".cache" / "qsup-lab")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock beside a path, so that two processes do not make the same thing at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def made(kind: str, name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of a thing, making it first where it is missing.

    A half-made thing is never seen: it is made under another name and renamed when it is complete. Older versions of
    the same kind and name are removed, but for the latest.

    Args:
        make: fills the empty folder that it is given.
    """
    final = root() / kind / f"{name}-{key}"
    with locked(final.with_name(name)):
        if final.is_dir():
            os.utime(final)
            return final
        partial = final.with_name(f"{final.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            make(partial)
            partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        _forget_old(final.parent, name)
        return final


def is_made(kind: str, name: str, key: str) -> bool:
    """Tell whether a thing is in the cache."""
    return (root() / kind / f"{name}-{key}").is_dir()


def _forget_old(folder: Path, name: str) -> None:
    prefix = f"{name}-"
    versions = [path for path in folder.iterdir() if path.is_dir() and path.name.rpartition("-")[0] + "-" == prefix]
    versions.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in versions[KEPT_VERSIONS:]:
        shutil.rmtree(path, ignore_errors=True)
