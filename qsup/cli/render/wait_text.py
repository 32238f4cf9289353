"""Who waited for a pCPU, and who ran instead: a table of threads, and the last hour in rows of ten minutes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from qsup.api.client import Json
from qsup.cli.render.amounts import counted
from qsup.cli.render.columns import Paint, aligned, cut
from qsup.cli.terminal import Style, printable

_HEAD = ("VM", "THREAD", "PCPU", "%RUN", "%RDY", "%THR", "PREEMPT", "WHO RAN INSTEAD")
_HISTORY_HEAD = ("SINCE", "%RDY", "WORST", "%THR", "SKEW", "WHO RAN INSTEAD")
_SHOWN = 0.005
_GRAVE, _NOTABLE = 0.10, 0.02
_NAMES = 4
_ROW_S = 600
_INDENT = "      "
_READY_COLUMN = 4


def wait_text(report: Json, whole: bool, style: Style, width: int | None) -> str:
    """The threads that waited, the worst first; with `whole` all threads of the report that did anything.

    Args:
        width: that of the terminal, where who ran instead has a line of its own; None: one line a thread.
    """
    threads = [(wait["vm"], thread) for wait in report["vms"] for thread in wait["threads"]]
    shown = [row for row in threads if row[1]["ready_share"] >= _SHOWN or (whole and _does_something(row[1]))]
    shown.sort(key=lambda row: -row[1]["ready_share"])
    lines = [_summary(report)]
    if not shown:
        return lines[0]
    rows = [_HEAD, *(_row(vm, thread) for vm, thread in shown)]
    if width is None:
        return "\n".join([*lines, *aligned(rows, paint=_paint(shown, style))])
    head, *table = aligned([row[:-1] for row in rows], paint=_paint(shown, style))
    lines.append(head)
    for line, row in zip(table, rows[1:], strict=True):
        lines.append(line)
        if row[-1]:
            lines.append(cut(_INDENT + row[-1], width))
    return "\n".join(lines)


def _does_something(thread: Json) -> bool:
    return bool(thread["thread_class"] == "vcpu" or thread["run_share"] + thread["ready_share"] >= _SHOWN / 10)


def _summary(report: Json) -> str:
    vms = report["vms"]
    count = sum(len(vm["threads"]) for vm in vms)
    parts = [f"{report['span_s']:.1f} s, {counted(count, 'thread')} of {counted(len(vms), 'VM')}"]
    if len(vms) == 1:
        parts.append(f"skew of its vCPUs {_percent(vms[0]['skew_share'])} %")
    if report["steal_share"] >= _SHOWN:
        parts.append(f"the host's own hypervisor took {_percent(report['steal_share'])} %")
    if report.get("exact"):
        parts.append("every switch counted")
    if all(thread["ready_share"] < _SHOWN for vm in vms for thread in vm["threads"]):
        parts.append("nobody waited")
    return ", ".join(parts)


def _row(vm: str, thread: Json) -> tuple[str, ...]:
    switches = thread["involuntary"]
    return (
        vm,
        printable(thread["role"]).replace("vcpu ", "vCPU "),
        str(thread["pcpu"]),
        _percent(thread["run_share"]),
        _percent(thread["ready_share"]),
        _percent(thread["throttled_share"]),
        "" if switches is None else str(switches),
        blame_text(thread["blame"], thread["unknown_share"], thread["unknown_why"]),
    )


def blame_text(blame: Sequence[Json], unknown_share: float, why: str) -> str:
    """ "web3 vCPU 2 40.1, ssh.service 12.0, unknown 3.1 (it moved between pCPUs)"."""
    parts = [f"{printable(item['who'])} {_percent(item['share'])}" for item in blame if item["share"] >= _SHOWN]
    rest = parts[_NAMES:]
    parts = parts[:_NAMES] + ([f"{len(rest)} more"] if rest else [])
    if unknown_share >= _SHOWN:
        parts.append(f"unknown {_percent(unknown_share)}" + (f" ({why})" if why else ""))
    return ", ".join(parts)


def _percent(share: float) -> str:
    return f"{share * 100:.1f}"


def _paint(shown: Sequence[tuple[str, Json]], style: Style) -> Paint:
    def paint(row: int, column: int, cell: str) -> str:
        if row == 0:
            return style.colour("bold", cell)
        share = shown[row - 1][1]["ready_share"]
        if column != _READY_COLUMN or share < _NOTABLE:
            return cell
        return style.colour("red" if share >= _GRAVE else "yellow", cell)

    return paint


def history_text(minutes: Sequence[Json], style: Style, width: int | None) -> str:
    """The last hour, ten minutes a row, the newest last."""
    groups: dict[int, list[Json]] = {}
    for minute in minutes:
        groups.setdefault(minute["begins_at_s"] // _ROW_S * _ROW_S, []).append(minute)
    rows = [_HISTORY_HEAD, *(_history_row(begin, group) for begin, group in sorted(groups.items()))]
    return "\n".join(aligned(rows, width=width, paint=lambda row, _, cell: style.colour("bold", cell) if row == 0 else cell))


def _history_row(begin_s: int, minutes: Sequence[Json]) -> tuple[str, ...]:
    seen_s = sum(minute["seen_s"] for minute in minutes)
    named: dict[str, float] = {}
    for minute in minutes:
        for item in minute["blame"]:
            named[item["who"]] = named.get(item["who"], 0.0) + item["share"] * minute["seen_s"] / seen_s
    unknown = named.pop("unknown", 0.0)
    blame = [{"who": who, "share": share} for who, share in sorted(named.items(), key=lambda item: -item[1])]
    return (
        time.strftime("%H:%M", time.localtime(begin_s)),
        _percent(sum(minute["ready_share"] * minute["seen_s"] for minute in minutes) / seen_s),
        _percent(max(minute["worst_share"] for minute in minutes)),
        _percent(sum(minute["throttled_share"] * minute["seen_s"] for minute in minutes) / seen_s),
        _percent(max(minute["skew_share"] for minute in minutes)),
        blame_text(blame, unknown, ""),
    )
