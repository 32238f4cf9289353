"""Writes the picture of a host into a file."""

from __future__ import annotations

from qsup.api.client import Json
from qsup.cli.render.topology_svg import topology_svg
from qsup.errors import KernelRefused


def write_drawing(path: str, document: Json) -> None:
    """Draw a map (`truth/host_map.py`, with the name of its host) into a file.

    Raises:
        KernelRefused: cli.not-written.
    """
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(topology_svg(document))
    except (OSError, ValueError) as error:
        raise not_written(path, error) from None


def not_written(path: str, error: OSError | ValueError) -> KernelRefused:
    """The refusal of a file that the user named."""
    number, why = (error.errno or 5, error.strerror) if isinstance(error, OSError) else (22, str(error))
    return KernelRefused("cli.not-written", path, number, f"{path} cannot be written: {why}", "name another place")
