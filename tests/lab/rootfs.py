"""The lab's root filesystem: Debian by mmdebstrap, then what turns it into the lab."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from . import apt_sources, recipe


def bootstrap(release: str, rootfs: Path) -> None:
    """Make the root filesystem of a Debian release, with the kernel's package in /kernel.

    Touches: the Debian mirror; the folder, which must not be there yet. Needs root.
    """
    sources = rootfs.with_name("apt.sources")
    sources.write_text(apt_sources.sources(release))
    fetch = recipe.HERE / "fetch-kernel.sh"
    command = [
        *("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--skip=check/empty"),
        f"--include={','.join(recipe.PACKAGES)}",
        '--aptopt=APT::Install-Recommends "0"',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={path}" for path in recipe.UNUSED_PATHS),
        f'--customize-hook=sh {fetch} "$1" {recipe.KERNEL_PACKAGE}',
        *(release, str(rootfs), str(sources)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"mmdebstrap failed with status {done.returncode}:\n{done.stderr[-4000:]}")


def configure(rootfs: Path) -> None:
    """Turn plain Debian into the lab: its files, its agent, its masked units, a root without a password."""
    for name, text in recipe.FILES.items():
        path = rootfs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    library = rootfs / "usr/local/lib/lab/inside"
    shutil.copytree(recipe.HERE / "inside", library, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(library / "lab-agent.service", rootfs / "etc/systemd/system/lab-agent.service")
    (rootfs / "var/log/journal").mkdir(exist_ok=True)
    _chroot(rootfs, "systemctl", "--quiet", "enable", "lab-agent.service")
    _chroot(rootfs, "systemctl", "--quiet", "mask", *recipe.MASKED_UNITS)
    _chroot(rootfs, "passwd", "--quiet", "--delete", "root")
    _chroot(rootfs, "python3", "-m", "compileall", "-q", "/usr/local/lib/lab")


def install_dependencies(rootfs: Path, wheels: Path) -> None:
    """Make /opt/qsup, a virtual environment that holds all that qsup needs, from wheels kept in /opt/wheels."""
    shutil.copytree(wheels, rootfs / "opt/wheels")
    _chroot(rootfs, "python3", "-m", "venv", "/opt/qsup")
    pip = (
        "/opt/qsup/bin/pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-index",
        "--find-links",
        "/opt/wheels",
    )
    _chroot(rootfs, *pip, *recipe.dependencies())


def _chroot(rootfs: Path, *argv: str) -> None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(
        ["chroot", rootfs, *argv], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"in the lab's root filesystem: {argv}: status {done.returncode}:\n{done.stdout}{done.stderr}")
