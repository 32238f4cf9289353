"""Synthetic hosts: HostFacts built by hand, for every test that needs a machine without reading one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import evolve

from qsup.bytesize import GIB, MIB
from qsup.plan.host_facts import BridgeFacts, HostFacts, HostNodeFacts, ImageFacts, PcpuFacts, PoolFacts

HUGE_2M = 2 * MIB
HUGE_1G = GIB


def build_host(
    *,
    nodes: int = 1,
    cores_per_node: int = 4,
    threads: int = 1,
    cores_per_l3: int = 4,
    memory_bytes: int = 64 * GIB,
    pages_2m: int = 0,
    pages_1g: int = 0,
    offline: Collection[int] = (),
    isolated: Collection[int] = (),
    distances: Mapping[tuple[int, int], int] | None = None,
) -> HostFacts:
    """A host with equal nodes. pCPUs are numbered as Linux does on x86: first siblings of all cores, then the second ones."""
    cores = nodes * cores_per_node
    pcpus = tuple(
        PcpuFacts(
            pcpu=thread * cores + core,
            host_node=core // cores_per_node,
            socket=core // cores_per_node,
            die=core // cores_per_node,
            core=core,
            l3=core // cores_per_l3,
            online=thread * cores + core not in offline,
            isolated=thread * cores + core in isolated,
        )
        for thread in range(threads)
        for core in range(cores)
    )
    table = distances or {}
    return HostFacts(
        pcpus=pcpus,
        nodes=tuple(
            HostNodeFacts(
                host_node=node,
                memory_total_bytes=memory_bytes,
                memory_free_bytes=memory_bytes - pages_2m * HUGE_2M - pages_1g * HUGE_1G,
                distances={other: 10 if other == node else table.get((node, other), 21) for other in range(nodes)},
                pools=(
                    PoolFacts(HUGE_2M, total=pages_2m, free=pages_2m),
                    PoolFacts(HUGE_1G, total=pages_1g, free=pages_1g),
                ),
            )
            for node in range(nodes)
        ),
        vhost_net=True,
    )


def laptop() -> HostFacts:
    """Two cores without SMT on one node: too small to set anything aside."""
    return build_host(cores_per_node=2, memory_bytes=16 * GIB)


def no_smt() -> HostFacts:
    """Eight cores without SMT on one node."""
    return build_host(cores_per_node=8, cores_per_l3=8, memory_bytes=64 * GIB, pages_2m=4096)


def two_sockets() -> HostFacts:
    """Two nodes of eight cores with two siblings each: core n has the pCPUs n and n + 16."""
    return build_host(nodes=2, cores_per_node=8, threads=2, cores_per_l3=8, pages_2m=8192, pages_1g=8)


def nps4() -> HostFacts:
    """A socket cut into four near nodes with small L3 groups."""
    near = {(one, other): 12 for one in range(4) for other in range(4)}
    return build_host(nodes=4, cores_per_node=8, threads=2, cores_per_l3=2, pages_2m=4096, distances=near)


def eight_nodes(cores_per_node: int = 32) -> HostFacts:
    """Eight nodes on two boards: 12 within a board, 32 across."""
    table = {(one, other): 12 if one // 4 == other // 4 else 32 for one in range(8) for other in range(8)}
    return build_host(
        nodes=8,
        cores_per_node=cores_per_node,
        threads=2,
        cores_per_l3=8,
        memory_bytes=1024 * GIB,
        pages_2m=128 * 1024,
        distances=table,
    )


def with_images(facts: HostFacts, *images: ImageFacts) -> HostFacts:
    """The host with these image files."""
    return evolve(facts, images={**facts.images, **{image.path: image for image in images}})


def with_bridge(facts: HostFacts, name: str = "br0", mtu: int = 1500, host_node: int | None = None) -> HostFacts:
    """The host with this bridge; `host_node` is where the hardware under it sits."""
    return evolve(facts, bridges={**facts.bridges, name: BridgeFacts(name, mtu, host_node)}, links=facts.links | {name})


def with_memory_free(facts: HostFacts, free_bytes: Mapping[int, int]) -> HostFacts:
    """The host with other amounts of free base memory on some nodes."""
    return evolve(
        facts,
        nodes=tuple(
            evolve(node, memory_free_bytes=free_bytes.get(node.host_node, node.memory_free_bytes)) for node in facts.nodes
        ),
    )


def with_pages(facts: HostFacts, page_size_bytes: int, pages: Mapping[int, int]) -> HostFacts:
    """The host with pools of one size set to these numbers of pages, all free."""
    return evolve(
        facts,
        nodes=tuple(
            evolve(
                node,
                pools=tuple(
                    PoolFacts(page_size_bytes, pages[node.host_node], pages[node.host_node])
                    if pool.page_size_bytes == page_size_bytes and node.host_node in pages
                    else pool
                    for pool in node.pools
                ),
            )
            for node in facts.nodes
        ),
    )
