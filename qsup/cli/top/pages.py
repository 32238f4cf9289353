"""The pages of `qsup top`: which rows a frame has for each, and their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from qsup.api.client import Json
from qsup.cli.render.sizes import short_size
from qsup.cli.terminal import printable
from qsup.cli.top.cells import UNKNOWN, added, amount, milliseconds, percent, role, short_age, who_ran
from qsup.cli.top.columns import Column, Page, name_column, number_column, share_column

_GRAVE, _NOTABLE = 0.10, 0.02
_TROUBLED = ("io-error", "panicked", "unresponsive", "stray", "gone")


def _page_sizes(row: Json) -> str:
    return "+".join(map(short_size, row["page_sizes_bytes"])) or UNKNOWN


def _wait_colour(row: Json) -> str:
    share = row.get("ready_share") or 0.0
    return "red" if share >= _GRAVE else "yellow" if share >= _NOTABLE else ""


def _state(row: Json) -> str:
    if row["phase"] == "unresponsive":
        return f"silent {short_age(row['silent_s'])}"
    return f"drift {row['drifting']}" if row["drifting"] and row["phase"] == "running" else str(row["phase"])


def _state_colour(row: Json) -> str:
    if row["phase"] in _TROUBLED:
        return "red"
    return "yellow" if row["drifting"] else "dim" if row["phase"] == "absent" else ""


def _exits(name: str) -> Callable[[Json], float | None]:
    return lambda row: (row["qemu"] or {}).get("exits", {}).get(name)


def _exit_column(head: str, name: str, from_width: int = 0) -> Column:
    rate = _exits(name)
    return Column(head, 6, lambda row: amount(rate(row)), rate, from_width=from_width)


def _disk_bytes(row: Json) -> float | None:
    disks = (row["qemu"] or {}).get("disks", ())
    return added([disk.get(name) for disk in disks for name in ("read_bytes", "written_bytes")])


def _nic_bytes(row: Json) -> float | None:
    return added([nic.get(name) for nic in row["nics"] for name in ("sent_bytes", "received_bytes")])


def _local(row: Json) -> str:
    value = row["local_percent"]
    return UNKNOWN if value is None else f"{value:.0f}" if value == 100 else f"{value:.1f}"


def _local_colour(row: Json) -> str:
    return "yellow" if row["misplaced_bytes"] else ""


def _told_age(row: Json) -> float | None:
    return row["_at_s"] - row["told_at_s"] if row.get("told_at_s") is not None else None


def _thread(row: Json) -> str:
    """Its role; an emulator thread has its own name besides, since there are many of them."""
    name = row["name"] if row["thread_class"] == "emulator" else ""
    return f"{role(row['role'])} {printable(name)}".rstrip()


def _vms(frame: Json) -> Iterator[Json]:
    for vm in frame["vms"]:
        yield {**vm, "_at_s": frame["at_s"], "told_at_s": (vm["qemu"] or {}).get("told_at_s")}


def _running(frame: Json) -> Iterator[Json]:
    return (vm for vm in _vms(frame) if vm["pid"] is not None)


def _disks(frame: Json) -> Iterator[Json]:
    for vm in _running(frame):
        for disk in (vm["qemu"] or {}).get("disks", ()):
            yield {**disk, "vm": vm["name"], "_at_s": frame["at_s"], "told_at_s": vm["told_at_s"]}


def _nics(frame: Json) -> Iterator[Json]:
    for vm in _running(frame):
        for nic in vm["nics"]:
            yield {**nic, "vm": vm["name"]}


_VM = name_column("VM", 13, "name")
_OF_VM = name_column("VM", 13, "vm")
_READY = share_column("%RDY", "ready_share", colour=_wait_colour)
_AGE = Column("AGE", 4, lambda row: short_age(_told_age(row)), _told_age)

VMS = Page(
    "VMs",
    _vms,
    lambda row: row["name"],
    (
        _VM,
        Column("STATE", 10, _state, _state, left=True, colour=_state_colour),
        Column("VCPU", 4, lambda row: str(row["vcpus"] or UNKNOWN), lambda row: row["vcpus"], from_width=96),
        Column("MEM", 7, lambda row: short_size(row["memory_bytes"] or 0), lambda row: row["memory_bytes"], from_width=104),
        Column("%RUN", 6, lambda row: percent(row["run_share"]), lambda row: row["run_share"]),
        _READY,
        share_column("%THR", "throttled_share", from_width=110),
        share_column("SKEW", "skew_share", from_width=116),
        _exit_column("EXITS", "exits"),
        Column("LOC%", 4, _local, lambda row: row["local_percent"], colour=_local_colour),
        Column("DISK", 5, lambda row: amount(_disk_bytes(row)), _disk_bytes),
        Column("NET", 5, lambda row: amount(_nic_bytes(row)), _nic_bytes),
        Column("WHO RAN INSTEAD", 0, lambda row: who_ran(row["worst"]), lambda row: who_ran(row["worst"]), left=True),
    ),
    sorted_by="%RDY",
    empty="no VM is known to the daemon",
)
_INSTEAD = Column("WHO RAN INSTEAD", 0, who_ran, who_ran, left=True)
_DID = (
    share_column("%RUN", "run_share"),
    _READY,
    share_column("%THR", "throttled_share", from_width=88),
    number_column("PREEMPT", 7, "involuntary", amount, from_width=96),
    _INSTEAD,
)
WAITING = Page(
    "waiting",
    lambda frame: frame["waiting"],
    lambda row: f"{row['vm']} {row['tid']}",
    (
        _OF_VM,
        name_column("THREAD", 16, "role", shown=role),
        Column("PCPU", 4, lambda row: str(row["pcpu"]), lambda row: row["pcpu"]),
        *_DID,
    ),
    sorted_by="%RDY",
    empty="nobody waits for a pCPU",
)
EXITS = Page(
    "exits",
    _running,
    lambda row: row["name"],
    (
        _VM,
        _exit_column("EXITS", "exits"),
        _exit_column("HALT", "halt_exits"),
        _exit_column("IO", "io_exits"),
        _exit_column("MMIO", "mmio_exits"),
        _exit_column("IRQ", "irq_exits"),
        _exit_column("SIGNAL", "signal_exits"),
        _exit_column("HYPERC", "hypercalls"),
        _exit_column("EMULAT", "insn_emulation", from_width=88),
        _AGE,
        Column("", 0, lambda row: "", lambda row: ""),
    ),
    sorted_by="EXITS",
    empty="no VM runs",
)
MEMORY = Page(
    "memory",
    _running,
    lambda row: row["name"],
    (
        _VM,
        Column("SIZE", 8, lambda row: short_size(row["memory_bytes"] or 0), lambda row: row["memory_bytes"]),
        Column("PAGES", 6, _page_sizes, lambda row: max(row["page_sizes_bytes"], default=0)),
        Column("NODES", 7, lambda row: ",".join(map(str, row["host_nodes"])) or "any", lambda row: str(row["host_nodes"])),
        Column("LOC%", 5, _local, lambda row: row["local_percent"], colour=_local_colour),
        Column(
            "MISPLACED",
            9,
            lambda row: short_size(row["misplaced_bytes"]),
            lambda row: row["misplaced_bytes"],
            colour=_local_colour,
        ),
        Column("COUNTED", 7, lambda row: short_age(_counted_age(row)), lambda row: row["memory_counted_at_s"]),
        number_column("REPAIRS", 7, "repairs", amount),
        Column("", 0, lambda row: "", lambda row: ""),
    ),
    sorted_by="MISPLACED",
    empty="no VM runs",
)
DISKS = Page(
    "disks",
    _disks,
    lambda row: f"{row['vm']} {row['disk']}",
    (
        _OF_VM,
        name_column("DISK", 10, "disk"),
        number_column("READ", 6, "read_bytes", amount),
        number_column("WRITE", 6, "written_bytes", amount),
        number_column("R/S", 5, "reads", amount),
        number_column("W/S", 5, "writes", amount),
        number_column("R-MS", 5, "read_ms", milliseconds),
        number_column("W-MS", 5, "write_ms", milliseconds),
        number_column("FLUSH", 5, "flushes", amount, from_width=92),
        number_column("FAIL", 4, "failed", amount),
        _AGE,
        Column("", 0, lambda row: "", lambda row: ""),
    ),
    sorted_by="WRITE",
    empty="no disk is known: they are asked in turn",
)
NICS = Page(
    "nics",
    _nics,
    lambda row: f"{row['vm']} {row['nic']}",
    (
        _OF_VM,
        name_column("NIC", 10, "nic"),
        name_column("BRIDGE", 12, "bridge"),
        number_column("SENT", 6, "sent_bytes", amount),
        number_column("RECVD", 6, "received_bytes", amount),
        number_column("S-PKT", 6, "sent_packets", amount),
        number_column("R-PKT", 6, "received_packets", amount),
        Column(
            "DROPS", 5, lambda row: amount(row.get("dropped")), lambda row: row.get("dropped"),
            colour=lambda row: "red" if row.get("dropped") else "",
        ),
        Column("", 0, lambda row: "", lambda row: ""),
    ),
    sorted_by="SENT",
    empty="no VM that runs has a nic",
)  # fmt: skip
THREADS = Page(
    "threads",
    lambda frame: frame.get("threads", ()),
    lambda row: f"{row['role']} {row['tid']}",
    (
        Column("THREAD", 18, _thread, _thread, left=True),
        Column("TID", 7, lambda row: str(row["tid"] or UNKNOWN), lambda row: row["tid"]),
        Column("PCPU", 4, lambda row: str(row.get("pcpu", UNKNOWN)), lambda row: row.get("pcpu")),
        name_column("PIN", 8, "pin"),
        Column(
            "TRUTH",
            7,
            lambda row: row["verdict"],
            lambda row: row["verdict"],
            left=True,
            colour=lambda row: _verdict_colour(row),
        ),
        *_DID,
    ),
    sorted_by="%RDY",
    empty="it does not run",
)
PAGES = (VMS, WAITING, EXITS, MEMORY, DISKS, NICS)


def _verdict_colour(row: Json) -> str:
    return {"ok": "", "drift": "yellow"}.get(row["verdict"], "red")


def _counted_age(row: Json) -> float | None:
    counted_at_s = row["memory_counted_at_s"]
    return None if counted_at_s is None else row["_at_s"] - counted_at_s
