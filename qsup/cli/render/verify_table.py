"""The truth table, for a person: threads, memory, networks, disks, and a line that sums up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qsup.api.client import Json
from qsup.bytesize import format_byte_size
from qsup.cli.render.amounts import age, counted
from qsup.cli.render.columns import aligned
from qsup.cli.terminal import Style, printable

_COLOURS = {"ok": "green", "drift": "red", "not placeable": "yellow", "unknown": "yellow", "not running": "dim"}
_INDENT = "  "
_MASK_WIDTH = 14
_THREADS = ("THREAD", "TID", "PIN", "MASK", "LAST", "SCHED", "CPUSET", "VERDICT")
_MEMORY = ("MEMORY", "SIZE", "PLANNED", "IN FORCE", "PAGES", "LOCAL", "VERDICT")
_NICS = ("NIC", "TAP", "BRIDGE", "MTU", "QUEUES", "VHOST", "VERDICT")
_DISKS = ("DISK", "AIO", "IN FORCE", "IOTHREAD", "IN FORCE", "VERDICT")


def verify_text(tables: Sequence[Json], style: Style, now_s: float, width: int | None) -> str:
    """All VMs, a line each and below it only the rows that are not ok; at the end the sum."""
    if not tables:
        return "no VMs: there is nothing to verify"
    texts = [table_text(table, style, now_s, width, every=False) for table in tables]
    return "\n".join([*texts, "", _total(tables)]).replace("\n\n\n", "\n\n")


def table_text(table: Json, style: Style, now_s: float, width: int | None, *, every: bool = True) -> str:
    """One VM: `every` row, or only those that are not ok."""
    lines = [_head(table, style), *(f"{_INDENT}{printable(note)}" for note in (*_repairs(table), *table["notes"]))]
    for head, key, cells_of in _SECTIONS:
        rows = [row for row in table[key] if every or row["verdict"] != "ok"]
        if rows:
            cells = [cells_of(row) for row in rows]
            lines += ["", *_section(head, cells, rows, style, width), *_reasons(cells, rows)]
    if len(lines) > 1 and not every:
        lines.append("")
    return "\n".join([*lines, *(_counted(table, now_s) if every else ())])


def _head(table: Json, style: Style) -> str:
    name = style.colour("bold", table["vm"])
    if table["pid"] is None:
        return f"{name}  {style.colour(_COLOURS[table['verdict']], table['verdict'])} ({table['phase']})"
    verdict = style.colour(_COLOURS[table["verdict"]], _summary(table))
    return f"{name}  pid {table['pid']}, {table['phase']}: {verdict}"


def _summary(table: Json) -> str:
    """ "12 ok", "11 ok, 1 drift"."""
    counts = [f"{count} {verdict}" for verdict, count in table["counts"].items() if count]
    return ", ".join(counts) or str(table["verdict"])


def _repairs(table: Json) -> list[str]:
    parts = ((table["repairs"], "put back so far"), (table["left_alone"], "left alone now"))
    text = ", ".join(f"{counted(count, 'thread')} {words}" for count, words in parts if count)
    return [text] if text else []


def _reasons(cells: Sequence[Sequence[str]], rows: Sequence[Json]) -> list[str]:
    """Why a row is not ok: below its section, where there is room for it."""
    return [f"{_INDENT * 2}{cell[0]}: {printable(row['note'])}" for cell, row in zip(cells, rows, strict=True) if row["note"]]


def _section(
    head: Sequence[str], cells: Sequence[Sequence[str]], rows: Sequence[Json], style: Style, width: int | None
) -> list[str]:
    verdict = len(head) - 1

    def paint(row: int, column: int, cell: str) -> str:
        if row == 0:
            return style.colour("bold", cell)
        return style.colour(_COLOURS[rows[row - 1]["verdict"]], cell) if column == verdict else cell

    room = None if width is None else width - len(_INDENT)
    return [_INDENT + line for line in aligned([head, *cells], width=room, paint=paint)]


def _thread(row: Json) -> tuple[str, ...]:
    priority = f":{row['rt_priority']}" if row["rt_priority"] else ""
    return (
        printable(_who(row)),
        _number(row["tid"]),
        _mask(row["pin"]),
        "=" if row["affinity"] == row["pin"] else _mask(row["affinity"]),
        _number(row["last_pcpu"]),
        f"{row['policy']}{priority}" if row["policy"] is not None else "",
        _mask(row["cpuset"] or ""),
        row["verdict"],
    )


def _who(row: Json) -> str:
    """A thread as an operator tells it apart: QEMU's many threads without a role by their own names."""
    plain = row["kind"] != "emulator" or row["name"].startswith("qemu-")
    return f"{row['label']} ({row['name']})" if row["kind"] == "helper" else row["label"] if plain else row["name"]


def _mask(cpulist: str) -> str:
    return cpulist if len(cpulist) <= _MASK_WIDTH else cpulist[: _MASK_WIDTH - 1] + "…"


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _memory(row: Json) -> tuple[str, ...]:
    in_force = row["policy_in_force"]
    return (
        row["backend"],
        format_byte_size(row["size_bytes"]),
        _policy(row["policy"], row["host_nodes"]),
        "" if in_force is None else _policy(in_force, row["nodes_in_force"]),
        _pages(row),
        "" if row["local_percent"] is None else f"{row['local_percent']:g} %",
        row["verdict"],
    )


def _policy(policy: str, nodes: Sequence[int]) -> str:
    return f"{policy}:{','.join(map(str, nodes))}" if nodes else policy


def _pages(row: Json) -> str:
    """The pages that are there, by node, and their size: "N0 512 × 2MiB"; without nodes where they are unknown."""
    size_bytes = row["page_size_in_force_bytes"] or row["page_size_bytes"]
    counts = " ".join(f"N{part['host_node']} {part['count']}" for part in row["pages"])
    counts = counts or (str(row["present_bytes"] // size_bytes) if row["present_bytes"] else "")
    huge = f", {format_byte_size(row['transparent_huge_bytes'])} THP" if row["transparent_huge_bytes"] else ""
    return f"{counts} × {format_byte_size(size_bytes)}{huge}" if counts else ""


def _nic(row: Json) -> tuple[str, ...]:
    workers = row["vhost_workers"]
    return (
        row["nic"],
        row["tap"],
        _pair(row["bridge"], row["bridge_in_force"]),
        _pair(row["mtu"], row["mtu_in_force"]),
        _pair(row["queues"], row["queues_in_force"]),
        "no" if not row["vhost"] else f"{workers} workers",
        row["verdict"],
    )


def _pair(planned: object, in_force: object) -> str:
    """One word where both are the same or the second is unknown, else "planned→in force"."""
    return (
        f"{planned}→{in_force}" if in_force is not None and in_force != planned and planned is not None else str(planned or "")
    )


def _disk(row: Json) -> tuple[str, ...]:
    in_force = row["iothread_in_force"]
    return (
        row["disk"],
        row["aio"],
        row["aio_in_force"] or "",
        row["iothread"] or "main loop",
        "" if in_force is None else "=" if _is_shared_out(in_force, row) else in_force or "main loop",
        row["verdict"],
    )


def _is_shared_out(in_force: str, row: Json) -> bool:
    """As planned, and long: each iothread with its queues."""
    return in_force == row["iothread"] and ":" in in_force


_SECTIONS: tuple[tuple[tuple[str, ...], str, Callable[[Json], tuple[str, ...]]], ...] = (
    (_THREADS, "threads", _thread),
    (_MEMORY, "memory", _memory),
    (_NICS, "nics", _nic),
    (_DISKS, "disks", _disk),
)


def _counted(table: Json, now_s: float) -> list[str]:
    counted_s = table["memory_counted_at_s"]
    if counted_s is None or now_s - counted_s < 5:
        return []
    return ["", f"{_INDENT}pages counted {age(now_s - counted_s)} ago"]


def _total(tables: Sequence[Json]) -> str:
    verdicts = [table["verdict"] for table in tables]
    parts = [f"{verdicts.count(verdict)} {verdict}" for verdict in _COLOURS if verdict in verdicts]
    return f"{len(tables)} VMs: {', '.join(parts)}"


def mended_text(mended: Json) -> str:
    """What a repair of memory did."""
    if not mended["backends"]:
        return f"{mended['vm']}: no page lies on another node than planned"
    lines = []
    for backend in mended["backends"]:
        moved = format_byte_size(backend["moved_bytes"])
        lines.append(f"{mended['vm']}: {backend['backend']}: {moved} moved in {mended['took_s']:.1f} s")
        for unmoved in backend["unmoved"]:
            size = format_byte_size(unmoved["size_bytes"])
            lines.append(f"  {size} did not move: {printable(unmoved['reason'])}\n    hint: {printable(unmoved['hint'])}")
    return "\n".join(lines)
