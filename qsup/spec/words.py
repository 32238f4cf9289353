"""Readers of texts that have a grammar of their own: cpulists, paths, MACs, interface names, names of machines and VMs."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address

from qsup.cpuset import HIGHEST_PCPU, format_cpulist, parse_cpulist
from qsup.spec.faults import Faulty, Place, quoted, shown
from qsup.spec.readers import LONGEST_STRING, control_character, has_controls, wrong_type
from qsup.spec.schema import Reader

HIGHEST_HOST_NODE = 1023
LONGEST_PATH_BYTES = 4095
LONGEST_PATH_PART_BYTES = 255
LONGEST_INTERFACE_NAME_BYTES = 15
HIGHEST_PORT = 65535


def cpulist(what: str = "pCPUs", highest: int = HIGHEST_PCPU, example: str = "0-3,8") -> Reader[frozenset[int]]:
    """A set of numbers, never empty: one whole number, or a cpulist string ("0-3,8")."""

    def parse(value: object, place: Place, accepts: str) -> frozenset[int] | Faulty:
        if isinstance(value, bool) or not isinstance(value, int | str):
            return wrong_type(value, accepts, place, quoted(example))
        numbers = _numbers_of(value)
        if numbers and max(numbers) <= highest:
            return numbers
        message = f"{place} = {shown(value)} is not a set of {what}: accepted is {accepts}"
        return place.report("bad-cpulist", message, place.for_example(quoted(example)))

    return Reader(
        f'a set of {what} from 0 to {highest}, like 2 or "0-3,8"',
        quoted(example),
        parse,
        lambda numbers: quoted(format_cpulist(numbers), LONGEST_STRING),
    )


def _numbers_of(value: int | str) -> frozenset[int]:
    """The numbers of a cpulist, none where it is not one or absurdly long."""
    try:
        text = str(value)
        return parse_cpulist(text) if len(text) <= LONGEST_STRING else frozenset()
    except ValueError:  # also of str(), for a whole number of more than 4300 digits
        return frozenset()


def absolute_path(example: str) -> Reader[str]:
    """The path of a file: absolute, without "." and ".." parts, so that equal files have equal paths in one document."""

    def parse(value: object, place: Place, accepts: str) -> str | Faulty:
        if not isinstance(value, str):
            return wrong_type(value, accepts, place, quoted(example))
        if has_controls(value):
            return control_character(value, place)
        wrong = _wrong_with_path(value)
        if wrong is None:
            return value
        message = f"{place} = {shown(value)} {wrong}: accepted is {accepts}"
        return place.report("bad-path", message, place.for_example(quoted(example)))

    return Reader("the absolute path of a file", quoted(example), parse, lambda path: quoted(path, LONGEST_PATH_BYTES))


def _wrong_with_path(path: str) -> str | None:
    if not path.startswith("/"):
        return "is not absolute"
    parts = path.split("/")[1:]
    if not parts[-1]:
        return "names a directory"
    if any(part in ("", ".", "..") for part in parts):
        return 'has an empty, "." or ".." part'
    if len(path.encode()) > LONGEST_PATH_BYTES or any(len(part.encode()) > LONGEST_PATH_PART_BYTES for part in parts):
        return f"is longer than {LONGEST_PATH_BYTES} bytes, or {LONGEST_PATH_PART_BYTES} in one part"
    return None


def program() -> Reader[str]:
    """A program: its name (looked up in PATH) or its absolute path."""
    path = absolute_path("/usr/bin/qemu-system-x86_64")

    def parse(value: object, place: Place, accepts: str) -> str | Faulty:
        if isinstance(value, str) and _PROGRAM.fullmatch(value):
            return value
        return path.parse(value, place, accepts)

    return Reader("the name of a program or its absolute path", path.example, parse, path.format)


_PROGRAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}", re.ASCII)


def matching(pattern: str, accepts: str, code: str, example: str) -> Reader[str]:
    """A text that matches a regular expression as a whole."""
    compiled = re.compile(pattern, re.ASCII)
    return _checked(accepts, code, example, lambda value: None if compiled.fullmatch(value) else "does not fit")


def interface_name(example: str) -> Reader[str]:
    """A network interface's name.

    Source: Linux net/core/dev.c, dev_valid_name(); a "%" would be taken as a template by TUNSETIFF.
    """
    return _checked(
        f'the name of an interface (1 to {LONGEST_INTERFACE_NAME_BYTES} visible ASCII characters, no "/", ":" or "%")',
        "bad-interface-name",
        example,
        _wrong_with_interface_name,
    )


def _wrong_with_interface_name(name: str) -> str | None:
    if len(name.encode()) > LONGEST_INTERFACE_NAME_BYTES:
        return f"has {len(name.encode())} bytes"
    if name in ("", ".", ".."):
        return "is not a name"
    bad = [char for char in name if char in "/:%" or not "!" <= char <= "~"]
    return f"holds {quoted(bad[0])}" if bad else None


def mac_address() -> Reader[str]:
    """A unicast MAC address; read as lower case."""
    return _checked("a unicast MAC address", "bad-mac", "52:54:00:12:34:56", _wrong_with_mac, str.lower)


def _wrong_with_mac(mac: str) -> str | None:
    if not _MAC.fullmatch(mac):
        return "is not six pairs of hexadecimal digits with colons"
    if int(mac[:2], 16) & 1:
        return "is a multicast address (its first byte is odd)"
    if not mac.strip("0:"):
        return "is the null address"
    return None


_MAC = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}", re.ASCII)


def _checked(
    accepts: str, code: str, example: str, wrong_with: Callable[[str], str | None], normal: Callable[[str], str] = str
) -> Reader[str]:
    """A text with a check that says in a few words what is wrong with it, and a normal form."""

    def parse(value: object, place: Place, accepts: str) -> str | Faulty:
        if not isinstance(value, str):
            return wrong_type(value, accepts, place, quoted(example))
        wrong = wrong_with(value)
        if wrong is None:
            return normal(value)
        return place.report(
            code, f"{place} = {shown(value)} {wrong}: accepted is {accepts}", place.for_example(quoted(example))
        )

    return Reader(accepts, quoted(example), parse, lambda value: quoted(value, LONGEST_STRING))


def tcp_address(example: str) -> Reader[str]:
    """A numeric address and a port: "127.0.0.1:9101", "[::1]:9101". Names would be looked up while the daemon starts."""
    return _checked("an IP address and a port", "bad-address", example, _wrong_with_address)


def _wrong_with_address(text: str) -> str | None:
    host, colon, port = text.rpartition(":")
    if not colon:
        return "has no port"
    if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 1 <= int(port) <= HIGHEST_PORT:
        return f"has a port that is not from 1 to {HIGHEST_PORT}"
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        return "has no numeric address"
    if bracketed != (address.version == 6):
        return "has brackets where IPv4 has none" if bracketed else "is IPv6 without brackets"
    return "has a scope id" if "%" in host else None
