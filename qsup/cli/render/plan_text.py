"""What `qsup plan` found out, for a person: a table of all VMs, then what changes, what is refused, what still fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from qsup.api.client import Json
from qsup.cli.render.amounts import counted
from qsup.cli.render.columns import aligned
from qsup.cli.render.problems import problem_lines, reason_lines
from qsup.cli.render.score_text import shortfalls
from qsup.cli.render.sizes import short_size
from qsup.cli.render.topology_text import topology_text
from qsup.cli.render.wrapping import wrapped
from qsup.cli.terminal import Style, printable
from qsup.cpuset import format_cpulist
from qsup.natural import natural

_HEAD = ("VM", "WHAT", "CLASS", "VCPUS", "MEMORY", "NODES", "SMT", "L3", "NODE", "DEV", "PCPUS")
_COLOURS = {"starts": "green", "restarts": "yellow", "re-pinned": "yellow", "stops": "red"}
_MOST_ROWS = 60
_ORDER = ("starts", "restarts", "re-pinned", "stops", "stays", "stays off")
_GONE = ("stops", "stays off")


def plan_text(report: Json, style: Style, width: int, *, whole_map: bool) -> str:
    """The whole answer."""
    lines = [*head_lines(report, style, width), *_table(report["vms"], style, width)]
    for title, section in (
        ("where they would sit", _seats(report["vms"])),
        ("what would move", _changes(report["vms"])),
        ("what takes from the scores", shortfalls(report["vms"])),
        ("warnings", _warnings(report["vms"])),
    ):
        lines += section_lines(title, section, style, width)
    lines += refused_lines(report["refused"], style, width)
    lines += section_lines("room left, the largest VM that would still fit", _room(report["room"]), style, width)
    if whole_map:
        lines += ["", topology_text({"host": report["host"], **report["map"]}, style, width)]
    return "\n".join(lines)


def head_lines(report: Json, style: Style, width: int) -> list[str]:
    """What was planned for, and what had to be assumed."""
    lines = [style.colour("bold", f"plan for {printable(report['host'])}") + f"  (now: {report['basis']})"]
    for title, key in (("assumed", "assumptions"), ("note", "notes")):
        for text in report[key]:
            lines += wrapped(f"{title}: {printable(text)}", width, "", "  ")
    for file in report["invalid"]:
        lines += [f"not valid, left out: {printable(file['file'])}", *problem_lines(file["problems"])]
    return lines


def section_lines(title: str, texts: Iterable[str], style: Style, width: int) -> list[str]:
    """A titled list of wrapped texts; nothing where there are none."""
    lines = [line for text in texts for line in wrapped(printable(text), width, "  ", "      ")]
    return ["", style.colour("bold", title), *lines] if lines else []


def _table(vms: Sequence[Json], style: Style, width: int) -> list[str]:
    if not vms:
        return ["", "no VM runs, and none would start"]
    ordered = sorted(vms, key=lambda vm: (_ORDER.index(vm["action"]), natural(vm["name"])))
    shown = ordered[:_MOST_ROWS]

    def paint(row: int, column: int, cell: str) -> str:
        if row == 0:
            return style.colour("bold", cell)
        colour = _COLOURS.get(shown[row - 1]["action"]) if column == 1 else None
        return style.colour(colour, cell) if colour else cell

    lines = ["", *aligned([_HEAD, *map(_row, shown)], width=width, paint=paint)]
    hidden = len(ordered) - len(shown)
    return [*lines, f"and {counted(hidden, 'VM')} more: --json has all"] if hidden else lines


def _row(vm: Json) -> tuple[str, ...]:
    if vm["action"] in _GONE:
        return (vm["name"], vm["action"], *[""] * 9)
    score = vm["score"]
    scores = (_score(score[name]) for name in ("smt", "l3", "node", "device"))
    shape = (vm["placement"], str(len(vm["vcpus"])), memory_of(vm), nodes_of(vm))
    return (vm["name"], vm["action"], *shape, *scores, pcpus_of(vm))


def _score(value: int | None) -> str:
    return "" if value is None else str(value)


def memory_of(seats: Json) -> str:
    """The guest's memory, all nodes together."""
    return short_size(sum(node["size_bytes"] for node in seats["guest_nodes"]))


def nodes_of(seats: Json) -> str:
    """The host nodes of the memory as a list."""
    return format_cpulist({node for guest in seats["guest_nodes"] for node in guest["host_nodes"]})


def pcpus_of(seats: Json) -> str:
    """The pCPUs of all vCPUs: in the order of the vCPUs where each has one of its own."""
    pins = [vcpu["pin"] for vcpu in seats["vcpus"]]
    if all(pin.isdigit() for pin in pins):
        return ",".join(pins)
    return " ".join(dict.fromkeys(pins))


def _seats(vms: Iterable[Json]) -> list[str]:
    return [seat_text(vm["name"], vm) for vm in vms if vm["action"] in ("starts", "restarts")]


def seat_text(name: str, seats: Json) -> str:
    """One VM in one sentence: vCPUs by pCPU, and everything else that has a pin."""
    parts = []
    for (node, floats), group in groupby(seats["vcpus"], key=lambda vcpu: (vcpu["guest_node"], not vcpu["pin"].isdigit())):
        vcpus = list(group)
        home = format_cpulist(seats["guest_nodes"][node]["host_nodes"])
        where = next(iter(vcpus))["pin"] if floats else ",".join(vcpu["pin"] for vcpu in vcpus)
        how = "float on" if floats else "on"
        numbers = format_cpulist(vcpu["vcpu_index"] for vcpu in vcpus)
        parts.append(f"vCPU {numbers} {how} {where}" + (f" (memory on node {home})" if home else ""))
    parts += [f"siblings kept empty {seats['emptied']}"] if seats["emptied"] else []
    parts.append(f"emulator {seats['emulator']}")
    parts += [f"iothreads {seats['iothreads'][0]['pin']}"] if seats["iothreads"] else []
    parts += [f"vhost {seats['nics'][0]['worker_pin']}"] if seats["nics"] else []
    parts += [
        f"pool of node {growth['host_node']} grows by {growth['count']} pages of {short_size(growth['page_size_bytes'])}"
        for growth in seats["pool_growth"]
    ]
    return f"{name}: {'; '.join(parts)}"


def _changes(vms: Iterable[Json]) -> list[str]:
    return [move_text(vm["name"], vm["before"], vm) for vm in vms if vm.get("before")]


def move_text(name: str, before: Json, after: Json) -> str:
    """What of a VM sits elsewhere: pCPUs and nodes, before and after."""
    parts = [
        f"{title} {of(before) or 'none'} → {of(after) or 'none'}"
        for title, of in (("pCPUs", pcpus_of), ("nodes", nodes_of))
        if of(before) != of(after)
    ]
    return f"{name}: {'; '.join(parts) or 'pages of another size'}"


def _warnings(vms: Iterable[Json]) -> list[str]:
    return [f"{vm['name']}: {warning['message']} [{warning['code']}]" for vm in vms for warning in vm.get("warnings", ())]


def refused_lines(refused: Iterable[Json], style: Style, width: int) -> list[str]:
    """Why each refused VM does not fit, and what would make it fit."""
    lines: list[str] = []
    for vm in refused:
        would = "would not come back" if vm["runs"] else "refused"
        lines += ["", style.colour("red", f"{vm['name']}: {would}"), *reason_lines(vm["reasons"])]
        for text in vm["suggestions"]:
            lines += wrapped(printable(f"would fit: {text}"), width, "  ", "      ")
        if vm["moves"]:
            lines.append(f"  would fit after {counted(len(vm['moves']), 'live re-pin')}, in any order:")
            lines += [f"      {_move(move)}" for move in vm["moves"]]
            lines += wrapped(printable(f"then {seat_text(vm['name'], vm['after_moves'])}"), width, "    ", "      ")
    return lines


def _move(move: Json) -> str:
    return f"{move['vm']} vCPU {move['vcpu_index']}: pCPU {move['from_pcpu']} → {move['to_pcpu']}"


def _room(rows: Iterable[Json]) -> list[str]:
    texts = []
    for row in rows:
        pages = f" of {short_size(row['hugepages_bytes'])} pages" if row["hugepages_bytes"] else ""
        if row["memory_per_vcpu_bytes"] is None:
            shape, size = "shared, one vCPU", short_size(row["memory_bytes"])
        else:
            smt = f", {row['threads']} threads a core" if row["threads"] > 1 else ""
            shape = f"{row['placement']}{smt}, {short_size(row['memory_per_vcpu_bytes'])}{pages} a vCPU"
            size = f"{counted(row['vcpus'], 'vCPU')} with {short_size(row['memory_bytes'])}"
        nodes = format_cpulist(row["host_nodes"])
        texts.append(f"{shape}: {f'{size} on node {nodes}' if row['vcpus'] else 'none'}")
    return texts
