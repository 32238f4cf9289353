"""Problems as text for a terminal or a golden file."""

from __future__ import annotations

from collections.abc import Iterable

from qsup.errors import Problem


def render_problem(problem: Problem) -> str:
    """`web1.toml:7:12: error [spec.unknown-key]: …`, and the hint on a line of its own."""
    place = f"{problem.place}: " if problem.place else ""
    line = f"{place}error [{problem.code}]: {problem.message}"
    return line if problem.hint is None else f"{line}\n  hint: {problem.hint}"


def render_problems(problems: Iterable[Problem]) -> str:
    """All problems, one after another, with a line end after each."""
    return "".join(f"{render_problem(problem)}\n" for problem in problems)
