"""Writing options, and explaining them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.argv.build import build
from qsup.argv.explain import explain
from qsup.argv.option import Argv, FdNeed, Option, fd_token
from qsup.argv.syntax import escaped, json_text, key_values, size_text
from qsup.bytesize import GIB, MIB
from tests.argv.plans import CAPS, rich_plan

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def split_as_qemu_does(text: str) -> list[str]:
    """The parts between single commas, with double commas taken for one (util/keyval.c)."""
    return [part.replace("\0", ",") for part in text.replace(",,", "\0").split(",")]


@given(TEXT, TEXT)
def test_commas_in_values_survive(first: str, second: str) -> None:
    # Three commas in a row can only be read from the left, as QEMU does; a value never starts right after another's comma.
    written = key_values(None, ("a", first), ("b", second))
    rest = written.removeprefix("a=")
    assert rest.startswith(escaped(first))
    assert rest[len(escaped(first)) :] == f",b={escaped(second)}"
    assert split_as_qemu_does(f"x={escaped(second)}") == [f"x={second}"]


@given(TEXT)
def test_json_keeps_any_text(text: str) -> None:
    assert json.loads(json_text({"serial": text, "n": 1, "none": None})) == {"serial": text, "n": 1, "none": None}


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(8 * GIB, "8G"), (1536 * MIB, "1536M"), (4096, "4096B"), (GIB + 4096, "1073745920B")]
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text


def test_a_descriptors_name_has_no_strange_letters() -> None:
    with pytest.raises(ValueError, match="cannot name"):
        fd_token("a@b")


def test_explain_aligns_and_wraps() -> None:
    long_value = "x" * 80
    argv = Argv(
        "qemu",
        (Option("-S", None, "why S"), Option("-m", "size=1G", "why m"), Option("-device", long_value, "why long")),
        (FdNeed("disk0.0", "image", "/srv/a", readonly=False), FdNeed("net0.tap1", "tap", "net0", queue=1)),
    )
    assert explain(argv).splitlines() == [
        "qemu",
        "  -S              — why S",
        "  -m size=1G      — why m",
        f"  -device {long_value}",
        "                  — why long",
        "  @fd:disk0.0@    — image /srv/a, read-write",
        "  @fd:net0.tap1@  — tap of net0, queue 1",
    ]


def test_explain_leaves_nothing_out() -> None:
    argv = build(rich_plan(), CAPS)
    text = explain(argv)
    for option in argv.options:
        assert option.flag in text
        assert option.why in text
    assert len(re.findall(r" — ", text)) >= len(argv.options) + len(argv.fds)
