"""The shared pool: pCPUs that belong to nobody, where the vCPUs of shared VMs float.

Strategy: a shared VM's mask is a function of its host nodes, the host, the policy and the claims of the others, never of
history. So the masks of running shared VMs after any start or stop are found by asking again (`repin.py`).
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from qsup.plan.host_index import HostIndex
from qsup.plan.housekeeping import fixed_housekeeping
from qsup.plan.policy import HostPolicy


@frozen
class SharedPool:
    """The pCPUs open to shared VMs; `clear` of them no explicit pin touches."""

    host: HostIndex
    clear: frozenset[int]
    open: frozenset[int]

    @staticmethod
    def of(host: HostIndex, policy: HostPolicy, exclusive: Collection[int], pinned: Collection[int]) -> SharedPool:
        """The pool while `exclusive` belong to dedicated VMs and `pinned` carry explicit pins."""
        usable = host.online - host.isolated - frozenset(exclusive)
        if not host.small:
            usable -= fixed_housekeeping(host, policy)
        return SharedPool(host, clear=usable - frozenset(pinned), open=usable)

    def mask(self, nodes: Collection[int]) -> frozenset[int]:
        """Where vCPUs whose memory is on `nodes` float; empty only where the whole pool is.

        pCPUs under explicit pins are avoided as long as the nodes have others; nodes without any pool pCPU lend from
        the nearest that has. No nodes means: anywhere.
        """
        if not nodes:
            return self.clear or self.open
        here = self.on(nodes)
        if here:
            return here
        for node in self.host.nearest(nodes):
            lent = self.on((node,))
            if lent:
                return lent
        return frozenset()

    def on(self, nodes: Collection[int]) -> frozenset[int]:
        """The pool's pCPUs on these nodes alone, those without explicit pins first; empty where there is none."""
        local = self.host.pcpus_of(nodes)
        return self.clear & local or self.open & local

    def home(self, nodes: Collection[int]) -> tuple[int, ...]:
        """The nodes that the mask of `nodes` lies on, ascending."""
        return tuple(sorted({self.host.node_of[pcpu] for pcpu in self.mask(nodes)}))
