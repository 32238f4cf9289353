"""Bridges and the hardware below them, from sysfs. Nothing here raises."""

from __future__ import annotations

from collections.abc import Iterable

from qsup.host.links import is_bridge, link_mtu
from qsup.host.sysfs import NET_DIR, list_dir, read_number
from qsup.plan.host_facts import BridgeFacts

DEFAULT_MTU = 1500
_DEPTH_LIMIT = 5


def read_bridges(names: Iterable[str], root: str = "/") -> dict[str, BridgeFacts]:
    """The bridges among these names, keyed by name; a name that is no link, or a link of another kind, is left out.

    Touches:
        /sys/class/net.
    """
    return {
        name: BridgeFacts(name, link_mtu(name, root) or DEFAULT_MTU, _node_below(root, name, _DEPTH_LIMIT))
        for name in dict.fromkeys(names)
        if _is_name(name) and is_bridge(name, root)
    }


def _is_name(name: str) -> bool:
    return bool(name) and "/" not in name and "\0" not in name and name not in (".", "..")


def _node_below(root: str, link: str, depth: int) -> int | None:
    """The host node of the first NIC below a link, through bridges, bonds and VLANs."""
    node = read_number(root, f"{NET_DIR}/{link}/device/numa_node")
    if node is not None and node >= 0:
        return node
    if depth == 0:
        return None
    below = (name.removeprefix("lower_") for name in list_dir(root, f"{NET_DIR}/{link}") if name.startswith("lower_"))
    found = (_node_below(root, name, depth - 1) for name in below)
    return next((node for node in found if node is not None), None)
