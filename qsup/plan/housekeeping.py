"""Housekeeping: the pCPUs for everything that is not a vCPU (emulator, iothreads, vhost workers, the host itself).

Strategy: on hosts with more than two cores the set is fixed (the policy's, or the core of the lowest pCPU) and no vCPU
but an explicitly pinned one ever runs there. On smaller hosts nothing can be set aside: housekeeping is whatever no
dedicated VM owns, so it shrinks and grows with them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from qsup.plan.host_index import HostIndex
from qsup.plan.policy import HostPolicy


def fixed_housekeeping(host: HostIndex, policy: HostPolicy) -> frozenset[int]:
    """The pCPUs set aside for housekeeping; empty where nothing is (small hosts without a policy)."""
    if policy.housekeeping is not None:
        return policy.housekeeping & host.online
    if host.small:
        return frozenset()
    return first_core(host)


def first_core(host: HostIndex) -> frozenset[int]:
    """The online pCPUs of the lowest pCPU's core; isolated ones are passed over where there are others."""
    candidates = host.online - host.isolated or host.online
    return host.siblings({min(candidates)}) if candidates else frozenset()


def housekeeping_of(host: HostIndex, policy: HostPolicy, exclusive: Collection[int]) -> frozenset[int]:
    """The housekeeping pCPUs while `exclusive` belong to dedicated VMs; never empty on a host with an online pCPU.

    Returns:
        The fixed set less `exclusive`; where that leaves none, every pCPU that is not `exclusive`; where there is none either,
        all online pCPUs. One isolated pCPU at most: the kernel does not balance load there.
    """
    taken = frozenset(exclusive)
    for choice in (fixed_housekeeping(host, policy) - taken, host.online - host.isolated - taken, host.online - taken):
        if choice:
            return _balanced(host, choice)
    return _balanced(host, host.online)


def near(host: HostIndex, pcpus: frozenset[int], nodes: Iterable[int]) -> frozenset[int]:
    """Those of `pcpus` that sit on `nodes`, else all of them."""
    return pcpus & host.pcpus_of(nodes) or pcpus


def _balanced(host: HostIndex, pcpus: frozenset[int]) -> frozenset[int]:
    return pcpus - host.isolated or frozenset(sorted(pcpus)[:1])
