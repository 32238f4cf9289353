"""What is set for the next boot: hugepage pools and pCPUs, from the kernel command line, sysctl.d and tmpfiles.d.

A pool that was enlarged by hand lasts until the reboot; one that stands here comes back. What cannot be read counts as not set.

Source: Documentation/admin-guide/kernel-parameters.txt (hugepages, hugepagesz, default_hugepagesz: per node since Linux 5.16),
Documentation/admin-guide/mm/hugetlbpage.rst, man 5 sysctl.d, man 5 tmpfiles.d.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from attrs import field, frozen

from qsup.bytesize import GIB, KIB, MIB
from qsup.host.sysfs import list_dir, read_text, rooted

_SYSCTL_DIRS = ("/usr/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d")
_TMPFILES_DIRS = ("/usr/lib/tmpfiles.d", "/run/tmpfiles.d", "/etc/tmpfiles.d")
_WORDS = (
    "isolcpus=",
    "nohz_full=",
    "rcu_nocbs=",
    "irqaffinity=",
    "hugepages=",
    "hugepagesz=",
    "default_hugepagesz=",
    "nosmt",
)
_UNITS = {"": 1, "k": KIB, "m": MIB, "g": GIB}
_SIZE = re.compile(r"([0-9]{1,12})([kmg]?)", re.ASCII | re.IGNORECASE)
_COUNT = re.compile(r"[0-9]{1,12}", re.ASCII)
_NODE_COUNT = re.compile(r"([0-9]{1,6}):([0-9]{1,12})", re.ASCII)
_SYSCTL = re.compile(r"^\s*-?\s*vm[./]nr_hugepages\s*=\s*([0-9]{1,12})\s*$", re.ASCII | re.MULTILINE)
_TMPFILE = re.compile(
    r"^\s*w[+!]*\s+/sys/devices/system/node/node([0-9]{1,6})/hugepages/hugepages-([0-9]{1,9})kB/nr_hugepages"
    r"\s+\S+\s+\S+\s+\S+\s+\S+\s+([0-9]{1,12})\s*$",
    re.ASCII | re.MULTILINE,
)


@frozen
class BootSettings:
    """`node_pages`: (host node, page size in bytes) → pages; `spread_pages`: page size → pages over all nodes evenly.

    `words` are the words of the kernel command line that concern pCPUs and pages; `default_page_bytes` is the page size that
    vm.nr_hugepages speaks of.
    """

    node_pages: Mapping[tuple[int, int], int] = field(factory=dict)
    spread_pages: Mapping[int, int] = field(factory=dict)
    words: tuple[str, ...] = ()
    default_page_bytes: int = 2 * MIB

    def pages_on(self, host_node: int, page_size_bytes: int, nodes: Iterable[int]) -> int:
        """The pages that this node's pool will have after a reboot, as far as they are set."""
        everywhere = sorted(nodes)
        count, odd = divmod(self.spread_pages.get(page_size_bytes, 0), max(1, len(everywhere)))
        spread = count + (everywhere.index(host_node) < odd if host_node in everywhere else 0)
        return max(self.node_pages.get((host_node, page_size_bytes), 0), spread)


def read_boot_settings(root: str = "/") -> BootSettings:
    """The settings of this machine, or of a recorded one.

    Touches:
        /proc/cmdline, {/usr/lib,/run,/etc}/{sysctl.d,tmpfiles.d}/*.conf, /etc/sysctl.conf.
    """
    words = boot_words(read_text(root, "/proc/cmdline") or "")
    node_pages, spread, default_size = _of_words(words)
    for text in _texts(root, _SYSCTL_DIRS, also="/etc/sysctl.conf"):
        for count in _SYSCTL.findall(text):
            spread[default_size] = int(count)
    for text in _texts(root, _TMPFILES_DIRS):
        for node, kib, count in _TMPFILE.findall(text):
            node_pages[int(node), int(kib) << 10] = int(count)
    return BootSettings(node_pages, spread, words, default_size)


def boot_files(root: str = "/") -> dict[str, str]:
    """The lines of sysctl.d and tmpfiles.d that set pools, as files of their own: all that a recording keeps of those."""
    files = {
        "/etc/sysctl.d/recorded.conf": _lines(_SYSCTL, _texts(root, _SYSCTL_DIRS, also="/etc/sysctl.conf")),
        "/etc/tmpfiles.d/recorded.conf": _lines(_TMPFILE, _texts(root, _TMPFILES_DIRS)),
    }
    return {path: text for path, text in files.items() if text}


def _lines(pattern: re.Pattern[str], texts: Iterable[str]) -> str:
    return "".join(f"{match[0].strip()}\n" for text in texts for match in pattern.finditer(text))


def boot_words(text: str) -> tuple[str, ...]:
    """The words of a kernel command line that concern pCPUs and pages: all that a recording keeps of it."""
    return tuple(word for word in text.split() if word.startswith(_WORDS))


def _of_words(words: Iterable[str]) -> tuple[dict[tuple[int, int], int], dict[int, int], int]:
    """`hugepages=` counts for the last `hugepagesz=` before it, or for the default size."""
    node_pages: dict[tuple[int, int], int] = {}
    spread: dict[int, int] = {}
    default_size = next((size for word in words if (size := _size_after(word, "default_hugepagesz="))), 2 * MIB)
    current = default_size
    for word in words:
        current = _size_after(word, "hugepagesz=") or current
        if not word.startswith("hugepages="):
            continue
        value = word.removeprefix("hugepages=")
        if _COUNT.fullmatch(value):
            spread[current] = int(value)
        else:
            node_pages.update({(int(node), current): int(count) for node, count in _NODE_COUNT.findall(value)})
    return node_pages, spread, default_size


def _size_after(word: str, name: str) -> int | None:
    match = _SIZE.fullmatch(word.removeprefix(name)) if word.startswith(name) else None
    return int(match[1]) * _UNITS[match[2].lower()] if match else None


def _texts(root: str, directories: Iterable[str], also: str | None = None) -> Iterable[str]:
    """The files in the order in which they are applied: by name, the one in the later directory masks its namesake."""
    paths = {name: os.path.join(directory, name) for directory in directories for name in list_dir(root, directory)}
    ordered = [paths[name] for name in sorted(paths) if name.endswith(".conf")]
    for path in [*ordered, *([also] if also else [])]:
        if os.path.isfile(rooted(root, path)):
            yield read_text(root, path) or ""
