"""The ledger: who holds what of this host. Reserve and release are inverse; a pCPU is never given twice."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from attrs import field, frozen

from qsup.plan.holding import Holding
from qsup.plan.ledger_index import LedgerIndex, index_of

__all__ = ["Holding", "Ledger"]


@frozen
class Ledger:
    """All holdings, keyed by VM name."""

    holdings: Mapping[str, Holding] = field(factory=dict)

    @cached_property
    def index(self) -> LedgerIndex:
        """Who holds which pCPU, image, address and page; counted up once, then carried along by `reserved` and `released`."""
        return index_of(self.holdings.values())

    def reserved(self, holding: Holding) -> Ledger:
        """The ledger with this holding; one of the same VM is replaced."""
        name = holding.plan.name
        return _indexed({**self.holdings, name: holding}, self.index_without(name).reserved(holding))

    def released(self, name: str) -> Ledger:
        """The ledger without what `name` holds; the same ledger where it holds nothing."""
        if name not in self.holdings:
            return self
        rest = {key: value for key, value in self.holdings.items() if key != name}
        return _indexed(rest, self.index_without(name))

    def index_without(self, name: str) -> LedgerIndex:
        """The index of everybody else's holdings."""
        own = self.holdings.get(name)
        return self.index if own is None else self.index.released(own)


def _indexed(holdings: Mapping[str, Holding], index: LedgerIndex) -> Ledger:
    ledger = Ledger(holdings)
    object.__setattr__(ledger, "index", index)  # fills the cached property: its slot is not part of the frozen fields
    return ledger
