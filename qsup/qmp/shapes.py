"""Reading replies: every value that QEMU sends is checked where it is taken.

Strategy: a `Shape` is a value together with its place in the reply; each reader returns the value in the asked type or
raises QmpRefused of class "qsup.MalformedReply", which names the place, what was found and what was expected.
"""

from __future__ import annotations

from typing import NoReturn

from attrs import define

from qsup.errors import QmpRefused
from qsup.qmp.messages import short_repr_of

MALFORMED_REPLY = "qsup.MalformedReply"


@define(eq=False)
class Shape:
    """A part of the reply to `command`. `inside` is what it is a part of, and `step` the way from there: a key, or an index.

    Not frozen, and its place put into words only where it is asked for: hundreds are made of one answer.
    """

    command: str
    value: object
    inside: Shape | None = None
    step: str | int = ""

    @property
    def where(self) -> str:
        """Its place in the reply, such as "[2].props"."""
        if self.inside is None:
            return ""
        return self.inside.where + (f".{self.step}" if isinstance(self.step, str) else f"[{self.step}]")

    def rows(self) -> tuple[Shape, ...]:
        """The elements of a list, in its order."""
        if not isinstance(self.value, list):
            self.refuse("a list")
        return tuple(Shape(self.command, item, self, index) for index, item in enumerate(self.value))

    def at(self, key: str) -> Shape:
        """The member `key`, which must be there."""
        member = self.member(key)
        if member is None:
            self.refuse(f"an object with {key!r}")
        return member

    def member(self, key: str) -> Shape | None:
        """The member `key`; None when it is absent or null."""
        if not isinstance(self.value, dict):
            self.refuse("an object")
        value = self.value.get(key)
        return None if value is None else Shape(self.command, value, self, key)

    def text(self) -> str:
        """The value, which must be a string."""
        if not isinstance(self.value, str):
            self.refuse("a string")
        return self.value

    def flag(self) -> bool:
        """The value, which must be true or false."""
        if not isinstance(self.value, bool):
            self.refuse("true or false")
        return self.value

    def count(self) -> int:
        """The value, which must be an integer of 64 bits without sign."""
        if type(self.value) is not int or not 0 <= self.value < 2**64:
            self.refuse("an integer from 0 to 2**64 - 1")
        return self.value

    def counts(self) -> tuple[int, ...]:
        """The value, which must be a list of integers of 64 bits without sign."""
        if not isinstance(self.value, list) or any(type(item) is not int or not 0 <= item < 2**64 for item in self.value):
            self.refuse("a list of integers from 0 to 2**64 - 1")
        return tuple(self.value)

    def text_at(self, key: str) -> str | None:
        """The string member `key`; None when it is absent or null."""
        member = self.member(key)
        return None if member is None else member.text()

    def count_at(self, key: str) -> int | None:
        """The integer member `key`; None when it is absent or null."""
        member = self.member(key)
        return None if member is None else member.count()

    def flag_at(self, key: str) -> bool:
        """The member `key`; False when it is absent or null."""
        member = self.member(key)
        return False if member is None else member.flag()

    def refuse(self, expected: str) -> NoReturn:
        """Raise the error for this value."""
        place = self.where.lstrip(".") or "the reply"
        description = f"{place} is {short_repr_of(self.value)}, expected {expected}"
        raise QmpRefused(self.command, MALFORMED_REPLY, description)
