"""A value of a reply that is not what it should be is named with its place."""

from __future__ import annotations

import pytest

from qsup.errors import QmpRefused
from qsup.qmp.shapes import Shape


def test_the_place_of_a_wrong_value_is_the_way_to_it() -> None:
    reply = Shape("query-x", [{}, {"stats": {"list": [1, "two"]}}])
    wrong = reply.rows()[1].at("stats").at("list").rows()[1]
    assert wrong.where == "[1].stats.list[1]"
    with pytest.raises(QmpRefused, match=r"\[1\]\.stats\.list\[1\] is 'two', expected an integer from 0"):
        wrong.count()


def test_a_reply_that_is_wrong_as_a_whole() -> None:
    assert Shape("query-x", 1).where == ""
    with pytest.raises(QmpRefused, match="the reply is 1, expected a list"):
        Shape("query-x", 1).rows()
