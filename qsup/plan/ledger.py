"""The ledger: who holds what of this host. Reserve and release are inverse; a pCPU is never given twice."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from qsup.plan.vmplan import VmPlan


@frozen
class Holding:
    """What one VM holds.

    `pages_taken` counts, per (host node, page size), the pages that the VM's process has already taken out of the pool's
    free count; what is promised and not yet taken must be kept back for it.
    """

    plan: VmPlan
    pages_taken: Mapping[tuple[int, int], int] = field(factory=dict)
    base_taken_bytes: Mapping[int, int] = field(factory=dict)


@frozen
class Ledger:
    """All holdings, keyed by VM name."""

    holdings: Mapping[str, Holding] = field(factory=dict)

    def reserved(self, holding: Holding) -> Ledger:
        """The ledger with this holding; one of the same VM is replaced."""
        return evolve(self, holdings={**self.holdings, holding.plan.name: holding})

    def released(self, name: str) -> Ledger:
        """The ledger without what `name` holds; the same ledger where it holds nothing."""
        return evolve(self, holdings={key: value for key, value in self.holdings.items() if key != name})
