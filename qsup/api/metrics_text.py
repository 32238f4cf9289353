"""Metrics as text. Source: Prometheus, "Exposition formats", text format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable

from qsup.supervisor.metric import Family, Histogram, Labels

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_HELP_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n"})


def text_of(families: Iterable[Family]) -> bytes:
    """All families that have samples, each with its help and its type, each once."""
    lines: list[str] = []
    for family in families:
        if not family.samples and not family.histograms:
            continue
        name = family.name
        lines.append(f"# HELP {name} {family.help.translate(_HELP_ESCAPES)}")
        lines.append(f"# TYPE {name} {family.kind}")
        lines.extend([f"{name}{_labels(labels)} {_number(value)}" for labels, value in family.samples])
        for histogram in family.histograms:
            lines.extend(_lines_of(name, histogram))
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")


def _lines_of(name: str, histogram: Histogram) -> list[str]:
    labels = _labels(histogram.labels)
    bucket = f'{name}_bucket{labels[:-1]},le="' if labels else f'{name}_bucket{{le="'
    lines = [f'{bucket}{bound}"}} {count}' for bound, count in zip(histogram.bounds, histogram.counts, strict=False)]
    lines.append(f'{bucket}+Inf"}} {histogram.counts[-1]}')
    lines.append(f"{name}_sum{labels} {_number(histogram.sum)}")
    lines.append(f"{name}_count{labels} {histogram.counts[-1]}")
    return lines


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{_escaped(value)}"' for name, value in labels]) + "}"


def _escaped(value: str) -> str:
    return value if value.isalnum() else value.translate(_ESCAPES)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
