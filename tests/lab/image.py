"""The lab's image: a disk, a kernel and an initramfs, made from Debian packages, kept under the recipe's digest."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

from attrs import frozen

from . import cache, recipe, rootfs, wheels
from .initramfs import write_initramfs
from .kernel import Modules, unpack, write_vmlinux


@frozen
class Image:
    """The folder of a finished image."""

    folder: Path

    @property
    def disk(self) -> Path:
        """A raw ext4 filesystem; never written to, clones have overlays."""
        return self.folder / "disk.img"

    @property
    def kernel(self) -> Path:
        """The uncompressed kernel."""
        return self.folder / "vmlinux"

    @property
    def initramfs(self) -> Path:
        """What loads the disk's modules."""
        return self.folder / "initramfs"

    @property
    def kernel_release(self) -> str:
        """What `uname -r` says in the lab."""
        facts: dict[str, str] = json.loads((self.folder / "image.json").read_text())
        return facts["kernel"]


def image_of(release: str) -> Image:
    """Return the image for a Debian release; from nothing it takes a minute or two, a network and root."""
    return Image(cache.made("image", release, recipe.image_key(release), lambda folder: _build(release, folder)))


def is_built(release: str) -> bool:
    """Tell whether the image is in the cache."""
    return cache.is_made("image", release, recipe.image_key(release))


def _build(release: str, folder: Path) -> None:
    begun_s = time.monotonic()
    house = wheels.wheelhouse(release)
    tree = folder / "rootfs"
    try:
        rootfs.bootstrap(release, tree)
        kernel, bzimage = unpack(tree, recipe.UNUSED_MODULES)
        rootfs.configure(tree)
        rootfs.install_dependencies(tree, house)
        write_vmlinux(bzimage, folder / "vmlinux")
        _add_initramfses(folder, tree, kernel)
        _add_guest_payload(folder, tree)
        _write_disk(tree, folder / "disk.img")
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    facts = {"release": release, "kernel": kernel, "built_in_s": round(time.monotonic() - begun_s, 1)}
    (folder / "image.json").write_text(json.dumps(facts, indent=1) + "\n")


def _add_initramfses(folder: Path, tree: Path, kernel: str) -> None:
    modules = Modules(tree / "usr/lib/modules" / kernel)
    busybox = tree / "bin/busybox"
    inside = recipe.HERE / "inside"
    write_initramfs(folder / "initramfs", inside / "lab-init.sh", busybox, modules, recipe.LAB_DISK_MODULES)
    write_initramfs(folder / "guest-initramfs", inside / "guest-init.sh", busybox, modules, recipe.GUEST_MODULES)


def _add_guest_payload(folder: Path, tree: Path) -> None:
    """Put what a nested guest boots from into /opt/guest of the lab."""
    guest = tree / "opt/guest"
    guest.mkdir(parents=True)
    shutil.copy(folder / "vmlinux", guest / "vmlinux")
    shutil.move(folder / "bzImage", guest / "bzImage")
    shutil.move(folder / "guest-initramfs", guest / "initramfs")


def _write_disk(tree: Path, disk: Path) -> None:
    """Write an ext4 filesystem straight from the folder, without a mount."""
    with disk.open("wb") as file:
        file.truncate(recipe.DISK_BYTES)
    options = ["-q", "-t", "ext4", "-J", "size=16", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", "-m", "0"]
    subprocess.run(["mke2fs", *options, "-N", "131072", "-d", tree, disk], check=True)
