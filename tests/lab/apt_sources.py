"""Where packages come from: the mirror that this machine's own apt uses, for the release that the lab wants."""

from __future__ import annotations

import re
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEFAULT_MIRROR = "http://deb.debian.org/debian"
APT = Path("/etc/apt")

_ADDRESS = re.compile(r"\b(https?://[^\s]+?/debian)/?(?=\s|$)", re.MULTILINE)


def mirror() -> str:
    """Return the address of the Debian archive that apt is set to here."""
    files = sorted(
        [APT / "sources.list", *(APT / "sources.list.d").glob("*.sources"), *(APT / "sources.list.d").glob("*.list")]
    )
    for path in files:
        text = path.read_text() if path.is_file() else ""
        words = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        if found := _ADDRESS.search(words):
            return found[1]
    return DEFAULT_MIRROR


def probe_address(release: str) -> str:
    """Return an address that answers when the release can be had."""
    return f"{mirror()}/dists/{release}/InRelease"


def sources(release: str) -> str:
    """Return the text of a deb822 sources file for a release, with its updates and its security archive."""
    address = mirror()
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {KEYRING}\n"
        for uri, suites in (
            (address, f"{release} {release}-updates"),
            (f"{address}-security", f"{release}-security"),
        )
    )
