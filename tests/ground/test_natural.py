"""Names as people count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qsup.natural import natural

NAMES = st.text(alphabet="ab01289-.٣", max_size=12)


def test_digits_count_by_their_value() -> None:
    names = ["vm10", "vm2", "vm1", "db", "vm02", "vm2a", "vm2-10", "vm2-9", "10", "9", ""]
    assert sorted(names, key=natural) == ["", "9", "10", "db", "vm1", "vm02", "vm2", "vm2-9", "vm2-10", "vm2a", "vm10"]


@given(NAMES, NAMES)
def test_two_names_are_equal_only_where_they_are_the_same(one: str, other: str) -> None:
    assert (natural(one) == natural(other)) == (one == other)
    assert (natural(one) < natural(other)) + (natural(other) < natural(one)) == (one != other)


def test_a_name_of_a_million_digits_is_compared_all_the_same() -> None:
    assert natural("1" * 1_000_000) < natural("2" * 1_000_000)
