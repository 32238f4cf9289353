"""Relaxations: what could be changed about a VM or its host so that it fits, each in degrees from the least change on.

Strategy: a relaxation knows one thing that may give way, and offers steps of it, least first. A step turns a question to
the planner into another question; whether the answer is better is for `suggest.py` to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import evolve, frozen

from qsup.bytesize import MIB, format_byte_size
from qsup.cpuset import format_cpulist
from qsup.plan.departure import facts_after
from qsup.plan.guest_record import GuestRecord
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Ledger
from qsup.plan.policy import HostPolicy
from qsup.spec.cpu import OWN_PCPUS
from qsup.spec.memory import BasePages, MemorySpec, hugepages_by_size, node_hugepages
from qsup.spec.nic import NicSpec
from qsup.spec.vmspec import VmSpec

_LEAST_PART = 4  # a VM of less than a quarter of its size is another VM
_SIZE_STEPS = 32
_PLACEMENTS = ("isolated", "dedicated", "shared")


@frozen
class Question:
    """All that `place` is asked with."""

    spec: VmSpec
    facts: HostFacts
    policy: HostPolicy
    ledger: Ledger
    record: GuestRecord | None
    machine_aliases: Mapping[str, str]


@frozen
class Step:
    """One degree of a change: how it reads, and what it makes of the question."""

    text: str
    change: Callable[[Question], Question]


@frozen
class Relaxation:
    """One thing that may give way. `steps`: least first, never empty; a later one helps wherever an earlier one does.

    `axis` names what gives way: two relaxations of one axis exclude each other. `stops`: the VM that it stops, if it is that.
    """

    axis: str
    steps: tuple[Step, ...]
    stops: str | None = None


def relaxations_of(question: Question) -> tuple[Relaxation, ...]:
    """What may give way in the spec and in the settings, the gentlest first; without stopping anybody."""
    found = ((axis, tuple(steps_of(question))) for axis, steps_of in _ALTERNATIVES)
    alternatives = tuple(Relaxation(axis, (step,)) for axis, steps in found for step in steps)
    degrees = ((axis, tuple(steps_of(question))) for axis, steps_of in _DEGREES)
    return (*alternatives, *(Relaxation(axis, steps) for axis, steps in degrees if steps))


def departure_of(name: str) -> Relaxation:
    """Another VM stops."""

    def change(question: Question) -> Question:
        holding = question.ledger.holdings[name]
        facts = facts_after(question.facts, holding)
        return evolve(question, facts=facts, ledger=question.ledger.released(name))

    return Relaxation(f"stop {name}", (Step(f"stop {name}", change),), stops=name)


def _cpu(text: str, **changes: Any) -> Step:
    return Step(text, lambda question: evolve(question, spec=evolve(question.spec, cpu=evolve(question.spec.cpu, **changes))))


def _memory(text: str, **changes: Any) -> Step:
    return Step(
        text, lambda question: evolve(question, spec=evolve(question.spec, memory=evolve(question.spec.memory, **changes)))
    )


def _settings(question: Question) -> Iterator[Step]:
    if any(hugepages_by_size(question.spec.memory)) and not question.policy.grow_hugepages and question.facts.may_grow_pools:
        yield Step(
            "set place.grow_hugepages = true in the settings",
            lambda asked: evolve(asked, policy=evolve(asked.policy, grow_hugepages=True)),
        )


def _emulator(question: Question) -> Iterator[Step]:
    if isinstance(question.spec.cpu.emulator, frozenset):
        yield _cpu("leave cpu.emulator out", emulator=None)


def _nics(question: Question) -> Iterator[Step]:
    """Names that somebody else has, and vhost where the host has none."""
    nics = question.spec.nics
    if any(nic.mac for nic in nics):
        yield _with_nics("leave nic.mac out", tuple(evolve(nic, mac=None) for nic in nics))
    if any(nic.tap for nic in nics):
        yield _with_nics("leave nic.tap out", tuple(evolve(nic, tap=None) for nic in nics))
    if any(nic.vhost for nic in nics):
        yield _with_nics("leave nic.vhost out", tuple(evolve(nic, vhost=None) for nic in nics))


def _with_nics(text: str, nics: tuple[NicSpec, ...]) -> Step:
    return Step(text, lambda question: evolve(question, spec=evolve(question.spec, nics=nics)))


def _host_nodes(question: Question) -> Iterator[Step]:
    """One more host node at a time, the nearest first; at last all."""
    asked = question.spec.memory.host_nodes
    if asked is None:
        return
    host = question.facts.index
    nodes = [node.host_node for node in question.facts.nodes if node.memory_total_bytes]
    near = sorted(set(nodes) - asked, key=lambda node: (min((host.distance(one, node) for one in asked), default=0), node))
    for count in range(1, len(near)):
        wider = asked | set(near[:count])
        text = f'memory.host_nodes = "{format_cpulist(wider)}" instead of "{format_cpulist(asked)}"'
        yield _memory(f"{text} ({len(wider)} nodes instead of {len(asked)})", host_nodes=wider)
    yield _memory("leave memory.host_nodes out", host_nodes=None)


def _guest_nodes(question: Question) -> Iterator[Step]:
    nodes = question.spec.memory.nodes
    if nodes is None:
        return
    if any(node.host_nodes for node in nodes):
        yield _memory("leave host_nodes of the guest nodes out", nodes=tuple(evolve(node, host_nodes=None) for node in nodes))
    yield _memory('memory.nodes = "auto" instead of guest nodes written out', nodes=None)


def _hugepages(question: Question) -> Iterator[Step]:
    memory, sizes = question.spec.memory, {pool.page_size_bytes for node in question.facts.nodes for pool in node.pools}
    if any(node.hugepages_bytes is not None for node in memory.nodes or ()):
        yield from _hugepages_of_nodes(memory, sizes)
        return
    asked = memory.hugepages_bytes
    if asked is None:
        return
    for size in sorted((size for size in sizes if size < asked), reverse=True):
        text = f'memory.hugepages = "{format_byte_size(size)}" instead of "{format_byte_size(asked)}"'
        yield _memory(text, hugepages_bytes=size)
    yield _memory("leave memory.hugepages out (base pages)", hugepages_bytes=None)


def _hugepages_of_nodes(memory: MemorySpec, sizes: Collection[int]) -> Iterator[Step]:
    """All guest nodes on pages of one size take the next smaller ones."""
    for asked in filter(None, hugepages_by_size(memory)):
        numbers = {at for at, node in enumerate(memory.nodes or ()) if node_hugepages(memory, node) == asked}
        whose = f"in guest node{'s' if len(numbers) > 1 else ''} {format_cpulist(numbers)}"
        for size in sorted((size for size in sizes if size < asked), reverse=True):
            text = f'hugepages = "{format_byte_size(size)}" instead of "{format_byte_size(asked)}" {whose}'
            yield _on_pages(text, numbers, size)
        yield _on_pages(f'hugepages = "off" (base pages) instead of "{format_byte_size(asked)}" {whose}', numbers, "off")


def _on_pages(text: str, numbers: Collection[int], page: int | BasePages) -> Step:
    """These guest nodes on such pages, whatever else was changed about them."""

    def change(question: Question) -> Question:
        memory = question.spec.memory
        if memory.nodes is None:
            return question
        nodes = (evolve(node, hugepages_bytes=page) if at in numbers else node for at, node in enumerate(memory.nodes))
        return evolve(question, spec=evolve(question.spec, memory=evolve(memory, nodes=tuple(nodes))))

    return Step(text, change)


def _placement(question: Question) -> Iterator[Step]:
    cpu = question.spec.cpu
    softer = _PLACEMENTS[_PLACEMENTS.index(cpu.placement) + 1 :] if cpu.placement in _PLACEMENTS else _PLACEMENTS[1:]
    if cpu.realtime_priority is not None:
        softer = tuple(placement for placement in softer if placement != "shared")  # the two exclude each other
    for placement in softer:
        mixed = cpu.shared_vcpus if placement == "dedicated" else None
        text = f'cpu.placement = "{placement}" instead of "{cpu.placement}"'
        yield _cpu(text, placement=placement, pin=None, smt=None, shared_vcpus=mixed)


def _smt(question: Question) -> Iterator[Step]:
    cpu = question.spec.cpu
    if cpu.placement == "dedicated" and cpu.smt in ("require", "isolate"):
        yield _cpu(f'cpu.smt = "prefer" instead of "{cpu.smt}"', smt="prefer")


def _realtime(question: Question) -> Iterator[Step]:
    if question.spec.cpu.realtime_priority is not None:
        yield _cpu("leave cpu.realtime_priority out", realtime_priority=None)


def _threads(question: Question) -> Iterator[Step]:
    cpu = question.spec.cpu
    if cpu.threads > 1 and cpu.placement in OWN_PCPUS and cpu.smt != "require":
        yield _cpu(f"cpu.threads = 1 instead of {cpu.threads}", threads=1, sockets=None, cores=None)


def _support(question: Question) -> Iterator[Step]:
    """Threads that ask for their own pCPU, one kind less at a time and then all."""
    cpu = question.spec.cpu
    own = [kind for kind in ("emulator", "iothreads", "vhost") if getattr(cpu, kind) == "own"]
    softer = {kind: None if kind == "emulator" else "housekeeping" for kind in own}
    for kind in own:
        yield _cpu(f'cpu.{kind} = "housekeeping" instead of "own"', **{kind: softer[kind]})
    if len(own) > 1:
        yield _cpu(" and ".join(f'cpu.{kind} = "housekeeping"' for kind in own), **softer)


def _memory_policy(question: Question) -> Iterator[Step]:
    asked = question.spec.memory.policy
    if asked != "preferred":
        yield _memory(f'memory.policy = "preferred" instead of "{asked}"', policy="preferred")


def _size(question: Question) -> Iterator[Step]:
    memory = question.spec.memory
    page = memory.hugepages_bytes or MIB
    if memory.nodes is not None or memory.size_bytes % page:
        return
    unit = page
    while unit * _SIZE_STEPS * 2 <= memory.size_bytes:
        unit *= 2
    smaller = range(memory.size_bytes // unit * unit, max(unit, memory.size_bytes // _LEAST_PART) - 1, -unit)
    for size in smaller:
        if size < memory.size_bytes:
            text = f'memory.size = "{format_byte_size(size)}" instead of "{format_byte_size(memory.size_bytes)}"'
            yield _memory(text, size_bytes=size)


def _vcpus(question: Question) -> Iterator[Step]:
    cpu = question.spec.cpu
    if question.spec.memory.nodes is not None or cpu.placement == "pinned" or cpu.shared_vcpus or cpu.threads < 1:
        return
    least = max(cpu.threads, cpu.vcpus // _LEAST_PART)
    for count in range(cpu.vcpus - cpu.threads, least - 1, -cpu.threads):
        yield _cpu(f"cpu.vcpus = {count} instead of {cpu.vcpus}", vcpus=count, sockets=None, cores=None)


_ALTERNATIVES: Final = (
    ("settings", _settings),
    ("emulator", _emulator),
    ("nics", _nics),
    ("guest nodes", _guest_nodes),
    ("pages", _hugepages),
    ("support", _support),
    ("smt", _smt),
    ("placement", _placement),
    ("realtime", _realtime),
    ("threads", _threads),
    ("policy", _memory_policy),
)
_DEGREES: Final = (("host nodes", _host_nodes), ("size", _size), ("vcpus", _vcpus))


def applied(question: Question, steps: Iterable[Step]) -> Question:
    """The question after these changes, made one after another."""
    for step in steps:
        question = step.change(question)
    return question
