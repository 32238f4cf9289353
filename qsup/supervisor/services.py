"""What every VM's task works with: the settings, the shared ledger, the capabilities of QEMU, the events."""

from __future__ import annotations

from attrs import field, frozen

from qsup.plan.policy import HostPolicy
from qsup.process.scope import Scopes
from qsup.spec.settings import SettingsSpec
from qsup.supervisor.agents import AgentsCache
from qsup.supervisor.caps import CapsCache
from qsup.supervisor.events import EventLog
from qsup.supervisor.reservations import Reservations
from qsup.supervisor.vm_state import VmState


@frozen
class Services:
    """Shared by all VMs of one daemon, which are the `fleet`, by name. `scopes` is None where VMs live as plain processes."""

    settings: SettingsSpec
    policy: HostPolicy
    reservations: Reservations
    caps: CapsCache
    events: EventLog
    scopes: Scopes | None
    fleet: dict[str, VmState]
    agents: AgentsCache = field(factory=AgentsCache)
