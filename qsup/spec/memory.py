"""[memory]: how much, on which pages, on which nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from qsup.bytesize import GIB, KIB, MIB, format_byte_size
from qsup.spec.cpu import MOST_VCPUS
from qsup.spec.faults import Place
from qsup.spec.readers import byte_size, one_of, one_size_of, true_or_false, word_or, words_or
from qsup.spec.schema import AT_START, GUEST_HARDWARE, PLACED_AT_START, key
from qsup.spec.tables import inline_tables, sound
from qsup.spec.words import HIGHEST_HOST_NODE, cpulist

MemoryPolicy = Literal["bind", "preferred", "interleave"]
BasePages = Literal["off"]

BASE_PAGE_BYTES = 4 * KIB
MOST_GUEST_NODES = 128  # QEMU 7.2, include/sysemu/numa.h: MAX_NODES


@frozen
class GuestNodeSpec:
    """One guest NUMA node as written: its vCPUs, its size, the host nodes its memory is bound to (None: qsup chooses).

    `hugepages_bytes` is its own page size, "off" for base pages; None: that of all of the memory.
    """

    vcpus: frozenset[int] = field(
        metadata=key(
            cpulist("vCPUs", MOST_VCPUS - 1, "0-1"),
            doc="The vCPUs of this guest node.",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    size_bytes: int = field(
        metadata=key(
            byte_size(at_least=MIB),
            toml="size",
            doc="The memory of this guest node.",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    host_nodes: frozenset[int] | None = field(
        default=None,
        metadata=key(
            cpulist("host nodes", HIGHEST_HOST_NODE, "0"),
            doc="The host nodes that its memory may lie on.",
            absent="qsup chooses",
            effect="cold-restart",
            reason=PLACED_AT_START,
        ),
    )
    hugepages_bytes: int | BasePages | None = field(
        default=None,
        metadata=key(
            words_or(("off",), one_size_of(2 * MIB, GIB)),
            toml="hugepages",
            doc="The size of the hugepages on which the memory of this guest node lies; `off`: base pages.",
            absent="as `hugepages` of `[memory]`",
            effect="cold-restart",
            reason=AT_START,
        ),
    )


@frozen
class MemorySpec:
    """What `[memory]` asks.

    `hugepages_bytes` is the page size (2 MiB or 1 GiB) or None for base pages. `prealloc` None means: on with hugepages,
    off with base pages. `nodes` None is "auto". `host_nodes` restricts an "auto" placement to these host nodes.
    """

    size_bytes: int = field(
        metadata=key(
            byte_size(at_least=MIB),
            toml="size",
            doc="The guest's memory; a whole number of pages.",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    hugepages_bytes: int | None = field(
        default=None,
        metadata=key(
            one_size_of(2 * MIB, GIB),
            toml="hugepages",
            doc="The size of the hugepages on which the guest's memory lies; a guest node may have its own.",
            absent="base pages (4KiB)",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    prealloc: bool | None = field(
        default=None,
        metadata=key(
            true_or_false(),
            doc="Take every page before the guest starts, so that none can be missing later.",
            absent="true with hugepages, else false",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    nodes: tuple[GuestNodeSpec, ...] | None = field(
        default=None,
        metadata=key(
            word_or("auto", inline_tables(GuestNodeSpec, (), MOST_GUEST_NODES)),
            doc='The guest\'s NUMA nodes, like `[{ vcpus = "0-1", size = "4GiB", host_nodes = "0" }, …]`.',
            absent='`"auto"`: qsup chooses',
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    host_nodes: frozenset[int] | None = field(
        default=None,
        metadata=key(
            cpulist("host nodes", HIGHEST_HOST_NODE, "0"),
            doc='The host nodes among which qsup may choose; only with `nodes = "auto"`.',
            absent="all host nodes",
            effect="cold-restart",
            reason=PLACED_AT_START,
        ),
    )
    policy: MemoryPolicy = field(
        default="bind",
        metadata=key(
            one_of(MemoryPolicy),
            doc="How strictly pages keep to their host nodes: `bind` fails rather than go elsewhere.",
            effect="cold-restart",
            reason=AT_START,
        ),
    )


def node_hugepages(memory: MemorySpec, node: GuestNodeSpec) -> int | None:
    """The size of the hugepages on which a guest node lies; None for base pages."""
    if node.hugepages_bytes == "off":
        return None
    return memory.hugepages_bytes if node.hugepages_bytes is None else node.hugepages_bytes


def hugepages_by_size(memory: MemorySpec) -> Mapping[int | None, int]:
    """How much of the memory lies on hugepages of each size (None: on base pages), the largest pages first."""
    if not memory.nodes:
        return {memory.hugepages_bytes: memory.size_bytes}
    sizes: dict[int | None, int] = {}
    for node in memory.nodes:
        page = node_hugepages(memory, node)
        sizes[page] = sizes.get(page, 0) + node.size_bytes
    return dict(sorted(sizes.items(), key=lambda item: -(item[0] or 0)))


def size_is_whole_pages(memory: MemorySpec, place: Place) -> None:
    """The size is a whole number of pages; with guest nodes on several sizes of them, of the smallest."""
    pages = [page or BASE_PAGE_BYTES for _, page in sound(memory.nodes or (), lambda node: node_hugepages(memory, node))]
    _whole_pages(memory.size_bytes, min(pages, default=memory.hugepages_bytes or BASE_PAGE_BYTES), place.at("size"))


def node_sizes_are_whole_pages(memory: MemorySpec, place: Place) -> None:
    """The size of each guest node is a whole number of its pages."""
    for index, (size_bytes, page) in sound(memory.nodes or (), lambda node: (node.size_bytes, node_hugepages(memory, node))):
        _whole_pages(size_bytes, page or BASE_PAGE_BYTES, place.at("nodes", index, "size"))


def _whole_pages(size_bytes: int, page_size_bytes: int, place: Place) -> None:
    rest = size_bytes % page_size_bytes
    if rest:
        page, size = format_byte_size(page_size_bytes), format_byte_size(size_bytes)
        below, above = format_byte_size(size_bytes - rest), format_byte_size(size_bytes - rest + page_size_bytes)
        hint = f"write {above}" if size_bytes < page_size_bytes else f"write {below} or {above}"
        message = f"{place} = {size} is not a whole number of {page} pages: accepted are multiples of {page}"
        place.report("not-whole-pages", message, hint)


def node_sizes_add_up(memory: MemorySpec, place: Place) -> None:
    """The guest nodes have all of the memory together."""
    if memory.nodes is None:
        return
    total_bytes = sum(node.size_bytes for node in memory.nodes)
    if total_bytes != memory.size_bytes:
        total, size = format_byte_size(total_bytes), format_byte_size(memory.size_bytes)
        message = f"the sizes in memory.nodes add up to {total}, but memory.size = {size}: accepted is the same size"
        place.at("nodes").report("node-sizes", message, f'change the nodes\' sizes, or set size = "{total}"')


def host_nodes_only_with_auto(memory: MemorySpec, place: Place) -> None:
    """Host nodes are written once: for all of the memory, or for each guest node."""
    if memory.nodes is not None and memory.host_nodes is not None:
        message = 'memory.host_nodes is written beside memory.nodes: accepted is host_nodes with nodes = "auto" only'
        place.at("host_nodes").report("host-nodes-twice", message, "write host_nodes into each guest node", on_key=True)


RULES = (size_is_whole_pages, node_sizes_are_whole_pages, node_sizes_add_up, host_nodes_only_with_auto)
