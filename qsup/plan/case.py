"""Case: everything that one planning looks at, and the notes that it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from attrs import define, field, frozen

from qsup.errors import Problem, Reason
from qsup.plan.guest_record import GuestRecord
from qsup.plan.host_facts import HostFacts
from qsup.plan.host_index import HostIndex
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.ledger_index import LedgerIndex
from qsup.plan.policy import HostPolicy
from qsup.spec.cpu import OWN_PCPUS, Placement, placement_of
from qsup.spec.vmspec import VmSpec


@define
class Notes:
    """Failing constraints and warnings, in the order in which the sections found them.

    `brief`: only whether the VM fits is asked; who holds what is then not looked up.
    """

    brief: bool = False
    reasons: list[Reason] = field(factory=list)
    warnings: list[Problem] = field(factory=list)

    def refuse(
        self,
        code: str,
        message: str,
        *,
        hint: str,
        needed: str | None = None,
        available: str | None = None,
        host_node: int | None = None,
        held_by: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Note a constraint that fails."""
        self.reasons.append(
            Reason(
                code=code,
                message=message,
                host_node=host_node,
                needed=needed,
                available=available,
                held_by=held_by,
                hint=hint,
            )
        )

    def warn(self, code: str, message: str, *, hint: str, key: str | None = None) -> None:
        """Note something that was asked for and works otherwise than one may think."""
        self.warnings.append(Problem(code=code, message=message, hint=hint, key=key))


@frozen
class Case:
    """One question to the planner. `others` are the claims of every VM but this one.

    `disk_queue_threads`: QEMU can share out the queues of one disk over several iothreads.
    """

    spec: VmSpec
    facts: HostFacts
    policy: HostPolicy
    ledger: Ledger
    record: GuestRecord | None
    machine_aliases: Mapping[str, str]
    notes: Notes
    disk_queue_threads: bool = False

    @property
    def placement(self) -> Placement:
        """The placement in force ("isolated" also where smt = "isolate" says so)."""
        return placement_of(self.spec.cpu)

    @property
    def owns_pcpus(self) -> bool:
        """Whether vCPUs of this VM have pCPUs of their own."""
        return self.spec.cpu.placement in OWN_PCPUS

    @property
    def host(self) -> HostIndex:
        """The host's pCPUs, indexed."""
        return self.facts.index

    @cached_property
    def others(self) -> LedgerIndex:
        """Who else holds what."""
        return self.ledger.index_without(self.spec.name)

    @property
    def own(self) -> Holding | None:
        """What this VM holds already (it runs, and is planned again); it counts as available."""
        return self.ledger.holdings.get(self.spec.name)
