"""Templates: booted labs, saved; clones come up from them in about a second.

Strategy: a template's memory lies in files that its QEMU maps shared, so saving writes the devices' state alone. A
clone maps the same files privately (copy on write), brings the state in, and has a disk overlay of its own: the
template is never changed, and any number of clones may run. A template belongs to one build of QEMU and to one kind of
processor; both take part in its key. A template with qsup in it is made from the bare one, not by another boot.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache as remembered
from pathlib import Path

from attrs import frozen

from . import cache, failures, recipe, wheels
from .image import Image, image_of
from .lab import Lab, make_overlay, new_folder
from .machine import Frame, Machine
from .outer_qemu import BINARY, Ram, host_tsc_khz
from .shapes import SHAPES, Shape

INSTALL = recipe.HERE / "install-qsup.sh"
_SOURCES = ("shapes.py", "outer_qemu.py", "template.py")
_WARM = """
qemu-system-x86_64 -machine none -version >/dev/null
/opt/qsup/bin/python -c 'import attrs, cattrs, h11, jeepney.io.trio, psutil, pyroute2, qemu.qmp, tomli, trio'
/opt/qsup/bin/pip --version >/dev/null
cat /opt/guest/* /usr/share/seabios/bios-256k.bin /usr/share/qemu/linuxboot_dma.bin /usr/share/qemu/pvh.bin >/dev/null
tar --version >/dev/null
nft list ruleset
systemctl status >/dev/null
"""
_START = """
systemctl start qsup
qsup list >/dev/null
qsup status >/dev/null
while pidof -q qemu-system-x86_64; do sleep 0.2; done  # the daemon asks QEMU once what it can do
"""


@frozen
class Template:
    """The folder of a saved lab: `ram0`…, `state`, `disk.qcow2`."""

    image: Image
    shape: Shape
    folder: Path

    @property
    def state(self) -> Path:
        """The devices' state."""
        return self.folder / "state"

    def clone(self) -> Lab:
        """Return a new lab that goes on where the template was saved. The caller closes it."""
        frame = Frame(self.image, self.shape, new_folder())
        try:
            make_overlay(self.folder / "disk.qcow2", "qcow2", frame.disk)
            return _start(frame, Ram(self.folder, shared=False), self.state)
        except BaseException:
            shutil.rmtree(frame.folder)
            raise


def bare_template(release: str, shape_name: str) -> Template:
    """Return the template of a host without qsup, booting and saving it first where it is missing."""
    image = image_of(release)
    shape = SHAPES[shape_name]

    def boot(folder: Path) -> None:
        make_overlay(image.disk, "raw", folder / "disk.qcow2")
        lab = _start(Frame(image, shape, folder), Ram(folder, shared=True), None)
        with _saved(lab):
            lab.wait_booted()
            lab.sh(_WARM)

    folder = cache.made("template", f"{release}-{shape.name}", _key(release, shape), boot)
    return Template(image, shape, folder)


def qsup_template(release: str, shape_name: str) -> Template:
    """Return the template of a host on which qsup's wheel is installed as a user would, and its daemon started."""
    bare = bare_template(release, shape_name)
    wheel = wheels.qsup_wheel()

    def install(folder: Path) -> None:
        for source in (*bare.folder.glob("ram*"), bare.folder / "disk.qcow2"):
            subprocess.run(["cp", "--sparse=always", source, folder / source.name], check=True)
        lab = _start(Frame(bare.image, bare.shape, folder), Ram(folder, shared=True), bare.state)
        with _saved(lab):
            install_qsup(lab, wheel)
            lab.sh(_START)

    key = recipe.digest(_key(release, bare.shape), wheel, INSTALL)
    folder = cache.made("template", f"{release}-{shape_name}-qsup", key, install)
    return Template(bare.image, bare.shape, folder)


def install_qsup(lab: Lab, wheel: Path) -> None:
    """Install a wheel of qsup in a lab, or upgrade to it."""
    lab.put(wheel, "/opt/wheels")
    lab.run("sh", "-eu", "-s", f"/opt/wheels/{wheel.name}", stdin=INSTALL.read_text())


@contextmanager
def _saved(lab: Lab) -> Iterator[None]:
    """Save the lab at the end of the block and end its QEMU; without a save when the block fails."""
    folder = lab.frame.folder
    try:
        yield
        lab.settle()
        lab.machine.monitor().save(folder / "state")
    except BaseException as problem:
        evidence = failures.folder_of(f"template-{folder.name}")
        failures.collect(lab, evidence)
        problem.add_note(f"consoles, journal and command lines: {evidence}\nconsole:\n{lab.console()[-4000:]}")
        raise
    finally:
        lab.machine.kill()
        for name in ("agent.sock", "qmp.sock"):
            (folder / name).unlink(missing_ok=True)


def _start(frame: Frame, ram: Ram, state: Path | None) -> Lab:
    return Lab(frame, Machine.start(frame, ram, state))


@remembered
def _machine_words() -> tuple[str, ...]:
    """Return what a template depends on beyond its recipe: this QEMU's build and this processor."""
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return version, platform.machine(), str(host_tsc_khz()), *models[:1]


def _key(release: str, shape: Shape) -> str:
    files = (recipe.HERE / name for name in _SOURCES)
    return recipe.digest(recipe.image_key(release), repr(shape), *_machine_words(), *files)
