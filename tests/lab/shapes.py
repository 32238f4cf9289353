"""The shapes of host that the lab can take: nodes, distances, cores, threads, memory, pools, kernel words."""

from __future__ import annotations

from attrs import frozen


@frozen
class Shape:
    """One kind of host. vCPUs are numbered as Linux does it on most machines: node by node, core by core, siblings adjacent."""

    name: str
    nodes: int
    cores_per_node: int
    threads_per_core: int
    node_mib: int = 3072
    pages_1g_per_node: int = 1
    pages_2m_per_node: int = 64
    near_distance: int = 21
    """Between nodes 2k and 2k+1."""
    far_distance: int = 21
    """Between all other pairs."""
    kernel_words: tuple[str, ...] = ()

    @property
    def cpus_per_node(self) -> int:
        """Logical CPUs of one node."""
        return self.cores_per_node * self.threads_per_core

    @property
    def cpus(self) -> int:
        """Logical CPUs of the host."""
        return self.nodes * self.cpus_per_node

    def distance(self, here: int, there: int) -> int:
        """Return the distance from one node to another, as the kernel shows it."""
        if here == there:
            return 10
        return self.near_distance if here // 2 == there // 2 else self.far_distance

    def siblings(self, cpu: int) -> range:
        """Return the CPUs that share a core with the given one, itself included."""
        first = cpu - cpu % self.threads_per_core
        return range(first, first + self.threads_per_core)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("two_nodes_smt", nodes=2, cores_per_node=2, threads_per_core=2),
        Shape("four_nodes", nodes=4, cores_per_node=1, threads_per_core=2, near_distance=16, far_distance=32),
        Shape("one_node_no_smt", nodes=1, cores_per_node=4, threads_per_core=1),
        Shape(
            "isolated",
            nodes=2,
            cores_per_node=2,
            threads_per_core=2,
            kernel_words=("isolcpus=domain,managed_irq,2-3,6-7",),
        ),
    )
}
DEFAULT_SHAPE = "two_nodes_smt"
