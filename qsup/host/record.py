"""Records a machine: copies the few kernel files that the readers of this room use into a small tree.

The tree holds no address, no serial number, no firmware, and no names but those of network links and of mount points and block
devices whose hardware has a host node: it may be shown to others.
`read_host_facts(root=DIRECTORY)` then tells of that machine. A tree also packs into one JSON file (path → content; a path
that ends with "/" is an empty directory), which is how tests/hosts keeps them.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from qsup.host.block_locality import recorded_locality
from qsup.host.boot_settings import boot_files, boot_words
from qsup.host.facts import UEFI_PAIRS
from qsup.host.rights import KVM_PATH, VHOST_NET_PATH, read_kvm_problem, read_vhost_net
from qsup.host.sysfs import read_text, rooted

_FILES = (
    "/sys/devices/system/cpu/present",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/isolated",
    "/sys/devices/system/cpu/nohz_full",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/core_cpus_list",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/die_cpus_list",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/package_cpus_list",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/core_id",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/die_id",
    "/sys/devices/system/cpu/cpu[0-9]*/topology/physical_package_id",
    "/sys/devices/system/cpu/cpu[0-9]*/cache/index*/level",
    "/sys/devices/system/cpu/cpu[0-9]*/cache/index*/shared_cpu_list",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq",
    "/sys/devices/cpu_*/cpus",
    "/sys/devices/system/node/online",
    "/sys/devices/system/node/node[0-9]*/cpulist",
    "/sys/devices/system/node/node[0-9]*/distance",
    "/sys/devices/system/node/node[0-9]*/meminfo",
    "/sys/devices/system/node/node[0-9]*/hugepages/hugepages-*kB/*_hugepages",
    "/sys/kernel/mm/hugepages/hugepages-*kB/*_hugepages",
    "/sys/fs/cgroup/cpuset.cpus.isolated",
    "/sys/class/net/*/mtu",
    "/sys/class/net/*/device/numa_node",
    "/proc/meminfo",
    "/proc/sys/kernel/osrelease",
)
_DIRECTORIES = (
    "/sys/devices/system/cpu/cpu[0-9]*/node[0-9]*",
    "/sys/devices/system/node/node[0-9]*",
    "/sys/class/net/*/bridge",
    "/sys/class/net/*/lower_*",
)
_CACHE_LEVEL = re.compile(r"(.*/cache/index[0-9]+)/(?:level|shared_cpu_list)")


def record_host(destination_dir: str, root: str = "/") -> int:
    """Writes the machine's tree below a directory, which is made where it does not exist.

    Returns:
        the number of files and empty directories written.

    Raises:
        OSError: the destination cannot be written.

    Touches:
        the files named in this module (reading), the destination (writing).
    """
    tree = tree_of_host(root)
    write_tree(tree, destination_dir)
    return len(tree)


def tree_of_host(root: str = "/") -> dict[str, str]:
    """The machine's tree: path → content, ascending by path; unreadable files are left out."""
    tree = {path + "/": "" for path in matching_files(root, _DIRECTORIES)}
    for path in matching_files(root, _FILES):
        text = read_text(root, path)
        if text is not None and not _is_inner_cache(root, path):
            tree[path] = text
    status = read_text(root, "/proc/self/status") or ""
    tree["/proc/self/status"] = "".join(f"{line}\n" for line in status.splitlines() if line.startswith("CapEff:"))
    processors = (read_text(root, "/proc/cpuinfo") or "").splitlines()
    tree["/proc/cpuinfo"] = "".join(f"{line}\n" for line in processors if line.startswith(("processor", "vendor_id")))
    tree["/proc/cmdline"] = " ".join(boot_words(read_text(root, "/proc/cmdline") or "")) + "\n"
    tree.update(recorded_locality(root))
    tree.update(boot_files(root))
    tree.update(dict.fromkeys(_markers(root), ""))
    return dict(sorted(tree.items()))


def matching_files(root: str, patterns: Iterable[str]) -> Iterator[str]:
    """What is at these patterns below the root, as paths without it."""
    top = glob.escape(root.rstrip("/"))
    for pattern in patterns:
        for path in glob.iglob(top + pattern):
            yield path[len(root.rstrip("/")) :]


def _is_inner_cache(root: str, path: str) -> bool:
    """True for the files of L1 and L2, which nobody reads."""
    match = _CACHE_LEVEL.fullmatch(path)
    return match is not None and (read_text(root, f"{match[1]}/level") or "").strip() != "3"


def _markers(root: str) -> Iterator[str]:
    """Empty files in the place of what could be opened (devices) or is there (firmware)."""
    if read_kvm_problem(root) is None:
        yield KVM_PATH
    if read_vhost_net(root):
        yield VHOST_NET_PATH
    yield from (path for pair in UEFI_PAIRS for path in pair if os.path.exists(rooted(root, path)))


def write_tree(tree: Mapping[str, str], destination_dir: str) -> None:
    """Unpacks a tree below a directory.

    Raises:
        ValueError: a path that leads outside the directory.
        OSError: the destination cannot be written.
    """
    for path in tree:
        if not path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{path!r} leads outside the tree: a path begins with / and has no ..")
    for directory in sorted({path.rpartition("/")[0] for path in tree}):
        os.makedirs(destination_dir + directory, exist_ok=True)
    for path, content in tree.items():
        if not path.endswith("/"):
            Path(destination_dir + path).write_text(content, encoding="utf-8", newline="")


def format_tree(tree: Mapping[str, str]) -> str:
    """The tree as JSON text, one path a line."""
    return json.dumps(tree, indent=0, ensure_ascii=True, sort_keys=True) + "\n"


def parse_tree(text: str) -> dict[str, str]:
    """The tree in a JSON text; the inverse of `format_tree`.

    Raises:
        ValueError: the text is no JSON object of texts.
    """
    tree = json.loads(text)
    if not isinstance(tree, dict) or not all(isinstance(content, str) for content in tree.values()):
        raise ValueError("a recorded tree is a JSON object that maps paths to texts")
    return tree
