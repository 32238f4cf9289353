"""A bridge of the demo's own, with a subnet that nobody uses here."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv4Network, ip_interface

from attrs import frozen

_SUBNETS = [IPv4Network((0xA9FE0000 + (third << 8) + 252, 30)) for third in range(1, 255)]  # 169.254.x.252/30: link-local


@frozen
class Bridge:
    """A bridge with the host's address on it, and the address for the guest."""

    name: str
    host: IPv4Interface
    guest: IPv4Interface


def reason_against_bridge() -> str | None:
    """Why there can be no bridge and tap here, or None."""
    if os.geteuid() != 0:
        return "taps and bridges need root"
    return None if os.path.exists("/dev/net/tun") else "this machine has no /dev/net/tun"


def make_bridge() -> Bridge:
    """Make a bridge under a name of its own and bring it up.

    Touches: netlink, through ip(8).
    """
    subnet = next(free for free in _SUBNETS if not any(free.overlaps(used) for used in _networks_here()))
    hosts = [ip_interface(f"{address}/{subnet.prefixlen}") for address in subnet.hosts()]
    bridge = Bridge(f"qdemo{secrets.token_hex(3)}", IPv4Interface(hosts[0]), IPv4Interface(hosts[1]))
    _ip("link", "add", bridge.name, "type", "bridge")
    try:
        _ip("addr", "add", str(bridge.host), "dev", bridge.name)
        _ip("link", "set", bridge.name, "up")
    except BaseException:
        remove_bridge(bridge.name)
        raise
    return bridge


def remove_bridge(name: str) -> None:
    """Remove it, where it is there."""
    if os.path.exists(f"/sys/class/net/{name}"):
        _ip("link", "delete", name)


def _networks_here() -> Iterable[IPv4Network]:
    words = ["ip", "-json", "-family", "inet", "address", "show"]
    for link in json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout):
        for address in link.get("addr_info", ()):
            yield IPv4Interface(f"{address['local']}/{address['prefixlen']}").network


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
