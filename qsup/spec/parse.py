"""The way in: the text of one VM's file becomes a VmSpec, or every problem of it."""

from __future__ import annotations

import re

from attrs import evolve

from qsup.errors import InvalidInput, Problem
from qsup.spec.document import MAXIMUM_FILE_BYTES, decode, load_document, problems_of
from qsup.spec.faults import Fault, Place, quoted
from qsup.spec.schema import keys_of
from qsup.spec.tables import read_section
from qsup.spec.vmspec import RULES, VmSpec

__all__ = ["LONGEST_NAME", "MAXIMUM_FILE_BYTES", "decode", "name_of_file", "parse_vm", "wrong_with_name"]

LONGEST_NAME = 48  # leaves room in unit names (255), socket paths (107) and paths of the run directory
SUFFIX = ".toml"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


def parse_vm(text: str, *, file: str, name: str) -> VmSpec:
    """The spec of a VM.

    Args:
        file: as shown in problems.
        name: the VM's name; see name_of_file.

    Raises:
        InvalidInput: every problem of the text and of the name, in file order.
    """
    document = load_document(text, file=file)
    faults: list[Fault] = []
    place = Place((), faults)
    wrong = wrong_with_name(name)
    if wrong:
        place.report("bad-name", wrong, RENAME)
    spec = read_section(VmSpec, document, place, RULES, given={"name": name})
    if faults:
        raise InvalidInput(problems_of([_with_home(fault) for fault in faults], text, file=file))
    return spec


def name_of_file(file_name: str) -> str:
    """The VM's name of a file ("web1.toml", with or without its directory).

    Raises:
        InvalidInput: spec.bad-file-name, spec.bad-name.
    """
    base = file_name.rpartition("/")[2]
    if not base.endswith(SUFFIX):
        message = f"the file name {quoted(base)} does not end in {SUFFIX}: accepted is NAME{SUFFIX}"
        raise InvalidInput((Problem("spec.bad-file-name", message, RENAME, file_name),))
    name = base.removesuffix(SUFFIX)
    wrong = wrong_with_name(name)
    if wrong:
        raise InvalidInput((Problem("spec.bad-name", wrong, RENAME, file_name),))
    return name


def wrong_with_name(name: str) -> str | None:
    """What is wrong with a VM's name, in one sentence, or None."""
    if _NAME.fullmatch(name) and len(name) <= LONGEST_NAME:
        return None
    accepted = f'1 to {LONGEST_NAME} letters, digits, ".", "_" and "-", the first one a letter or a digit'
    return f"{quoted(name)} cannot be a VM's name: accepted are {accepted}"


RENAME = "rename the file"


def _with_home(fault: Fault) -> Fault:
    """An unknown key that is known in another section is sent there."""
    if fault.code != "spec.unknown-key" or fault.hint is None:
        return fault
    homes = [section.toml for section in keys_of(VmSpec) if _has_key(section.key.reader.table, fault.path[-1])]
    return evolve(fault, hint=f"{fault.path[-1]} belongs to [{homes[0]}]") if homes else fault


def _has_key(section: type | None, name: str | int) -> bool:
    return section is not None and any(field.toml == name for field in keys_of(section))
