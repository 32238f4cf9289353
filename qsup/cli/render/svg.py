"""SVG by hand: boxes, labels, bars, and boxes in rows. Every text is escaped; every number is whole."""

from __future__ import annotations

from collections.abc import Sequence
from colorsys import hls_to_rgb

from qsup.cli.terminal import printable

_VM_COLOURS = (
    "#8ecae6", "#b7e4c7", "#ffd6a5", "#d8c2f0", "#f7b5b5", "#a8dadc", "#e9d8a6", "#c5dca0",
    "#f4c2d7", "#b5c7f2", "#9fd8c4", "#f6cba0", "#d5bdaf", "#c9e4f2", "#dce2a8", "#e3b7e8",
)  # fmt: skip
_FONT = "font-family=\"system-ui, 'DejaVu Sans', sans-serif\""
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})


class Box:
    """A drawing of known size."""

    def __init__(self, width: int, height: int, parts: Sequence[str]) -> None:
        self.width = width
        self.height = height
        self.parts = list(parts)


def vm_colour(number: int) -> str:
    """A light colour of its own for each VM; the first sixteen are easiest to tell apart."""
    if number < len(_VM_COLOURS):
        return _VM_COLOURS[number]
    hue = number * 137.508 % 360  # the golden angle: neighbours in number are far apart in hue
    parts = hls_to_rgb(hue / 360, 0.72 + number % 4 * 0.04, 0.45 + number % 3 * 0.15)
    # SVG 1.1 knows no hsl(): a viewer that keeps to it would paint the box black.
    return "#" + "".join(f"{round(part * 255):02x}" for part in parts)


def escaped(text: str) -> str:
    """The text as XML character data, without what XML does not allow."""
    return "".join("\ufffd" if _forbidden(ord(char)) else char for char in printable(text)).translate(_ESCAPES)


def _forbidden(code: int) -> bool:
    """What XML 1.0 does not allow as a character (section 2.2) and `printable` leaves."""
    return 0xD800 <= code <= 0xDFFF or code in (0xFFFE, 0xFFFF)


def box(
    width: int, height: int, fill: str, stroke: str, *, radius: int = 0, dashed: bool = False, tooltip: str = ""
) -> Box:
    """A rectangle at the origin."""
    dash = ' stroke-dasharray="4 3" stroke-width="2"' if dashed else ""
    rounded = f' rx="{radius}"' if radius else ""
    line = "#6b3fa0" if dashed else stroke
    inset = 1 if dashed else 0
    size = f'x="{inset}" y="{inset}" width="{width - 2 * inset}" height="{height - 2 * inset}"'
    head = f'<rect {size}{rounded} fill="{fill}" stroke="{line}"{dash}'
    return Box(width, height, [f"{head}><title>{escaped(tooltip)}</title></rect>" if tooltip else f"{head}/>"])


def label(
    left: int, baseline: int, text: str, *, size: int = 13, bold: bool = False, colour: str = "#1f2933", room: int | None = None
) -> str:
    """A line of text; cut to about `room` pixels."""
    if room is not None:
        letters = max(1, int(room / (size * 0.6)))
        text = text if len(text) <= letters else text[: letters - 1] + "…"
    weight = ' font-weight="bold"' if bold else ""
    head = f'<text x="{left}" y="{baseline}" font-size="{size}" fill="{colour}"{weight} xml:space="preserve">'
    return f"{head}{escaped(text)}</text>"


def bar(left: int, top: int, name: str, used: float, promised: float, text: str, width: int) -> str:
    """A named bar, filled by two shares between 0 and 1 (what is used, and in a lighter tone what is promised), and a text."""
    length = 60
    dark = round(length * min(max(used, 0.0), 1.0))
    light = min(round(length * min(max(promised, 0.0), 1.0)), length - dark)
    return (
        f'<g transform="translate({left} {top})">{label(0, 13, name, size=11)}'
        f'<rect x="82" y="4" width="{length}" height="11" fill="#ffffff" stroke="#9aa5b1"/>'
        f'<rect x="82" y="4" width="{dark}" height="11" fill="#7b8794"/>'
        f'<rect x="{82 + dark}" y="4" width="{light}" height="11" fill="#c3cbd5"/>'
        f"{label(82 + length + 8, 13, text, size=11, room=max(width - length - 84, 60))}</g>"
    )


def flowed(boxes: Sequence[Box], columns: int, *, gap: int) -> tuple[list[str], int, int]:
    """Boxes in rows of `columns`, each column as wide as its widest box: (parts, width, height)."""
    rows = [boxes[start : start + columns] for start in range(0, len(boxes), columns)]
    widths = [max(row[column].width for row in rows if column < len(row)) for column in range(min(columns, len(boxes)))]
    parts: list[str] = []
    top = 0
    for row in rows:
        left = 0
        for column, one in enumerate(row):
            parts += [f'<g transform="translate({left} {top})">', *one.parts, "</g>"]
            left += widths[column] + gap
        top += max(one.height for one in row) + gap
    return parts, max(0, sum(widths) + gap * (len(widths) - 1)), max(0, top - gap)


def document(width: int, height: int, parts: Sequence[str]) -> str:
    """The whole file."""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" version="1.1" {size} {_FONT}>'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"
