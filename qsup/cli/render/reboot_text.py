"""What `qsup plan --reboot` found out, for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qsup.api.client import Json
from qsup.cli.render.amounts import counted
from qsup.cli.render.columns import aligned
from qsup.cli.render.plan_text import (
    head_lines,
    memory_of,
    move_text,
    nodes_of,
    pcpus_of,
    refused_lines,
    section_lines,
)
from qsup.cli.render.sizes import short_size
from qsup.cli.render.topology_text import topology_text
from qsup.cli.terminal import Style

_HEAD = ("VM", "AFTER A REBOOT", "CLASS", "VCPUS", "MEMORY", "NODES", "PCPUS")
_COLOURS = {"same": "green", "starts": "green", "moved": "yellow", "refused": "red"}
_FILES = (
    ("kernel", "kernel command line (GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub)", " "),
    ("sysctl", "/etc/sysctl.d/80-qsup.conf", "\n"),
    ("tmpfiles", "/etc/tmpfiles.d/qsup.conf", "\n"),
)


def reboot_text(report: Json, style: Style, width: int, *, whole_map: bool) -> str:
    """The whole answer."""
    lines = [*head_lines(report, style, width), *_table(report["vms"], style, width), "", _verdict(report)]
    lines += section_lines("what would move", _moves(report["vms"]), style, width)
    lines += refused_lines(report["refused"], style, width)
    lines += section_lines("left to chance", map(_growth, report["growth"]), style, width)
    lines += _lines(report, style)
    if whole_map:
        lines += ["", topology_text({"host": report["host"], **report["map"]}, style, width)]
    return "\n".join(lines)


def _table(vms: Sequence[Json], style: Style, width: int) -> list[str]:
    if not vms:
        return ["", "no VM starts by itself"]

    def paint(row: int, column: int, cell: str) -> str:
        if row == 0:
            return style.colour("bold", cell)
        colour = _COLOURS.get(vms[row - 1]["result"]) if column == 1 else None
        return style.colour(colour, cell) if colour else cell

    return ["", *aligned([_HEAD, *map(_row, vms)], width=width, paint=paint)]


def _row(vm: Json) -> tuple[str, ...]:
    seats = vm["then"] or vm["now"]
    if seats is None:
        return (vm["name"], vm["result"], *[""] * 5)
    return (
        vm["name"],
        vm["result"],
        seats["placement"],
        str(len(seats["vcpus"])),
        memory_of(seats),
        nodes_of(seats),
        pcpus_of(seats) if vm["then"] else "",
    )


def _verdict(report: Json) -> str:
    if report["same"]:
        runs = any(vm["result"] == "same" for vm in report["vms"])
        return "all come back where they are" if runs else "all would start"
    return "not all come back where they are" + (": with the lines below they do" if report["same_with_lines"] else "")


def _moves(vms: Iterable[Json]) -> Iterable[str]:
    return (move_text(vm["name"], vm["now"], vm["then"]) for vm in vms if vm["result"] == "moved")


def _growth(growth: Json) -> str:
    pages = f"{counted(growth['count'], 'page')} of {short_size(growth['page_size_bytes'])} on node {growth['host_node']}"
    return f"{pages}: nothing sets them up for the boot, the pool grows when VMs start, and may fail"


def _lines(report: Json, style: Style) -> list[str]:
    lines: list[str] = []
    for key, title, between in _FILES:
        words = report["lines"][key]
        if words:
            lines += ["", style.colour("bold", title), *(f"  {line}" for line in between.join(words).split("\n"))]
    if not lines:
        return ["", "no line is needed on the kernel command line, in sysctl.d or tmpfiles.d"]
    words_now = " ".join(report["boot_words"])
    return [*lines, "", f"the kernel was started with: {words_now}"] if words_now else lines
