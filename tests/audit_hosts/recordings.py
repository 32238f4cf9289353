"""Recorded hosts for the audit: one that is in order (`base.toml`), and for each rule what makes it trip (`rules/RULE.toml`).

A recording is a tree of files, read by the same readers as a machine. `[trips]` of a rule's file is laid over the base; its
`[fine]`, where the base gives the rule nothing to look at, is a sound host of that kind. In all of them:

    [files]      path = text; false takes the file or the directory away
    [per_pcpu]   the same below /sys/devices/system/cpu/cpuN for each pCPU
    [images]     path = { length, virtual, cluster_bits, backing }: sparse; with `virtual` a qcow2 image
    [processes]  NAME = { pid, hugepages, swapped, nofile, memlock }: a VM that runs
"""

from __future__ import annotations

import argparse
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qsup.bytesize import parse_byte_size
from qsup.cli.offline.audit import facts_offline
from qsup.cli.offline.hosts import open_host
from qsup.host.record import parse_tree, write_tree
from qsup.truth.audit.facts import AuditFacts
from tests.host.qcow2_writer import qcow2_header
from tests.host.synthesize import HOSTS_DIR

HERE = Path(__file__).parent
PCPUS = range(32)
SECTIONS = {"files", "per_pcpu", "images", "processes"}

Overlay = Mapping[str, Any]


def recorded_rules() -> list[str]:
    """The rules that have a recording."""
    return sorted(path.name.removesuffix(".toml") for path in (HERE / "rules").glob("*.toml"))


def overlay_of(rule_id: str, table: str) -> Overlay:
    """`trips` or `fine` of a rule; nothing where it has none."""
    overlay: Overlay = tomllib.loads((HERE / "rules" / f"{rule_id}.toml").read_text()).get(table, {})
    return overlay


def write_base(root: Path) -> Path:
    """The host that is in order."""
    write_tree(parse_tree((HOSTS_DIR / "two-sockets-smt.json").read_text()), str(root))
    for path, content in _contents(tomllib.loads((HERE / "base.toml").read_text())):
        _write(root, path, content)
    return root


@contextmanager
def laid_over(root: Path, overlay: Overlay) -> Iterator[Path]:
    """The tree with an overlay on it, and afterwards as it was before."""
    stash = root.parent / f"{root.name}-stash"
    undo: list[tuple[Path, Path | None]] = []
    for number, (path, content) in enumerate(_contents(overlay)):
        target = Path(f"{root}{path.rstrip('/')}")
        if target.exists():
            kept = stash / str(number)
            stash.mkdir(exist_ok=True)
            undo.append((target, target.rename(kept)))
        else:
            undo.append((_first_missing(target), None))
        if content is not None:
            _write(root, path, content)
    yield root
    for target, stashed in reversed(undo):
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        if stashed is not None:
            stashed.rename(target)


def facts_of(root: Path) -> AuditFacts:
    """What `qsup audit --host ROOT` looks at."""
    words = argparse.Namespace(config_dir=None, state_dir=str(root), settings=None, run_dir=str(root))
    with open_host(str(root)) as host:
        facts, notes = facts_offline(words, host)
    assert notes == ()
    return facts


def _first_missing(path: Path) -> Path:
    """The highest directory that must be made for it, or the path itself."""
    while not path.parent.exists():
        path = path.parent
    return path


def _write(root: Path, path: str, content: str | bytes | int) -> None:
    """Text, bytes, or a file of so many zeros; a path that ends with "/" is a directory."""
    target = Path(f"{root}{path}")
    if path.endswith("/"):
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    target.write_bytes(data if isinstance(data, bytes) else bytes(data))


def _contents(overlay: Overlay) -> Iterator[tuple[str, Any]]:
    """Each path with what is to be there; None: nothing."""
    assert set(overlay) <= SECTIONS
    for path, text in overlay.get("files", {}).items():
        yield path, None if text is False else text.removeprefix("\n")
    for path, text in overlay.get("per_pcpu", {}).items():
        yield from ((f"/sys/devices/system/cpu/cpu{pcpu}/{path}", text) for pcpu in PCPUS)
    for path, image in overlay.get("images", {}).items():
        yield path, _image(image)
    for name, process in overlay.get("processes", {}).items():
        yield from _process(name, process).items()


def _image(image: Mapping[str, Any]) -> bytes:
    head = b""
    if "virtual" in image:
        backing = image.get("backing", "").encode()
        head = qcow2_header(
            size=parse_byte_size(image["virtual"]),
            cluster_bits=image.get("cluster_bits", 16),
            backing=backing,
            backing_format=b"qcow2" if backing else None,
        )
    return head.ljust(parse_byte_size(image["length"]), b"\0")


def _process(name: str, process: Mapping[str, Any]) -> dict[str, str]:
    pid, scope = process["pid"], f"/sys/fs/cgroup/qsup.slice/qsup-{name}.scope"
    pages = " ".join(f"N{node}={count}" for node, count in process.get("hugepages", {}).items())
    limits = f"Max open files            {process.get('nofile', 524288)}        524288   files     \n"
    limits += f"Max locked memory         {process.get('memlock', 'unlimited')}   unlimited   bytes     \n"
    return {
        f"/proc/{pid}/comm": "qemu-system-x86\n",
        f"/proc/{pid}/cmdline": f"qemu-system-x86_64\0-name\0guest={name},debug-threads=on\0",
        f"/proc/{pid}/cgroup": f"0::/qsup.slice/qsup-{name}.scope\n",
        f"/proc/{pid}/status": f"VmRSS: 1 kB\nVmSwap:\t{process.get('swapped', 0)} kB\n",
        f"/proc/{pid}/limits": limits,
        f"/proc/{pid}/numa_maps": f"7f0000000000 bind:0 file=/memfd huge {pages} kernelpagesize_kB=2048\n" if pages else "",
        f"{scope}/memory.max": "max\n",
        f"{scope}/cpu.max": "max 100000\n",
        f"{scope}/pids.max": "max\n",
        f"{scope}/cpuset.cpus.effective": "0-31\n",
    }
