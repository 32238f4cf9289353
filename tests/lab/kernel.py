"""The lab's kernel: unpacked from Debian's package, uncompressed for a PVH boot, its modules made quick to load."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

_DECOMPRESS = {
    b"\x02\x21\x4c\x18": ("lz4", "-dc"),
    b"\x28\xb5\x2f\xfd": ("zstd", "-dc"),
    b"\xfd7zX": ("xz", "-dc", "--single-stream"),
    b"\x1f\x8b\x08\x00": ("gzip", "-dc"),
}
_ELF = b"\x7fELF"


@frozen
class Modules:
    """A kernel's modules, as they lie in a root filesystem."""

    folder: Path

    def with_needs(self, names: Sequence[str]) -> tuple[Path, ...]:
        """Return the files of the named modules and of all that they need, each after what it needs.

        A name that is built into the kernel stands for no file.

        Raises: LookupError: a name that is neither a module nor built in.
        """
        needs = self._needs()
        built_in = {Path(line).stem for line in (self.folder / "modules.builtin").read_text().splitlines()}
        order: dict[str, None] = {}
        for name in names:
            if name in needs:
                _collect(name, needs, order)
            elif name not in built_in:
                raise LookupError(f"the kernel in {self.folder} has no module {name}")
        files = {Path(line.partition(":")[0]).stem: self.folder / line.partition(":")[0] for line in self._dep_lines()}
        return tuple(files[name] for name in order)

    def _dep_lines(self) -> list[str]:
        return (self.folder / "modules.dep").read_text().splitlines()

    def _needs(self) -> dict[str, list[str]]:
        """Return module → what it needs directly or not, as depmod lists it."""
        pairs = (line.partition(":") for line in self._dep_lines())
        return {Path(name).stem: [Path(need).stem for need in needs.split()] for name, _, needs in pairs}


def _collect(name: str, needs: dict[str, list[str]], order: dict[str, None]) -> None:
    # depmod lists the nearest need first and the deepest last
    for need in needs[name]:
        if need not in order:
            _collect(need, needs, order)
    order[name] = None


def unpack(rootfs: Path, unused: Iterable[str]) -> tuple[str, Path]:
    """Unpack the kernel package that lies in /kernel of the root filesystem, and remove that folder.

    Returns: the kernel's release (as `uname -r` says it), and its bzImage beside the root filesystem.
    """
    tree = rootfs.with_name("kernel-tree")
    (package,) = (rootfs / "kernel").glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, tree], check=True)
    (bzimage,) = (tree / "boot").glob("vmlinuz-*")
    release = bzimage.name.removeprefix("vmlinuz-")
    (modules,) = (path for path in tree.glob(f"**/lib/modules/{release}") if path.is_dir())
    for name in unused:
        shutil.rmtree(modules / "kernel" / name, ignore_errors=True)
    _lighten(modules)
    target = rootfs / "usr" / "lib" / "modules" / release
    target.parent.mkdir(exist_ok=True)
    shutil.move(modules, target)
    kept = rootfs.with_name("bzImage")
    shutil.move(bzimage, kept)
    shutil.rmtree(tree)
    shutil.rmtree(rootfs / "kernel")
    subprocess.run(["chroot", rootfs, "depmod", release], check=True)
    return release, kept


def _lighten(modules: Path) -> None:
    """Remove compression, debug information and signatures: under TCG, checking these is most of a module's load time."""
    _each(modules, "*.ko.xz", ["xz", "-d"])
    _each(modules, "*.ko", ["strip", "--strip-debug"])


def _each(folder: Path, pattern: str, command: list[str]) -> None:
    files = "\0".join(str(path) for path in folder.rglob(pattern))
    if files:
        subprocess.run(["xargs", "-0", "-P2", "-n100", *command], input=files.encode(), check=True)


def write_vmlinux(bzimage: Path, vmlinux: Path) -> None:
    """Write the ELF kernel that a bzImage carries compressed.

    Source: the kernel's Documentation/arch/x86/boot.rst, setup_sects (0x1f1), payload_offset (0x248) and length (0x24c).
    """
    image = bzimage.read_bytes()
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start : start + length]
    command = next(words for magic, words in _DECOMPRESS.items() if payload.startswith(magic[:3]))
    # the payload ends in its own length, which the tools report as garbage after having written everything
    done = subprocess.run(command, input=payload, capture_output=True, check=False)
    if not done.stdout.startswith(_ELF):
        raise ValueError(f"{bzimage}: no ELF kernel in its payload: {done.stderr.decode(errors='replace')}")
    vmlinux.write_bytes(done.stdout)
    subprocess.run(["strip", vmlinux], check=True)
