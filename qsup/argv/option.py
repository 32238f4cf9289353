"""Option and Argv: the command line as data, each argument with the reason for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from attrs import frozen

_FD = re.compile(r"@fd:([A-Za-z0-9_.-]+)@")


@frozen
class Option:
    """One option of QEMU. `value` None: the flag stands alone. `why` names the key or rule behind it.

    A value may hold `@fd:NAME@` where the number of a passed file descriptor belongs.
    """

    flag: str
    value: str | None
    why: str


@frozen
class FdNeed:
    """One file descriptor that QEMU gets.

    kind "listen": a bound, listening Unix socket at `path`; "image": `path` opened read-write or read-only;
    "blob": `path` read-only, loaded once through /proc/self/fd; "tap": queue `queue` of the nic `path` (its nic_id);
    "vhost": /dev/vhost-net for that queue; "log": the append-only log at `path`.
    """

    name: str
    kind: Literal["listen", "image", "blob", "tap", "vhost", "log"]
    path: str
    readonly: bool = True
    queue: int = 0


@frozen
class Argv:
    """The whole command line, the binary first in `words`, and the descriptors that it refers to."""

    binary: str
    options: tuple[Option, ...]
    fds: tuple[FdNeed, ...]

    def words(self, fd_numbers: Mapping[str, int] | None = None) -> tuple[str, ...]:
        """The argument vector. Without numbers, `@fd:NAME@` stays as it is (for a person to read).

        Raises:
            KeyError: a descriptor has no number.
        """
        words = [self.binary]
        for option in self.options:
            words.append(option.flag)
            if option.value is not None:
                words.append(option.value)
        if fd_numbers is None:
            return tuple(words)
        return tuple(_FD.sub(lambda match: str(fd_numbers[match[1]]), word) for word in words)
