"""Which files name a VM."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.errors import InvalidInput
from qsup.spec.parse import name_of_file, parse_vm

MINIMAL = '[cpu]\nvcpus = 1\n[memory]\nsize = "1GiB"\n'


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("web1.toml", "web1"),
        ("/etc/qsup/vms.d/db-2.prod_eu.toml", "db-2.prod_eu"),
        ("9.toml", "9"),
        ("a" * 48 + ".toml", "a" * 48),
        ("a.toml.toml", "a.toml"),
    ],
)
def test_good_file_name(file_name: str, name: str) -> None:
    assert name_of_file(file_name) == name


@pytest.mark.parametrize(
    ("file_name", "code"),
    [
        ("web1.conf", "spec.bad-file-name"),
        ("web1", "spec.bad-file-name"),
        ("web1.TOML", "spec.bad-file-name"),
        ("vms.toml/web1", "spec.bad-file-name"),
        ("", "spec.bad-file-name"),
        (".toml", "spec.bad-name"),
        ("-rf.toml", "spec.bad-name"),
        (".hidden.toml", "spec.bad-name"),
        ("web 1.toml", "spec.bad-name"),
        ("web@1.toml", "spec.bad-name"),
        ("grüße.toml", "spec.bad-name"),
        ("web1\n.toml", "spec.bad-name"),
        ("٣.toml", "spec.bad-name"),
        ("a" * 49 + ".toml", "spec.bad-name"),
    ],
)
def test_bad_file_name(file_name: str, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        name_of_file(file_name)
    (problem,) = caught.value.problems
    assert (problem.code, problem.file) == (code, file_name)
    assert problem.hint == "rename the file"


def is_accepted(name: str) -> tuple[bool, bool]:
    """Whether a name is accepted: of a file, and for a spec."""
    verdicts = []
    for judge in (lambda: name_of_file(f"{name}.toml"), lambda: parse_vm(MINIMAL, file="vm.toml", name=name)):
        try:
            judge()
            verdicts.append(True)
        except InvalidInput:
            verdicts.append(False)
    return verdicts[0], verdicts[1]


@given(st.text("abzAZ09._-/ \x00é", max_size=60))
def test_name_is_judged_alike_by_both(name: str) -> None:
    by_file, by_spec = is_accepted(name.replace("/", ""))
    assert by_file == by_spec
