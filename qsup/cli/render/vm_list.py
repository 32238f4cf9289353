"""The list of VMs: one line each, good at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from qsup.api.client import Json
from qsup.bytesize import format_byte_size
from qsup.cli.render.amounts import age, counted
from qsup.cli.render.columns import aligned
from qsup.cli.render.phase import painted_phase
from qsup.cli.render.start_progress import progress_words
from qsup.cli.terminal import Style, printable

_HEAD = ("NAME", "PHASE", "PID", "VCPUS", "MEMORY", "NODES", "NOTE")


def list_text(vms: Sequence[Json], style: Style, width: int | None) -> str:
    """The table, with its head; without VMs one sentence."""
    if not vms:
        return "no VMs: drop a TOML file into the config directory"

    def paint(row: int, column: int, cell: str) -> str:
        if row == 0:
            return style.colour("bold", cell)
        return painted_phase(style, vms[row - 1]["phase"], cell) if column == 1 else cell

    return "\n".join(aligned([_HEAD, *map(_row, vms)], width=width, paint=paint))


def _row(vm: Json) -> tuple[str, ...]:
    memory_bytes = vm["memory_bytes"]
    return (
        vm["name"],
        vm["phase"],
        _number(vm["pid"]),
        _number(vm["vcpus"]),
        "" if memory_bytes is None else format_byte_size(memory_bytes),
        ",".join(map(str, vm["host_nodes"])),
        printable("; ".join(_notes(vm))).replace("\n", " "),
    )


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _notes(vm: Json) -> list[str]:
    """What a person should know first, the most urgent first."""
    ended = vm["last_ending"] if vm["pid"] is None else None
    trouble = None if vm["refusal_count"] or vm["trouble"] == ended else vm["trouble"]
    notes = (
        (vm["silent_s"] is not None, f"silent for {age(vm['silent_s'] or 0)}"),
        (vm["starting"] is not None, progress_words(vm["starting"])),
        (vm["refusal_count"], f"refused: {counted(vm['refusal_count'], 'reason')}"),
        (vm["config_state"] == "invalid", f"file invalid: {counted(vm['problem_count'], 'problem')}"),
        (vm["config_state"] == "removed", "file removed"),
        (vm["next_start_in_s"] is not None, f"starts in {age(vm['next_start_in_s'] or 0)}"),
        (ended, f"ended: {ended}"),
        (trouble, str(trouble)),
        (vm["pending_count"], f"{counted(vm['pending_count'], 'change')} pending"),
        (vm["warning_count"], counted(vm["warning_count"], "warning")),
        (vm["description"], str(vm["description"])),
    )
    return [text for holds, text in notes if holds]
