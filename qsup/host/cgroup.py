"""Reads the cgroup of a process: its path, its cpuset in force, its memory. Making scopes is the business of process/.

Strategy: cgroup v2 first; on a host where the cpuset controller still sits in a v1 hierarchy, it is read there. What cannot
be read is None. Source: Documentation/admin-guide/cgroup-v2.rst, man 7 cgroups.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from qsup.host.sysfs import is_dir, number_of, read_cpulist, read_text

_MOUNT = re.compile(r"^\S+ \S+ \S+ (\S+) (\S+) .* - (cgroup2?) \S+ (\S+)$", re.MULTILINE)
_ESCAPE = re.compile(r"\\([0-7]{3})")


@frozen
class CgroupMemory:
    """Memory of a cgroup in bytes; `limit_bytes` None means no limit. `oom_kills` counts since the cgroup was made."""

    current_bytes: int
    peak_bytes: int | None
    limit_bytes: int | None
    oom_kills: int


def cgroup_of(pid: int, root: str = "/") -> str | None:
    """The path of a process' cgroup in the v2 hierarchy ("/qsup.slice/qsup-web1.scope"), or None: gone, or no v2.

    Touches:
        /proc/PID/cgroup.
    """
    return _memberships(pid, root).get("")


def cgroup_dir_of(pid: int, root: str = "/") -> str | None:
    """The directory of that cgroup, or None where v2 is not mounted or shows only another part of the tree.

    Touches:
        /proc/PID/cgroup, /proc/self/mountinfo.
    """
    return next(cgroup_dirs_of(pid, "", root), None)


def cpuset_of(pid: int, root: str = "/") -> frozenset[int] | None:
    """The pCPUs that the cgroup of a process allows, or None where no cpuset is in force or it cannot be read.

    Touches:
        cpuset.cpus.effective of the cgroup or of its nearest ancestor that has one; cpuset.effective_cpus on v1.
    """
    for controller, name in (("", "cpuset.cpus.effective"), ("cpuset", "cpuset.effective_cpus")):
        for directory in cgroup_dirs_of(pid, controller, root):
            pcpus = read_cpulist(root, f"{directory}/{name}")
            if pcpus:
                return pcpus
    return None


def read_cgroup_memory(directory: str, root: str = "/") -> CgroupMemory | None:
    """The memory of a v2 cgroup by its directory, or None where the memory controller is not there.

    Touches:
        memory.current, memory.peak (Linux 5.19), memory.max, memory.events.
    """
    current = number_of(read_text(root, f"{directory}/memory.current"))
    if current is None:
        return None
    words = (read_text(root, f"{directory}/memory.events") or "").split()
    events = dict(zip(words[::2], words[1::2], strict=False))
    return CgroupMemory(
        current_bytes=current,
        peak_bytes=number_of(read_text(root, f"{directory}/memory.peak")),
        limit_bytes=number_of(read_text(root, f"{directory}/memory.max")),
        oom_kills=number_of(events.get("oom_kill")) or 0,
    )


def _memberships(pid: int, root: str) -> dict[str, str]:
    """Controller → path of a process; "" is the v2 hierarchy."""
    paths: dict[str, str] = {}
    for line in (read_text(root, f"/proc/{pid}/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if path.startswith("/") and number.isdigit():
            paths.update(dict.fromkeys(controllers.split(","), path.removesuffix(" (deleted)")))
    return paths


def cgroup_dirs_of(pid: int, controller: str, root: str = "/") -> Iterator[str]:
    """The directory of a process' cgroup and those above it, up to the mount, innermost first.

    Args:
        controller: one that sits in a v1 hierarchy, or "" for the v2 hierarchy.
    """
    path = _memberships(pid, root).get(controller)
    mount = _mount_of(controller, root)
    if path is None or mount is None:
        return
    top, point = mount
    if path != top and not path.startswith(top.rstrip("/") + "/"):
        return
    below = path[len(top.rstrip("/")) :].rstrip("/")
    while True:
        if is_dir(root, point + below):
            yield point + below
        if not below:
            return
        below = below.rpartition("/")[0]


def _mount_of(controller: str, root: str) -> tuple[str, str] | None:
    """(root of the mounted part, mount point) of the hierarchy that holds a controller."""
    for top, point, kind, options in _MOUNT.findall(read_text(root, "/proc/self/mountinfo") or ""):
        if (kind == "cgroup2") if controller == "" else (kind == "cgroup" and controller in options.split(",")):
            return _unescaped(top), _unescaped(point)
    return None


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
