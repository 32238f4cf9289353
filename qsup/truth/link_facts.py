"""LinkFacts: one network link as the kernel tells it. `host/` fills it."""

from __future__ import annotations

from attrs import frozen


@frozen
class LinkFacts:
    """One link. `kind` is the kernel's ("bridge", "tun", "vlan", …), None for plain NICs; `bridge` the one it is a port of.

    `queues` counts the queues of a tap that are open, those that the guest does not use among them; None elsewhere. `mac` is
    lower-case with colons, None without one.
    """

    name: str
    index: int
    mtu: int
    up: bool
    kind: str | None = None
    bridge: str | None = None
    queues: int | None = None
    mac: str | None = None
