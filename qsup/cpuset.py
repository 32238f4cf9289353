"""Sets of pCPUs in the kernel's cpulist notation ("0-3,8"). Parse and format are inverse.

Source: Documentation/admin-guide/cputopology.rst and `man 7 cpuset`, section "List format".
"""

from __future__ import annotations

from collections.abc import Iterable

HIGHEST_PCPU = 8191


def parse_cpulist(text: str) -> frozenset[int]:
    """The pCPU numbers of a cpulist; the empty text is the empty set.

    Raises:
        ValueError: one sentence that names the offending part.
    """
    stripped = text.strip()
    if not stripped:
        return frozenset()
    numbers: set[int] = set()
    for part in stripped.split(","):
        numbers.update(_range_of(part.strip()))
    return frozenset(numbers)


def _range_of(part: str) -> range:
    body, _, stride_text = part.partition(":")
    first_text, dash, last_text = body.partition("-")
    first = _number_of(first_text, part)
    last = _number_of(last_text, part) if dash else first
    stride = _number_of(stride_text, part) if stride_text else 1
    if last < first:
        raise ValueError(f"{part!r} runs backwards: write the lower pCPU first")
    if stride < 1:
        raise ValueError(f"{part!r} has a stride below 1")
    return range(first, last + 1, stride)


def _number_of(text: str, part: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{part!r} is not a pCPU number or a range like 0-3")
    number = int(text) if len(text) <= 6 else HIGHEST_PCPU + 1
    if number > HIGHEST_PCPU:
        raise ValueError(f"{part!r} names a pCPU above {HIGHEST_PCPU}")
    return number


def format_cpulist(pcpus: Iterable[int]) -> str:
    """The shortest cpulist of the numbers, ascending ("0-3,8"); the empty set gives the empty text."""
    parts: list[str] = []
    run: list[int] = []
    for pcpu in sorted(set(pcpus)):
        if run and pcpu == run[-1] + 1:
            run.append(pcpu)
            continue
        parts.extend(_parts_of(run))
        run = [pcpu]
    parts.extend(_parts_of(run))
    return ",".join(parts)


def _parts_of(run: list[int]) -> list[str]:
    if len(run) <= 2:
        return [str(pcpu) for pcpu in run]
    return [f"{run[0]}-{run[-1]}"]
