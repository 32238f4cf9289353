"""What each of two files may ask, but not both: one MAC address, one tap, one image that somebody writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from attrs import evolve, frozen

from qsup.cli.offline.vm_files import CheckedFile
from qsup.errors import Problem
from qsup.spec.document import problems_of
from qsup.spec.faults import Fault, KeyPath


@frozen
class _Claim:
    """Something that one file asks for itself. `shareable` claims get on with one another."""

    kind: str
    value: str
    file: CheckedFile
    key: KeyPath
    shareable: bool = False


_MESSAGES: Mapping[str, Callable[[str, str], str]] = {
    "mac": lambda value, others: f"the MAC address {value} is also asked for by {others}",
    "tap": lambda value, others: f"the tap {value} is also asked for by {others}",
    "image": lambda value, others: f"the image {value} is also used by {others}, and one of them writes it",
}
_HINTS = {
    "mac": "change one of them, or leave `mac` out: qsup then derives one",
    "tap": "change one of them, or leave `tap` out: qsup then derives one",
    "image": "give each VM an image of its own, or say readonly = true in all of them",
}


def with_collisions(files: Sequence[CheckedFile]) -> list[CheckedFile]:
    """The same files, each with the collisions that it takes part in added to its problems.

    Touches: the file system, to tell whether two paths are one image.
    """
    faults: dict[str, list[Fault]] = {}
    claims = sorted((claim for file in files for claim in _claims_of(file)), key=attrgetter("kind", "value"))
    for _, group in groupby(claims, key=attrgetter("kind", "value")):
        for claim, fault in _faults_of(list(group)):
            faults.setdefault(claim.file.path, []).append(fault)
    return [evolve(file, problems=file.problems + _located(file, faults.get(file.path, []))) for file in files]


def _claims_of(file: CheckedFile) -> Iterator[_Claim]:
    if file.spec is None:
        return
    for position, nic in enumerate(file.spec.nics):
        if nic.mac is not None:
            yield _Claim("mac", nic.mac.lower(), file, ("nic", position, "mac"))
        if nic.tap is not None:
            yield _Claim("tap", nic.tap, file, ("nic", position, "tap"))
    for position, disk in enumerate(file.spec.disks):
        yield _Claim("image", os.path.realpath(disk.path), file, ("disk", position, "path"), disk.readonly)


def _faults_of(claims: Sequence[_Claim]) -> Iterator[tuple[_Claim, Fault]]:
    if all(claim.shareable for claim in claims):
        return
    for claim in claims:
        others = sorted({other.file.path for other in claims} - {claim.file.path})
        if others:
            message = _MESSAGES[claim.kind](claim.value, ", ".join(others))
            yield claim, Fault(claim.key, f"cli.shared-{claim.kind}", message, _HINTS[claim.kind], False)


def _located(file: CheckedFile, faults: Sequence[Fault]) -> tuple[Problem, ...]:
    return problems_of(faults, file.text, file=file.path) if faults else ()
