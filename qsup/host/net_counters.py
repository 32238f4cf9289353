"""What each network link has carried: all links by one read, the same numbers as in /sys/class/net/LINK/statistics.

Source: man 5 proc_pid_net (/proc/net/dev); net/core/net-procfs.c.
"""

from __future__ import annotations

from attrs import frozen

from qsup.host.sysfs import read_text

_COLUMNS = 16


@frozen
class LinkCounters:
    """One link since it was made, as the host sees it: what a guest sends is received by its tap."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def read_link_counters(root: str = "/") -> dict[str, LinkCounters]:
    """Name → counters of every link of this network namespace; none where they cannot be read.

    Touches:
        /proc/net/dev.
    """
    found = {}
    for line in (read_text(root, "/proc/net/dev") or "").splitlines()[2:]:
        name, _, rest = line.rpartition(":")
        words = rest.split()
        if len(words) == _COLUMNS and all(word.isdigit() for word in words):
            numbers = [int(word) for word in words]
            found[name.strip()] = LinkCounters(*numbers[:4], *numbers[8:12])
    return found
