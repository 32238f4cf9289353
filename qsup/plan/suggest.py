"""Suggestions: the smallest sets of changes with which a refused VM would fit, each verified by planning again.

Strategy: every single relaxation at its utmost; then pairs of those that did not do by themselves, the kinds of pairs in turn
(`variety.py`); where neither helps, all together, from which one after another is taken back. Of each set that fits, every
relaxation is then lessened as far as the VM still fits. A set is only shown when it was planned and fitted exactly as shown;
the number of plannings is bounded, so on a crowded host a suggestion may be missed, but none is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from attrs import frozen

from qsup.errors import Reason, Refused
from qsup.plan.case import Case, Notes
from qsup.plan.guest_record import GuestRecord
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.ledger_index import exclusive_pcpus
from qsup.plan.place import place, planned
from qsup.plan.policy import HostPolicy
from qsup.plan.relaxations import Question, Relaxation, applied, departure_of, relaxations_of
from qsup.plan.variety import Pair, in_turn, kind_of, pairs_by_kind, varied
from qsup.plan.vmplan import VmPlan
from qsup.spec.vmspec import VmSpec

_MOST_SUGGESTIONS = 6
_MOST_DEPARTURES = 12
_MOST_OF_A_KIND = 4  # of pairs
_MOST_PLANNINGS = 160
_KEPT_PLANNINGS = 50  # not spent on pairs: for taking back from all together
_NO_ALIASES: Mapping[str, str] = MappingProxyType({})

Degrees = tuple[tuple[int, int], ...]


@frozen
class Suggestion:
    """Changes that together make the VM fit; none can be left out. `question` is what to ask then, `plan` the answer."""

    changes: tuple[str, ...]
    stops: tuple[str, ...]
    question: Question
    plan: VmPlan

    @property
    def text(self) -> str:
        """The changes in one line."""
        return ", and ".join(self.changes)


def suggestions(
    spec: VmSpec,
    facts: HostFacts,
    policy: HostPolicy,
    ledger: Ledger,
    record: GuestRecord | None = None,
    machine_aliases: Mapping[str, str] = _NO_ALIASES,
) -> tuple[Suggestion, ...]:
    """What would make the VM fit: fewest changes first, of each number the gentlest; empty where it fits or nothing helps."""
    question = Question(spec, facts, policy, ledger.released(spec.name), record, machine_aliases)
    try:
        _answer(question)
    except Refused as refused:
        return _Search(question, refused.reasons).found()
    return ()


def with_suggestions(
    refused: Refused,
    spec: VmSpec,
    facts: HostFacts,
    policy: HostPolicy,
    ledger: Ledger,
    record: GuestRecord | None = None,
    machine_aliases: Mapping[str, str] = _NO_ALIASES,
) -> Refused:
    """The same refusal with its suggestions."""
    question = Question(spec, facts, policy, ledger.released(spec.name), record, machine_aliases)
    return Refused(refused.reasons, tuple(found.text for found in _Search(question, refused.reasons).found()))


def _answer(question: Question) -> VmPlan:
    return place(
        question.spec, question.facts, question.policy, question.ledger, question.record, question.machine_aliases
    )


class _Search:
    """One search. A choice is a tuple of (relaxation, degree), both counted from 0, ascending by relaxation."""

    def __init__(self, question: Question, reasons: tuple[Reason, ...]) -> None:
        self._question = question
        own = relaxations_of(question)
        self._offers: tuple[Relaxation, ...] = (*own, *map(departure_of, _holders(question, reasons)))
        self._departures = range(len(own), len(self._offers))
        self._answers: dict[Degrees, VmPlan | None] = {}
        self._left = _MOST_PLANNINGS

    def found(self) -> tuple[Suggestion, ...]:
        texts: dict[str, Suggestion] = {}
        for suggestion in map(self._suggestion, varied(sorted(self._sets()), self._kind)):
            texts.setdefault(suggestion.text, suggestion)
        return tuple(texts.values())[:_MOST_SUGGESTIONS]

    def _kind(self, choice: Degrees) -> tuple[str, ...]:
        return kind_of(self._offers, (number for number, _ in choice))

    def _sets(self) -> Iterator[Degrees]:
        helping = [number for number in range(len(self._offers)) if self._utmost((number,))]
        gentlest = {self._offers[number].axis: number for number in reversed(helping)}
        singles = sorted(gentlest.values())
        yield from filter(None, (self._lessened(self._choice((number,))) for number in singles))
        pairs = self._pairs([number for number in range(len(self._offers)) if number not in helping])
        yield from pairs
        if not helping and not pairs:
            yield from self._taken_back(self._departures)
            yield from self._taken_back({offer.axis: number for number, offer in enumerate(self._offers)}.values())

    def _taken_back(self, numbers: Iterable[int]) -> Iterator[Degrees]:
        """All of these relaxations, less every one without which the VM fits as well; the harshest go first."""
        kept = tuple(numbers)
        if not self._utmost(kept):
            return
        for number in sorted(kept, reverse=True):
            fewer = tuple(one for one in kept if one != number)
            if fewer and self._utmost(fewer):
                kept = fewer
        lessened = self._lessened(self._choice(kept))
        if lessened is not None:
            yield lessened

    def _pairs(self, numbers: Sequence[int]) -> list[Degrees]:
        """Pairs that fit, lessened; a few of each kind."""
        found: dict[tuple[str, ...], list[Degrees]] = {}
        kinds = pairs_by_kind(self._offers, numbers).values()
        for pair in in_turn([self._promising(pairs) for pairs in kinds]):
            if self._left <= _KEPT_PLANNINGS:
                break
            like = found.setdefault(kind_of(self._offers, pair), [])
            lessened = self._lessened(self._choice(pair)) if len(like) < _MOST_OF_A_KIND and self._utmost(pair) else None
            if lessened is not None:
                like.append(lessened)
        return [choice for like in found.values() for choice in like]

    def _promising(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Of pairs of one kind, those to try, without those VMs with which, and all smaller ones, gone it does not fit yet.

        The smallest VMs come first; but the largest where the other change has degrees, which is then the gentlest.
        """
        if pairs[0][1] not in self._departures:
            return list(pairs)
        if pairs[0][0] in self._departures:
            least = self._largest_needed(sorted({number for pair in pairs for number in pair}))
            return [pair for pair in pairs if pair[1] >= least]
        stops: dict[int, list[int]] = {}
        for one, stop in pairs:
            stops.setdefault(one, []).append(stop)
        needed = {one: self._largest_needed(beside, one) for one, beside in stops.items()}
        kept = [pair for pair in pairs if pair[1] >= needed[pair[0]]]
        return kept[::-1] if len(self._offers[pairs[0][0]].steps) > 1 else kept

    def _largest_needed(self, stops: Sequence[int], *beside: int) -> int:
        """Of the fewest departures with which it fits, smallest VMs first, the largest; beyond all where it never does."""
        least, most = 0, len(stops)
        while least < most:
            middle = (least + most) // 2
            if self._left <= _KEPT_PLANNINGS or self._utmost((*beside, *stops[: middle + 1])):
                most = middle
            else:
                least = middle + 1
        return stops[least] if least < len(stops) else len(self._offers)

    def _choice(self, numbers: Iterable[int]) -> Degrees:
        return tuple((number, len(self._offers[number].steps) - 1) for number in numbers)

    def _utmost(self, numbers: Iterable[int]) -> bool:
        return self._fits(self._choice(numbers))

    def _lessened(self, choice: Degrees) -> Degrees | None:
        """Each degree as small as the VM still fits with the others as they are (found by halving)."""
        for position, (number, degree) in enumerate(choice):
            least, most = 0, degree
            while least < most:
                middle = (least + most) // 2
                if self._fits(_with_degree(choice, position, number, middle)):
                    most = middle
                else:
                    least = middle + 1
            choice = _with_degree(choice, position, number, most)
        return choice if self._fits(choice) else None

    def _fits(self, choice: Degrees) -> bool:
        if choice not in self._answers:
            if self._left <= 0:
                return False
            self._left -= 1
            self._answers[choice] = _plan_or_none(self._asked(choice))
        return self._answers[choice] is not None

    def _asked(self, choice: Degrees) -> Question:
        return applied(self._question, (self._offers[number].steps[degree] for number, degree in choice))

    def _suggestion(self, choice: Degrees) -> Suggestion:
        plan = self._answers[choice]
        assert plan is not None, "only choices that fitted are shown"
        return Suggestion(
            changes=tuple(self._offers[number].steps[degree].text for number, degree in choice),
            stops=tuple(name for number, _ in choice if (name := self._offers[number].stops) is not None),
            question=self._asked(choice),
            plan=plan,
        )


def _with_degree(choice: Degrees, position: int, number: int, degree: int) -> Degrees:
    return (*choice[:position], (number, degree), *choice[position + 1 :])


def _plan_or_none(question: Question) -> VmPlan | None:
    notes = Notes(brief=True)
    return planned(
        Case(
            question.spec,
            question.facts,
            question.policy,
            question.ledger,
            question.record,
            question.machine_aliases,
            notes,
        )
    )


def _holders(question: Question, reasons: tuple[Reason, ...]) -> tuple[str, ...]:
    """The VMs whose end may help: those that the reasons name, else all; the largest, in ascending order of size."""
    holdings = question.ledger.holdings
    named = {name for reason in reasons for name, _ in reason.held_by if name in holdings}
    largest = sorted(named or holdings, key=lambda name: (_weight(holdings[name]), name))
    return tuple(largest[-_MOST_DEPARTURES:])


def _weight(holding: Holding) -> tuple[int, int, int]:
    plan = holding.plan
    return (len(exclusive_pcpus(plan)), plan.memory_bytes, len(plan.vcpus))
