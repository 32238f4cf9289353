"""The machine as text: for each node its memory, its pools, and its cores by L3 group with who sits there.

Strategy: cores that are alike (same L3 group, same use by the same VMs) fold into one row, and L3 groups whose cores are all
alike fold into one; so an empty machine of 256 pCPUs takes a few lines and a full one no more than it has different seats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from qsup.api.client import Json
from qsup.cli.render.amounts import counted
from qsup.cli.render.columns import cut
from qsup.cli.render.sizes import short_size
from qsup.cli.render.wrapping import wrapped
from qsup.cli.terminal import Style, printable
from qsup.cpuset import format_cpulist

_COLOURS = {
    "owned": "green",
    "support": "green",
    "emptied": "dim",
    "pinned": "green",
    "pool": "yellow",
    "housekeeping": "dim",
    "free": "",
    "offline": "red",
}
_APART = {"emptied": "kept empty for", "support": "other threads of"}
_WIDEST_LIST = 30
_MOST_NAMES = 4
_MOST_LISTED = 16


def topology_text(host: Json, style: Style, width: int) -> str:
    """The whole machine."""
    nodes, cores = counted(len(host["nodes"]), "node"), counted(host["cores"], "core")
    offline = f", {host['pcpus'] - host['online']} offline" if host["pcpus"] != host["online"] else ""
    smt = f"{host['threads']} threads a core" if host["threads"] > 1 else "no SMT"
    head = f"{printable(host['host'])}: {counted(host['pcpus'], 'pCPU')}, {cores}, {nodes}, {smt}{offline}"
    lines = [style.colour("bold", head)]
    lines += [f"housekeeping {host['housekeeping']}"] if host["housekeeping"] else []
    lines += _distances(host["nodes"])
    for node in host["nodes"]:
        lines += ["", *node_lines(host, node, style, width)]
    lines += _floating(host["floating"], style, width)
    for title, key in (("assumed", "assumptions"), ("note", "notes")):
        lines += [""] if host.get(key) else []
        lines += [line for text in host.get(key) or () for line in wrapped(f"{title}: {printable(text)}", width, "", "  ")]
    return "\n".join(lines)


def _distances(nodes: Sequence[Json]) -> list[str]:
    if len(nodes) < 2:
        return []
    wide = max(len(str(value)) for node in nodes for value in (node["host_node"], *node["distances"]))
    head = " ".join(str(node["host_node"]).rjust(wide) for node in nodes)
    rows = [" ".join(str(value).rjust(wide) for value in node["distances"]) for node in nodes]
    labels = [str(node["host_node"]).rjust(wide) for node in nodes]
    pairs = zip(labels, rows, strict=True)
    return [f"distances  {' ' * wide}  {head}", *(f"           {label}  {row}" for label, row in pairs)]


def node_lines(host: Json, node: Json, style: Style, width: int) -> list[str]:
    """One node: its memory, pools, VMs in memory, and the rows of its cores."""
    memory = f"{short_size(node['memory_free_bytes'])} free of {short_size(node['memory_total_bytes'])}"
    due = f", {short_size(node['memory_due_bytes'])} promised" if node["memory_due_bytes"] else ""
    what = memory + due if node["memory_total_bytes"] else "no memory"
    lines = [f"{style.colour('bold', 'node ' + str(node['host_node']))}  {what}"]
    lines += [f"  {_pool(pool)}" for pool in node["pools"] if pool["total"] or pool["held"]]
    guests = _listed([f"{vm} {short_size(size)}" for vm, size in _guest_sizes(node["guests"]).items()])
    lines += wrapped(printable(f"memory of {guests}"), width, "  ", "    ") if guests else []
    if not node["caches"]:
        return [*lines, "  no pCPUs"]
    rows = _fold_caches([(cache, _rows(host, cache)) for cache in node["caches"]], has_dies(host))
    room = min(_WIDEST_LIST, max((len(pcpus) for _, cells in rows for pcpus, _, _, _ in cells), default=0))
    for title, cells in rows:
        lines.append(f"  {title}")
        for row in cells:
            lines += _row_lines(row, room, style, width)
    return lines


def has_dies(host: Json) -> bool:
    """Whether a socket of the host has more than one die."""
    dies = {(cache["socket"], cache["die"]) for node in host["nodes"] for cache in node["caches"]}
    return len(dies) > len({socket for socket, _ in dies})


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more


def _pool(pool: Json) -> str:
    parts = [f"{pool['free']} free of {pool['total']} pages of {short_size(pool['page_size_bytes'])}"]
    due = f" ({pool['due']} yet to take)" if pool["due"] else ""
    grows = pool["due"] - pool["free"]
    parts += [f"{pool['held']} for VMs{due}"] if pool["held"] else []
    parts += [f"must grow by {grows}"] if grows > 0 else []
    parts += [f"{pool[word]} {word}" for word in ("reserved", "surplus") if pool[word]]
    parts += [f"{pool['foreign']} in foreign use"] if pool["foreign"] else []
    return ", ".join(parts)


def _guest_sizes(guests: Iterable[Json]) -> dict[str, int]:
    """Each VM's memory on a node, in pages of all sizes."""
    sizes: dict[str, int] = {}
    for guest in guests:
        size = guest["pages"] * guest["page_size_bytes"] + guest["base_bytes"]
        sizes[guest["vm"]] = sizes.get(guest["vm"], 0) + size
    return sizes


_Row = tuple[str, int, str, str]  # cpulist, cores, label, use


def _rows(host: Json, cache: Json) -> list[_Row]:
    rows: list[_Row] = []
    for _, group in groupby(cache["cores"], key=_alike):
        cores = list(group)
        pcpus = [pcpu for core in cores for pcpu in core["pcpus"]]
        marks = ", ".join(dict.fromkeys(mark for pcpu in pcpus for mark in pcpu["marks"]))
        label = _label(host, cores)
        rows.append((_cpulist(pcpus), len(cores), f"{label}  ({marks})" if marks else label, pcpus[0]["use"]))
    return rows


def _cpulist(pcpus: Iterable[Json]) -> str:
    return format_cpulist(pcpu["pcpu"] for pcpu in pcpus)


def _alike(core: Json) -> object:
    return [(pcpu["use"], pcpu["vms"], pcpu["floating"], pcpu["marks"]) for pcpu in core["pcpus"]]


def _label(host: Json, cores: Sequence[Json]) -> str:
    """Who sits on cores that are alike; thread by thread where their pCPUs differ."""
    columns = list(zip(*(core["pcpus"] for core in cores), strict=False))
    if len({(column[0]["use"], *column[0]["vms"], *column[0]["floating"]) for column in columns}) == 1:
        return _who(host, [pcpu for column in columns for pcpu in column])
    return " | ".join(_who(host, list(column)) for column in columns)


def _who(host: Json, pcpus: Sequence[Json]) -> str:
    use = pcpus[0]["use"]
    if use == "pool":
        return _pool_label([host["floating"][position] for position in pcpus[0]["floating"]])
    if use in _APART:
        return f"{_APART[use]} {', '.join(pcpus[0]['vms'])}"
    if use in ("owned", "pinned"):
        seated = ", ".join(_seated(name, pcpus) for name in pcpus[0]["vms"])
        return f"{seated} (pinned)" if use == "pinned" else seated
    return str(use)


def _seated(name: str, pcpus: Sequence[Json]) -> str:
    vcpus = [seat["vcpu_index"] for pcpu in pcpus for seat in pcpu["seats"] if seat["vm"] == name]
    return f"{name} vCPU {format_cpulist(vcpus)}"


def _pool_label(groups: Sequence[Json]) -> str:
    names = [name for group in groups for name in group["vms"]]
    few = ", ".join(names[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"pool: {few}{more}"


def _fold_caches(caches: Sequence[tuple[Json, list[_Row]]], dies: bool) -> list[tuple[str, list[_Row]]]:
    """(title, rows) of each L3 group; neighbours of one row each that say the same become one."""
    folded: list[tuple[str, list[_Row]]] = []
    for _, group in groupby(enumerate(caches), key=lambda item: _fold_key(item[0], item[1][1])):
        members = [cache for _, cache in group]
        if len(members) == 1:
            cache, rows = members[0]
            folded.append((_title([cache], rows, dies), rows))
            continue
        pcpus = [pcpu for cache, _ in members for core in cache["cores"] for pcpu in core["pcpus"]]
        cores = sum(row[1] for _, rows in members for row in rows)
        first = members[0][1][0]
        merged = [(_cpulist(pcpus), cores, first[2], first[3])]
        folded.append((_title([cache for cache, _ in members], merged, dies), merged))
    return folded


def _fold_key(position: int, rows: list[_Row]) -> object:
    return rows[0][2] if len(rows) == 1 and rows[0][3] not in ("owned", "pinned") else position


def _title(caches: Sequence[Json], rows: Sequence[_Row], dies: bool) -> str:
    cores = counted(sum(row[1] for row in rows), "core")
    sockets = format_cpulist({cache["socket"] for cache in caches})
    where = f"socket {sockets}" if sockets == str(caches[0]["socket"]) else f"sockets {sockets}"
    if dies:
        where += f", die {format_cpulist({cache['die'] for cache in caches})}"
    if caches[0]["l3"] is None:
        offline = all(row[3] == "offline" for row in rows)
        return cores if offline else f"{where}, L3 not told, {cores}"
    groups = f"L3 {format_cpulist(cache['l3'] for cache in caches)}"
    each = " together" if len(caches) > 1 else ""
    return f"{where}, {groups}, {cores}{each}"


def _row_lines(row: _Row, room: int, style: Style, width: int) -> list[str]:
    pcpus, cores, label, use = row
    amount = f"{cores:>4}×"
    text = cut(printable(label), max(width - 4 - room - 2 - len(amount) - 2, 20))
    colour = _COLOURS.get(use, "")
    shown = style.colour(colour, text) if colour else text
    first, *rest = wrapped(pcpus, room)
    return [f"    {first.ljust(room)}  {amount}  {shown}", *(f"    {part}" for part in rest)]


def _floating(groups: Sequence[Json], style: Style, width: int) -> list[str]:
    lines = ["", style.colour("bold", "shared pool")] if groups else []
    for group in groups:
        amounts = f"{counted(group['vcpus'], 'vCPU')} of {counted(len(group['vms']), 'VM')}"
        text = f"{group['pcpus']}: {amounts}: {_listed(group['vms'])}"
        lines += wrapped(printable(text), width, "  ", "    ")
    return lines
