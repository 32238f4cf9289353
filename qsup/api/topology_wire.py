"""The map of the host as JSON, with the names of `truth/host_map.py`."""

from __future__ import annotations

import cattrs

from qsup.truth.host_map import HostMap

Json = dict[str, object]

_plain = cattrs.Converter()


def map_json(picture: HostMap) -> Json:
    """The machine with all VMs in their seats."""
    document: Json = _plain.unstructure(picture)
    return document
