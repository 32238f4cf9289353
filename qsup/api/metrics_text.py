"""Metrics as text. Source: Prometheus, "Exposition formats", text format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable

from qsup.supervisor.metric import Family, Labels

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
        name = family.name
        lines.extend(f"{name}{suffix}{_labels(labels)} {_number(value)}" for labels, value, suffix in family.samples)
    lines.append("")
    return "\n".join(lines).encode("utf-8", "replace")


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{_escaped(value)}"' for name, value in labels]) + "}"


def _escaped(value: str) -> str:
    return value if value.isalnum() else value.translate(_ESCAPES)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
