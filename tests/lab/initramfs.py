"""Initramfs archives: busybox, one init script, and modules in the order in which they are to be loaded."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .kernel import Modules


def write_initramfs(target: Path, init: Path, busybox: Path, modules: Modules, wanted: Sequence[str]) -> None:
    """Write an archive whose /init is the given script and whose /mod/order lists the modules with their needs first."""
    tree = target.with_suffix(".tree")
    for name in ("bin", "dev", "mod", "proc", "root", "sys"):
        (tree / name).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin" / "busybox")
    shutil.copy(init, tree / "init")
    (tree / "init").chmod(0o755)
    paths = modules.with_needs(wanted)
    for path in paths:
        shutil.copy(path, tree / "mod" / path.name)
    (tree / "mod" / "order").write_text("".join(f"{path.stem}\n" for path in paths))
    names = "\n".join(sorted(str(path.relative_to(tree)) for path in tree.rglob("*")))
    with target.open("wb") as archive:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names.encode(), stdout=archive, check=True)
    shutil.rmtree(tree)
