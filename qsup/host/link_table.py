"""All network links in one netlink dump, for `verify`: bridge, MTU, queues and state of every tap at once.

pyroute2 takes 220 ms to import and a dump 3.5 ms for 25 links, so it is imported on the first call, off the start path.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from typing import Any

from qsup.errors import KernelRefused
from qsup.truth.link_facts import LinkFacts

_IFF_UP = 0x1


def read_links() -> tuple[LinkFacts, ...]:
    """All links of this network namespace, ascending by index.

    Raises:
        KernelRefused: host.netlink-refused.

    Touches:
        netlink (RTM_GETLINK). Blocks: call it in a worker thread.
    """
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as netlink:
            return links_of(list(netlink.get_links()))
    except (OSError, NetlinkError) as error:
        number = getattr(error, "code", None) or getattr(error, "errno", None) or errno.EIO
        raise KernelRefused("host.netlink-refused", "netlink", number, f"the links cannot be listed: {error}") from None


def links_of(messages: Iterable[Mapping[str, Any]]) -> tuple[LinkFacts, ...]:
    """The links in RTM_NEWLINK messages as pyroute2 decodes them."""
    decoded = [(message, dict(message.get("attrs") or ())) for message in messages]
    names = {message["index"]: attributes.get("IFLA_IFNAME", "") for message, attributes in decoded}
    links = (_link_of(message, attributes, names) for message, attributes in decoded)
    return tuple(sorted(links, key=lambda link: link.index))


def _link_of(message: Mapping[str, Any], attributes: Mapping[str, Any], names: Mapping[int, str]) -> LinkFacts:
    info = dict((attributes.get("IFLA_LINKINFO") or {}).get("attrs") or ())
    data = dict((info.get("IFLA_INFO_DATA") or {}).get("attrs") or ()) if info.get("IFLA_INFO_KIND") == "tun" else {}
    return LinkFacts(
        name=attributes.get("IFLA_IFNAME", ""),
        index=message["index"],
        mtu=attributes.get("IFLA_MTU", 0),
        up=bool(message.get("flags", 0) & _IFF_UP),
        kind=info.get("IFLA_INFO_KIND"),
        bridge=names.get(attributes.get("IFLA_MASTER", 0)),
        queues=_queues_of(data) if data else None,
        mac=attributes.get("IFLA_ADDRESS"),
    )


def _queues_of(data: Mapping[str, Any]) -> int:
    # The kernel tells the counts only of multi-queue taps. QEMU detaches the queues that the guest does not use (yet).
    return int(data.get("IFLA_TUN_NUM_QUEUES") or 1) + int(data.get("IFLA_TUN_NUM_DISABLED_QUEUES") or 0)
