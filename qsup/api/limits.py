"""How much and how long: what one client may take of the daemon."""

from __future__ import annotations

from attrs import frozen


@frozen
class Limits:
    """Sizes in bytes, times in seconds.

    `idle_s`: no request begins. `request_s`: from a request's first byte to its last. `send_s`: a client does not read.
    `keep_alive_s`: silence between events before a comment is sent, by which a dead client shows.
    """

    header_bytes: int = 16 << 10
    body_bytes: int = 1 << 20
    connections: int = 256
    idle_s: float = 60.0
    request_s: float = 10.0
    send_s: float = 10.0
    keep_alive_s: float = 15.0
