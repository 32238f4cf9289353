"""What a handler gets and what it returns; the seam between the routes and the connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import trio
from attrs import field, frozen

from qsup.api.peers import Peer
from qsup.api.registry import Registry
from qsup.supervisor.wait_watch import WaitReport


@frozen
class Call:
    """One request, routed. `name` is the VM of the path (empty where the path has none); header names are lower case."""

    registry: Registry
    peer: Peer
    name: str = ""
    query: Mapping[str, str] = field(factory=dict)
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = b""


@frozen
class JsonReply:
    """A whole reply."""

    value: Mapping[str, object]
    status: int = 200


@frozen
class TextReply:
    """A whole reply that is not JSON."""

    text: bytes
    content_type: str


@frozen
class ReportsReply:
    """Server-sent events from now on, one for each report on waiting, which comes once a second: `line` makes its JSON."""

    line: Callable[[WaitReport], bytes]


@frozen
class RefreshReply:
    """Server-sent events: `first`, then what `ask` returns every `interval_s`, where it is another answer than before."""

    first: Mapping[str, object]
    ask: Callable[[], Awaitable[Mapping[str, object]]]
    interval_s: float


@frozen
class EventsReply:
    """Server-sent events after `after_seq` (None: only what happens from now on), of one VM or of all."""

    after_seq: int | None
    vm: str | None


@frozen
class UpgradeReply:
    """The connection becomes a raw byte stream to `stream`, which the server closes."""

    protocol: str
    stream: trio.abc.Stream


Reply = JsonReply | TextReply | ReportsReply | RefreshReply | EventsReply | UpgradeReply
Handler = Callable[[Call], Awaitable[Reply]]
