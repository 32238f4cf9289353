"""Can the lab run here? Asked before anything is built, answered with the reason when it cannot."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable

from . import apt_sources, cache, image
from .outer_qemu import BINARY
from .recipe import HERE

RUN_TOOLS = (BINARY, "qemu-img", "setpriv", "tar")
BUILD_TOOLS = ("mmdebstrap", "dpkg-deb", "mke2fs", "cpio", "strip", "lz4", "xz", "zstd")
FREE_BYTES = 8 << 30
MIRROR_S = 10.0
Check = Callable[[], str | None]


def reason_against(release: str) -> str | None:
    """Return why the lab cannot run here, in one sentence with the way out, or None when it can."""
    checks: list[Check] = [_no_root, _wrong_processor, _missing_tools(RUN_TOOLS)]
    if not image.is_built(release):
        checks += [_missing_tools(BUILD_TOOLS), _no_pip, _no_space, _no_mirror(release)]
    return next((reason for check in checks if (reason := check())), None)


def _no_root() -> str | None:
    return None if os.geteuid() == 0 else "the lab needs root: mmdebstrap makes a root filesystem with it"


def _wrong_processor() -> str | None:
    machine = platform.machine()
    return None if machine == "x86_64" else f"the lab is an x86_64 host and this machine is {machine}"


def _missing_tools(names: tuple[str, ...]) -> Check:
    def check() -> str | None:
        missing = [name for name in names if shutil.which(name) is None]
        packages = HERE / "host-packages.txt"
        return f"the lab needs {', '.join(missing)}: install the packages of {packages}" if missing else None

    return check


def _no_pip() -> str | None:
    return None if importlib.util.find_spec("pip") else "the lab needs pip in this Python's environment, to fetch wheels"


def _no_space() -> str | None:
    folder = cache.root()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    return None if free >= FREE_BYTES else f"the lab needs {FREE_BYTES >> 30} GiB in {folder}, {free >> 30} GiB are free"


def _no_mirror(release: str) -> Check:
    def check() -> str | None:
        address = apt_sources.probe_address(release)
        try:
            with urllib.request.urlopen(address, timeout=MIRROR_S):
                return None
        except (urllib.error.URLError, OSError) as problem:
            return f"the lab's packages cannot be had: {address}: {problem}"

    return check
