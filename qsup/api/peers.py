"""Who is at the other end of a connection, as the kernel vouches for it, and whether it may act.

Source: man 7 unix (SO_PEERCRED); SO_PEERGROUPS, Linux ≥ 4.13, net/core/sock.c: the groups that the peer had when it
connected. Both are free of the races that reading /proc/PID/status has.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Callable

import trio
from attrs import frozen

_SO_PEERGROUPS = 59
_GROUPS_MAX = 65536


@frozen
class Peer:
    """The credentials of a client at the moment of its connect; `groups` holds its main group too."""

    pid: int
    uid: int
    groups: frozenset[int]


Authorize = Callable[[Peer], bool]


def peer_of(connection: trio.socket.SocketType) -> Peer:
    """The client's credentials.

    Raises:
        OSError: the kernel does not tell.

    Touches: getsockopt SO_PEERCRED and SO_PEERGROUPS.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    return Peer(pid, uid, frozenset({gid, *_supplementary_groups(connection.fileno())}))


def _supplementary_groups(fd: int) -> list[int]:
    # socket.getsockopt() takes at most 1024 bytes, 256 groups; members of a directory service have more.
    libc = ctypes.CDLL(None, use_errno=True)
    groups = (ctypes.c_uint32 * _GROUPS_MAX)()
    length = ctypes.c_uint32(ctypes.sizeof(groups))
    if libc.getsockopt(fd, socket.SOL_SOCKET, _SO_PEERGROUPS, groups, ctypes.byref(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "SO_PEERGROUPS")
    return groups[: length.value // ctypes.sizeof(ctypes.c_uint32)]


def authorize_operators(own_uid: int, group: int | None) -> Authorize:
    """The rule: root, the daemon's own user and the members of the group (where there is one) may act."""

    def may_act(peer: Peer) -> bool:
        return peer.uid in (0, own_uid) or (group is not None and group in peer.groups)

    return may_act
