"""Option and Argv: the command line as data, each argument with the reason for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from attrs import frozen

_FD = re.compile(r"@fd:([A-Za-z0-9_.-]+)@")

FdKind = Literal["listen", "image", "blob", "tap", "vhost", "log"]


@frozen
class Option:
    """One option of QEMU. `value` None: the flag stands alone. `why` names the key or rule behind it.

    A value may hold `@fd:NAME@` where the number of a passed file descriptor belongs; a `literal` value holds text of the
    operator, in which nothing is replaced.
    """

    flag: str
    value: str | None
    why: str
    literal: bool = False


@frozen
class FdNeed:
    """One file descriptor that QEMU gets, and how it must have been opened (run against QEMU 7.2).

    All: not close-on-exec in QEMU's process, and an open() of its own per need, since QEMU changes flags and takes locks
    on the open file description. Close the own copy right after the spawn.

    - "listen": a bound, listening Unix stream socket at `path`.
    - "image": `path`, a file or a block device, with exactly O_RDONLY when `readonly`, else exactly O_RDWR: QEMU looks for
      the access mode in the fd set and says "Permission denied" to any other (O_RDWR does not serve a read-only node).
      With O_DIRECT exactly when `direct`: QEMU up to 9.0 sets or clears it by fcntl, later ones look for it in the fd set
      as well (run against 10.0). The file itself need not give any right to QEMU's uid.
    - "blob": `path` with O_RDONLY. QEMU opens it *again*, by /proc/self/fd, so QEMU's uid must be allowed to read the file;
      otherwise pass a memfd with a copy (its mode is 0777, so any uid may).
    - "tap": queue `queue` of the nic `path` (its nic_id): /dev/net/tun with O_RDWR, TUNSETIFF done with IFF_TAP, IFF_NO_PI,
      IFF_VNET_HDR, and IFF_MULTI_QUEUE when (and only when) the nic has several queues.
    - "vhost": the same queue's vhost-net: /dev/vhost-net with O_RDWR, an open() of its own per queue.
    - "log": `path` with exactly O_WRONLY, and O_APPEND | O_CREAT. A full file system loses the output, not the guest.
    """

    name: str
    kind: FdKind
    path: str
    readonly: bool = True
    queue: int = 0
    direct: bool = False


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
                words.append(_value_of(option, fd_numbers))
        return tuple(words)

    def fd_names(self) -> frozenset[str]:
        """The names of the descriptors that the options refer to."""
        values = [option.value for option in self.options if option.value is not None and not option.literal]
        return frozenset(name for value in values for name in _FD.findall(value))


def fd_token(name: str) -> str:
    """The token that stands for the number of the descriptor `name`.

    Raises:
        ValueError: the name holds something else than letters, digits, ".", "_" and "-".
    """
    token = f"@fd:{name}@"
    if _FD.fullmatch(token) is None:
        raise ValueError(f"{name!r} cannot name a file descriptor")
    return token


def _value_of(option: Option, fd_numbers: Mapping[str, int] | None) -> str:
    assert option.value is not None
    if fd_numbers is None or option.literal:
        return option.value
    return _FD.sub(lambda match: str(fd_numbers[match[1]]), option.value)
