"""Rule: one thing that is known to cost, as data: how it is found, why it costs, how much, what mends it.

A figure stands in a rule only together with its source; where none is known, the cost is "unknown".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from attrs import field, frozen

from qsup.truth.audit.facts import AuditFacts, Told

Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")
HOST = "host"


@frozen
class Cost:
    """How much it costs: a figure and where it was published, or neither.

    `percent` is the figure as far as it is one share of something; it orders findings of one severity and says no more.
    """

    figure: str | None = None
    source: str | None = None
    percent: float | None = None


UNKNOWN_COST = Cost()


@frozen
class Evidence:
    """A file (or a key of a VM's file) and the value that was found there."""

    file: str
    value: str


@frozen
class Found:
    """One place where a rule trips. `subject`: "host", a VM's name, a link. `fill` completes the rule's command.

    `cost` stands above the rule's own where this host itself tells the figure.
    """

    subject: str
    what: str
    evidence: tuple[Evidence, ...]
    fill: Mapping[str, str] = field(factory=dict)
    cost: Cost | None = None


@frozen
class Unknown:
    """It could not be told: a file is missing or unreadable, and the rest shows no fault."""

    why: str


@frozen
class Irrelevant:
    """The rule has nothing to look at here, and why."""

    why: str


Answer = tuple[Found, ...] | Unknown | Irrelevant


@frozen
class Rule:
    """One rule.

    `mend` is a shell command, or the key to write into a VM's file; `{words}` are filled by what was found. `lasting` says what
    keeps it so after a reboot (None: the command itself lasts). `reads` names the files that it looks at.
    """

    rule_id: str
    title: str
    severity: Severity
    why: str
    cost: Cost
    mend: str
    reads: tuple[str, ...]
    look: Callable[[AuditFacts], Answer]
    lasting: str | None = None

    @property
    def topic(self) -> str:
        """The first half of its id."""
        return self.rule_id.partition(".")[0]


def told(*files: Told) -> tuple[Evidence, ...]:
    """Evidence from files as they were read; one that could not be read is left out."""
    return tuple(Evidence(one.file, one.text.strip()) for one in files if one.text is not None)


def not_told(*files: Told) -> Unknown:
    """The answer where files that decide cannot be read."""
    return Unknown(f"cannot be read: {', '.join(dict.fromkeys(one.file for one in files if one.text is None))}")


def of_one(one: Told, is_fault: bool | None, what: str, **fill: str) -> Answer:
    """The answer of a rule that looks at one setting of the host. `is_fault` None: the file has no such value."""
    if one.text is None or is_fault is None:
        return not_told(one) if one.text is None else Unknown(f"{one.file} says {one.text.strip()!r}, which is no known value")
    return (Found(HOST, what, told(one), fill),) if is_fault else ()


def found_or_unknown(found: Iterable[Found], unknown: Iterable[Told]) -> Answer:
    """What was found; where nothing was, and files could not be read, that it is not known."""
    places = tuple(found)
    unread = tuple(one for one in unknown if one.text is None)
    return not_told(*unread) if unread and not places else places
