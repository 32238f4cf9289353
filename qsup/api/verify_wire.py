"""The truth table as JSON: field names are those of `truth/`; masks are cpulists; counts stand beside the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_origin

import cattrs

from qsup.cpuset import format_cpulist
from qsup.truth.page_moves import MemoryMended
from qsup.truth.verified import VmVerified

Json = dict[str, object]


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook_func(lambda wanted: frozenset in (wanted, get_origin(wanted)), format_cpulist)
    return converter


_plain = _converter()


def verified_json(table: VmVerified) -> Json:
    """One VM: `verdict`, `counts` (verdict → rows), and the rows. `pages` are objects with host_node and count."""
    value: Json = {"vm": table.vm, "verdict": table.verdict, "counts": dict(table.counts), **_plain.unstructure(table)}
    value["memory"] = [_memory_json(row) for row in _plain.unstructure(table.memory)]
    return value


def _memory_json(row: Json) -> Json:
    pages = row["pages"]
    assert isinstance(pages, list | tuple)
    del row["start"]  # where guest memory lies in QEMU's address space is nobody's business
    return {**row, "pages": [{"host_node": node, "count": count} for node, count in pages]}


def all_verified_json(tables: Iterable[VmVerified]) -> Json:
    """All VMs."""
    return {"vms": [verified_json(table) for table in tables]}


def mended_json(mended: MemoryMended) -> Json:
    """What a repair of memory did."""
    value: Json = _plain.unstructure(mended)
    return value
