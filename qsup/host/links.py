"""Network links by ioctl: attach a tap to a bridge, make and remove bridges, look at links.

Strategy: the hot path of a start is plain ioctls on one datagram socket; link dumps for `verify` are in link_table.py.
Source: man 7 netdevice, include/uapi/linux/sockios.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import threading

from qsup.errors import KernelRefused
from qsup.host.sysfs import NET_DIR, is_dir, read_count, read_text

_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_SIOCSIFMTU = 0x8922
_SIOCSIFHWADDR, _SIOCGIFHWADDR = 0x8924, 0x8927
_SIOCBRADDBR, _SIOCBRDELBR, _SIOCBRADDIF = 0x89A0, 0x89A1, 0x89A2
_IFF_UP = 0x1
_NAME_LIMIT = 15
_HINTS = {
    errno.EPERM: "run the daemon with CAP_NET_ADMIN",
    errno.EACCES: "run the daemon with CAP_NET_ADMIN",
    errno.EXFULL: "a Linux bridge takes 1023 ports: use a second bridge",
}

# VMs that start together ask for one bridge from several threads: none may join it before it has its address.
_creation = threading.Lock()


class _Control:
    """The socket for link ioctls; each call names its link and raises KernelRefused with its own step."""

    def __init__(self, link: str) -> None:
        self.name = link.encode()
        if not 1 <= len(self.name) <= _NAME_LIMIT:
            raise KernelRefused(
                "host.link-name", link, errno.EINVAL, f"{link!r} cannot name a link: 1 to {_NAME_LIMIT} bytes are accepted"
            )
        self.link = link
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def __enter__(self) -> _Control:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def call(self, request: int, argument: bytes, step: str) -> bytes:
        """One ioctl. Raises KernelRefused host.link-missing or host.link-refused."""
        try:
            return fcntl.ioctl(self.socket, request, argument)
        except OSError as error:
            raise link_refused(self.link, step, error.errno or errno.EIO) from None

    def request(self, tail: bytes) -> bytes:
        """A struct ifreq: 16 bytes of name, 24 of value."""
        return struct.pack("16s24s", self.name, tail)


def link_refused(link: str, step: str, number: int) -> KernelRefused:
    """The refusal of one step on one link."""
    missing = number == errno.ENODEV
    code = "host.link-missing" if missing else "host.link-refused"
    reason = "no such link, or not of this kind" if missing else os.strerror(number)
    return KernelRefused(code, link, number, f"{link}: cannot {step}: {reason}", _HINTS.get(number))


def attach_tap(name: str, bridge: str, mtu: int | None = None) -> None:
    """Makes a tap ready and a port of a bridge, up last, so that no frame passes a half-made link.

    The tap takes the bridge's MTU where none is given: a lower one would pull the bridge's down. Its MAC gets the first byte
    fe, above any NIC's: a bridge without a MAC of its own takes the lowest of its ports, and the host's address would
    jump as guests come and go. IPv6 is off on it: the host itself must not be reachable there.

    Raises:
        KernelRefused: host.bridge-missing, host.link-missing (the tap), host.link-refused.

    Touches:
        SIOCSIFMTU, SIOCSIFHWADDR, /proc/sys/net/ipv6/conf/TAP/disable_ipv6, SIOCBRADDIF, SIOCSIFFLAGS.
    """
    if not is_bridge(bridge):
        reason = "exists and is no bridge" if tap_exists(bridge) else "does not exist"
        message = f"{name} cannot join {bridge}: it {reason}"
        hint = f"make it: ip link add {bridge} type bridge; or set [network] create_bridges = true"
        raise KernelRefused("host.bridge-missing", bridge, errno.ENODEV, message, hint)
    wanted_mtu = mtu or link_mtu(bridge)
    with _Control(name) as tap, _Control(bridge) as port:
        if wanted_mtu is not None and wanted_mtu != link_mtu(name):
            tap.call(_SIOCSIFMTU, tap.request(struct.pack("i", wanted_mtu)), f"set the MTU to {wanted_mtu}")
        address = tap.call(_SIOCGIFHWADDR, tap.request(b""), "read the MAC")
        tap.call(_SIOCSIFHWADDR, address[:18] + b"\xfe" + address[19:], "set the MAC")
        disable_ipv6(name)
        index = struct.pack("i", _index_of(name))
        port.call(_SIOCBRADDIF, port.request(index), f"take {name} as a port")
        _bring_up(tap)


def _index_of(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise link_refused(name, "find it", error.errno or errno.ENODEV) from None


def _bring_up(control: _Control) -> None:
    flags = struct.unpack_from("H", control.call(_SIOCGIFFLAGS, control.request(b""), "read its flags"), 16)[0]
    control.call(_SIOCSIFFLAGS, control.request(struct.pack("H", flags | _IFF_UP)), "bring it up")


def disable_ipv6(name: str) -> bool:
    """Turns IPv6 off on a link; False where the kernel has none.

    Touches:
        /proc/sys/net/ipv6/conf/NAME/disable_ipv6.
    """
    try:
        fd = os.open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.write(fd, b"1") == 1
    except OSError:
        return False
    finally:
        os.close(fd)


def create_bridge(name: str) -> bool:
    """Makes a bridge with a MAC of its own and brings it up; False where it is there already (then it is brought up).

    Raises:
        KernelRefused: host.link-refused, and host.link-name-taken where a link of another kind has this name.

    Touches:
        SIOCBRADDBR, SIOCSIFHWADDR, SIOCSIFFLAGS.
    """
    with _creation, _Control(name) as bridge:
        created = not is_bridge(name) and _add_bridge(bridge)
        if created:
            # Setting the address, even to what it is, keeps the bridge from taking over that of a port.
            address = bridge.call(_SIOCGIFHWADDR, bridge.request(b""), "read the MAC")
            bridge.call(_SIOCSIFHWADDR, address, "set the MAC")
        _bring_up(bridge)
    return created


def _add_bridge(bridge: _Control) -> bool:
    """False where another process was faster."""
    try:
        bridge.call(_SIOCBRADDBR, bridge.name + b"\0", "make the bridge")
    except KernelRefused as refusal:
        if refusal.errno != errno.EEXIST:
            raise
        if not is_bridge(bridge.link):
            message = f"{bridge.link} exists and is no bridge"
            hint = "give the bridge another name"
            raise KernelRefused("host.link-name-taken", bridge.link, errno.EEXIST, message, hint) from None
        return False
    return True


def delete_bridge(name: str) -> bool:
    """Takes a bridge down and removes it; False where there is none.

    Raises:
        KernelRefused: host.link-refused.

    Touches:
        SIOCSIFFLAGS, SIOCBRDELBR.
    """
    if not is_bridge(name):
        return False
    with _Control(name) as bridge:
        bridge.call(_SIOCSIFFLAGS, bridge.request(struct.pack("H", 0)), "take it down")
        bridge.call(_SIOCBRDELBR, bridge.name + b"\0", "remove the bridge")
    return True


def link_mtu(name: str, root: str = "/") -> int | None:
    """The MTU of a link, or None where there is no such link."""
    return read_count(root, f"{NET_DIR}/{name}/mtu")


def is_bridge(name: str, root: str = "/") -> bool:
    """Whether a link of this name exists and is a bridge: by its type, which a new link has from its first moment; a recorded
    host may have its directory only."""
    kind = read_text(root, f"{NET_DIR}/{name}/uevent") or ""
    return "DEVTYPE=bridge" in kind.splitlines() or is_dir(root, f"{NET_DIR}/{name}/bridge")


def tap_exists(name: str, root: str = "/") -> bool:
    """Whether a link of this name exists."""
    return is_dir(root, f"{NET_DIR}/{name}")
