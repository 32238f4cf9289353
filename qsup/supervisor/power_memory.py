"""What is wanted of a VM when it is seen for the first time by this daemon."""

from __future__ import annotations

from qsup.process.state_dir import read_order
from qsup.reconcile.desired import Power
from qsup.spec.vmspec import VmSpec


def power_at_first_sight(state_dir: str, spec: VmSpec) -> Power:
    """An operator's last order holds until the host reboots; without one, autostart decides.

    Touches: the VM's power note in the state directory.
    """
    order = read_order(state_dir, spec.name)
    if order is not None:
        return order.power
    return "on" if spec.vm.autostart else "off"
