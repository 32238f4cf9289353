"""Departure: the host as it would be once a VM had stopped and given everything back."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from qsup.plan.host_facts import HostFacts, HostNodeFacts, ImageFacts, PoolFacts
from qsup.plan.ledger import Holding
from qsup.plan.ledger_index import image_keys


def facts_after(facts: HostFacts, leaving: Holding) -> HostFacts:
    """The facts without what the VM has taken: its pages and memory are free, its image locks and taps gone.

    Pages count as given back to their pool; where the pool was grown for them, they come out of the node's base memory again.
    """
    images = {key for disk in leaving.plan.disks for image in disk.chain for key in image_keys(image)}
    return evolve(
        facts,
        nodes=tuple(_node_after(node, leaving) for node in facts.nodes),
        images={path: _unlocked(image, images) for path, image in facts.images.items()},
        links=facts.links - {nic.tap for nic in leaving.plan.nics},
    )


def _node_after(node: HostNodeFacts, leaving: Holding) -> HostNodeFacts:
    return evolve(
        node,
        memory_free_bytes=node.memory_free_bytes + leaving.base_taken_bytes.get(node.host_node, 0),
        pools=tuple(_pool_after(node.host_node, pool, leaving.pages_taken) for pool in node.pools),
    )


def _pool_after(host_node: int, pool: PoolFacts, taken: Mapping[tuple[int, int], int]) -> PoolFacts:
    return evolve(pool, free=pool.free + taken.get((host_node, pool.page_size_bytes), 0))


def _unlocked(image: ImageFacts, keys: set[str]) -> ImageFacts:
    if image.path not in keys and image.file_id not in keys:
        return image
    return evolve(image, locked_by_other=False, written_by_other=False)
