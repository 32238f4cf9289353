"""The machine as a picture: nodes, L3 groups, cores and pCPUs as boxes, each pCPU in the colour of who sits there.

Strategy: sizes are counted bottom up (core → L3 group → node → sheet), then everything is drawn at its place. Boxes of cores
are wide and carry names on machines of up to 64 pCPUs, else they carry the pCPU's number, with the VM's name below the core;
what does not fit stands in the tooltip (<title>) of the box. VMs that float over a pool stand below the picture. Live re-pins
that would make room stand in their boxes as arrows. Plain SVG 1.1 text, no script, no font of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qsup.api.client import Json
from qsup.cli.render.amounts import counted
from qsup.cli.render.sizes import short_size
from qsup.cli.render.svg import Box, bar, box, document, flowed, label, vm_colour
from qsup.cli.render.topology_text import has_dies
from qsup.cli.render.wrapping import wrapped

_GAP = 8
_PAD = 10
_HEAD = 26
_LINE = 18
_CELL_HEIGHT = 20
_CAPTION = 12
_POOL_NAMES = 60
_LETTER = 7
_NAMED_UP_TO = 64
_LEGEND_NAMES = 60
_USES = {
    "free": "#ffffff",
    "housekeeping": "#c9ced6",
    "pool": "#fdf0c4",
    "emptied": "#eef0f2",
    "offline": "#4a4f57",
}


_SHORT = {"housekeeping": "house", "emptied": "empty", "support": "threads", "pool": "pool", "offline": "offline"}


def topology_svg(host: Json) -> str:
    """The picture as SVG text. `host` is a map with the name of its host, and where there are some with `moves`."""
    sheet = _Sheet(host)
    nodes = [sheet.node_box(node) for node in host["nodes"]]
    columns = 1 if len(nodes) == 1 else 2 if len(nodes) <= 8 else 4
    parts, width, height = flowed(nodes, columns, gap=2 * _GAP)
    body = [f'<g transform="translate(24 {24 + 2 * _LINE})">', *parts, "</g>"]
    legend, legend_width, legend_height = _legend(host, sheet.colours, max(width, 640))
    top = 24 + 2 * _LINE + height + 2 * _GAP
    pools = _pool_lines(host, max(width, legend_width), legend_height)
    body += [f'<g transform="translate(24 {top})">', *legend, *pools, "</g>"]
    legend_height += _LINE * len(pools)
    smt = f"{host['threads']} threads a core" if host["threads"] > 1 else "no SMT"
    amounts = (counted(host["pcpus"], "pCPU"), counted(host["cores"], "core"), counted(len(nodes), "node"), smt)
    head = [label(24, 24 + 6, host["host"], size=18, bold=True), label(24, 24 + 6 + _LINE, ", ".join(amounts))]
    words = max(len(text) for text in (", ".join(amounts), host["host"])) * 8
    return document(max(width, legend_width, words) + 48, top + legend_height + 24, [*head, *body])


class _Sheet:
    """What all boxes of one picture share: the width of a cell and the colours of the VMs."""

    def __init__(self, host: Json) -> None:
        self._host = host
        self._named = host["pcpus"] <= _NAMED_UP_TO
        self._cell_width = 92 if self._named else 40
        self._dies = has_dies(host)
        moves = host.get("moves", ())
        self._arrows = {move["from_pcpu"]: f"→{move['to_pcpu']}" for move in moves}
        self._arrows |= {move["to_pcpu"]: f"←{move['from_pcpu']}" for move in moves}
        self._columns = 4 if self._named else 8
        self._captions = not self._named and any(pcpu["seats"] for node in host["nodes"] for _, _, pcpu in _pcpus_of(node))
        seated = {name for node in host["nodes"] for _, _, pcpu in _pcpus_of(node) for name in pcpu["vms"]}
        self.colours = {name: vm_colour(number) for number, name in enumerate(sorted(seated))}

    def node_box(self, node: Json) -> Box:
        """One node: its memory and pools above, its L3 groups below."""
        groups = [self._cache_box(cache) for cache in node["caches"]]
        columns = 1 if self._named else 2 if len(self._host["nodes"]) > 1 else 4
        parts, width, height = flowed(groups, columns, gap=_GAP)
        width = max(width, 450)
        memory = self._memory(node, width)
        inside = [*memory, f'<g transform="translate({_PAD} {_HEAD + len(memory) * _LINE + _GAP})">', *parts, "</g>"]
        frame = box(width + 2 * _PAD, _HEAD + len(memory) * _LINE + height + 2 * _GAP, "#f5f7fa", "#9aa5b1", radius=8)
        title = label(_PAD, 18, f"node {node['host_node']}", bold=True)
        if len(node["distances"]) > 1:
            title += label(_PAD + 82, 18, f"distances {' '.join(map(str, node['distances']))}", size=11, colour="#555f6b")
        size = frame.width, frame.height
        return Box(*size, [*frame.parts, title, *inside])

    def _memory(self, node: Json, width: int) -> list[str]:
        """A line of bars each: free memory, then pools."""
        total, free, due = node["memory_total_bytes"], node["memory_free_bytes"], node["memory_due_bytes"]
        promised = f", {short_size(due)} promised" if due else ""
        text = f"{short_size(free)} free of {short_size(total)}{promised}" if total else "none"
        rows = [("memory", total - free, due, total, text)]
        rows += [
            (f"{short_size(size)} pages", pool["total"] - pool["free"], pool["due"], pool["total"], _pages(pool))
            for pool in node["pools"]
            if (size := pool["page_size_bytes"]) and (pool["total"] or pool["held"])
        ]
        return [
            bar(_PAD, _HEAD + number * _LINE, name, used / max(1, whole), due / max(1, whole), text, width)
            for number, (name, used, due, whole, text) in enumerate(rows)
        ]

    def _cache_box(self, cache: Json) -> Box:
        cores = [self._core_box(core) for core in cache["cores"]]
        parts, width, height = flowed(cores, self._columns, gap=4)
        offline = all(pcpu["use"] == "offline" for core in cache["cores"] for pcpu in core["pcpus"])
        title = "offline" if offline else "L3 not told" if cache["l3"] is None else f"L3 {cache['l3']}"
        if self._dies and not offline:
            title = f"die {cache['die']}, {title}"
        name = label(8, 15, title, size=11, colour="#555f6b")
        frame = box(width + 16, height + 30, "#ffffff", "#c3cbd5", radius=6)
        return Box(frame.width, frame.height, [*frame.parts, name, '<g transform="translate(8 22)">', *parts, "</g>"])

    def _core_box(self, core: Json) -> Box:
        pcpus = core["pcpus"]
        height = _CELL_HEIGHT * len(pcpus)
        parts = [part for row, pcpu in enumerate(pcpus) for part in self._cell(pcpu, row * _CELL_HEIGHT)]
        outline = box(self._cell_width, height, "none", "#6b7785", radius=3)
        parts += outline.parts
        if self._captions:
            height += _CAPTION
            parts.append(label(0, height - 3, _caption(pcpus), size=8, colour="#555f6b", room=self._cell_width + 2))
        return Box(self._cell_width, height, parts)

    def _cell(self, pcpu: Json, top: int) -> Iterator[str]:
        fill = self._fill(pcpu)
        dashed = "isolated" in pcpu["marks"]
        arrow = self._arrows.get(pcpu["pcpu"], "")
        tooltip = " ".join(filter(None, (self._tooltip(pcpu), arrow)))
        frame = box(self._cell_width, _CELL_HEIGHT, fill, "#d7dde4", dashed=dashed, tooltip=tooltip)
        yield f'<g transform="translate(0 {top})">'
        yield from frame.parts
        text = str(pcpu["pcpu"])
        if self._named:
            text += f"  {' '.join(filter(None, (arrow, self._short(pcpu))))}"
        colour = "#ffffff" if pcpu["use"] == "offline" else "#1f2933"
        yield label(5, 14, text, size=10, colour=colour, room=self._cell_width - 8)
        yield "</g>"

    def _fill(self, pcpu: Json) -> str:
        use = pcpu["use"]
        return self.colours[pcpu["vms"][0]] if use in ("owned", "pinned", "support") else _USES[use]

    def _short(self, pcpu: Json) -> str:
        if pcpu["seats"]:
            more = "+" if len(pcpu["seats"]) > 1 else ""
            return f"{pcpu['seats'][0]['vm']}:{pcpu['seats'][0]['vcpu_index']}{more}"
        return _SHORT.get(pcpu["use"], "")

    def _tooltip(self, pcpu: Json) -> str:
        seats = [f"{seat['vm']} vCPU {seat['vcpu_index']}" for seat in pcpu["seats"]]
        pool = [name for position in pcpu["floating"] for name in self._host["floating"][position]["vms"]]
        who = ", ".join([*seats, *(pool[:8]), *(["…"] if len(pool) > 8 else [])])
        return ", ".join([f"pCPU {pcpu['pcpu']}: {pcpu['use']}", *([who] if who else []), *pcpu["marks"]])


def _caption(pcpus: Sequence[Json]) -> str:
    """Who sits on a core: the first VM's name, and how many more there are."""
    names = list(dict.fromkeys(seat["vm"] for pcpu in pcpus for seat in pcpu["seats"]))
    return "" if not names else names[0] if len(names) == 1 else f"{names[0]}+{len(names) - 1}"


def _pool_lines(host: Json, width: int, top: int) -> list[str]:
    """Who floats over which pCPUs."""
    texts: list[str] = []
    for group in host["floating"]:
        more = len(group["vms"]) - _POOL_NAMES
        names = ", ".join(group["vms"][:_POOL_NAMES]) + (f" and {more} more" if more > 0 else "")
        amounts = f"{counted(group['vcpus'], 'vCPU')} of {counted(len(group['vms']), 'VM')}"
        texts += wrapped(f"pool {group['pcpus']}: {amounts}: {names}", int(width / _LETTER), "", "    ")
    return [label(0, top + number * _LINE, text, size=11) for number, text in enumerate(texts, 1)]


def _pages(pool: Json) -> str:
    promised = f", {pool['due']} promised" if pool["due"] else ""
    foreign = f", {pool['foreign']} foreign" if pool["foreign"] else ""
    short = pool["due"] - pool["free"]
    grows = f", {short} to grow" if short > 0 else ""
    return f"{pool['free']} free of {pool['total']}{promised}{grows}{foreign}"


def _pcpus_of(node: Json) -> Iterator[tuple[Json, Json, Json]]:
    for cache in node["caches"]:
        for core in cache["cores"]:
            for pcpu in core["pcpus"]:
                yield cache, core, pcpu


def _legend(host: Json, colours: dict[str, str], width: int) -> tuple[list[str], int, int]:
    used = {pcpu["use"] for node in host["nodes"] for _, _, pcpu in _pcpus_of(node)}
    entries = [(name, colour) for name, colour in _USES.items() if name in used]
    if any("isolated" in pcpu["marks"] for node in host["nodes"] for _, _, pcpu in _pcpus_of(node)):
        entries.append(("isolated: dashed", "#ffffff"))
    entries += list(colours.items())[:_LEGEND_NAMES]
    if len(colours) > _LEGEND_NAMES:
        entries.append((f"and {len(colours) - _LEGEND_NAMES} more", "#ffffff"))
    boxes = [_legend_entry(name, colour) for name, colour in entries]
    return flowed(boxes, max(1, width // 150), gap=6)


def _legend_entry(name: str, colour: str) -> Box:
    swatch = box(14, 14, colour, "#6b7785", radius=2)
    return Box(144, 16, [*swatch.parts, label(20, 12, name, size=11, room=120)])
