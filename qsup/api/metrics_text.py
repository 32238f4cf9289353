"""Metrics as text. Source: Prometheus, "Exposition formats", text format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable

from qsup.supervisor.metric import Family

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_HELP_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n"})


def text_of(families: Iterable[Family]) -> bytes:
    """All families that have samples, each with its help and its type, each once."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {family.help.translate(_HELP_ESCAPES)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines.extend(f"{family.name}{_labels(sample.labels)} {_number(sample.value)}" for sample in family.samples)
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels) + "}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
