"""The demo's guest: Debian's cloud kernel, fetched by apt and unpacked, with a busybox initramfs made on the spot."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path

from attrs import frozen

from tests.lab.initramfs import write_initramfs
from tests.lab.kernel import Modules
from tests.lab.recipe import GUEST_MODULES, KERNEL_PACKAGE

HERE = Path(__file__).parent
BUSYBOX = Path("/bin/busybox")


@frozen
class Guest:
    """What QEMU boots."""

    kernel: Path
    initramfs: Path
    release: str


def built_guest(cache: Path) -> Guest:
    """The guest; its kernel is fetched once and kept in the cache folder, the initramfs is made each time.

    Touches: the distribution's mirror, through apt-get.
    """
    tree = cache / "kernel"
    if not tree.is_dir():
        _fetch_kernel(tree)
    (kernel,) = (tree / "boot").glob("vmlinuz-*")
    release = kernel.name.removeprefix("vmlinuz-")
    initramfs = cache / "initramfs"
    shutil.rmtree(initramfs.with_suffix(".tree"), ignore_errors=True)
    modules = Modules(tree / "lib" / "modules" / release)
    write_initramfs(initramfs, HERE / "guest-init.sh", BUSYBOX, modules, GUEST_MODULES)
    return Guest(kernel, initramfs, release)


def _fetch_kernel(tree: Path) -> None:
    """A half-made tree is never taken for a whole one: it has another name until it is complete."""
    partial = tree.with_name("kernel.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "usr").mkdir(parents=True)
    (partial / "lib").symlink_to("usr/lib")  # as on the host: Debian 12's package has /lib, later ones /usr/lib
    package = _downloaded(_kernel_package(), partial)
    subprocess.run(["dpkg-deb", "-x", package, partial], check=True)
    package.unlink()
    (modules,) = (partial / "lib" / "modules").iterdir()
    for path in modules.rglob("*.ko.xz"):
        path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
        path.unlink()
    subprocess.run(["depmod", "--basedir", partial, modules.name], check=True)
    partial.rename(tree)


def _kernel_package() -> str:
    """The package for which the meta package stands today."""
    words = ["apt-cache", "depends", "--important", KERNEL_PACKAGE]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    names = [line.partition("Depends: ")[2] for line in lines if "Depends: linux-image-" in line]
    if not names:
        raise SystemExit(f"demo: apt does not know {KERNEL_PACKAGE}: run apt-get update, or use Debian on x86_64")
    return names[0]


def _downloaded(package: str, folder: Path) -> Path:
    words = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"demo: {package} could not be fetched:\n{done.stderr}")
    (path,) = folder.glob("*.deb")
    return path
