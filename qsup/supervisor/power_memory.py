"""What is wanted of a VM when it is seen for the first time by this daemon."""

from __future__ import annotations

from qsup.process.state_dir import read_order
from qsup.supervisor.notes import digest_of
from qsup.supervisor.vm_state import VmState


def recall_order(state_dir: str, vm: VmState, *, is_new: bool) -> None:
    """An operator's last order holds until the host reboots; without one, autostart decides.

    A VM that is new to this daemon and that another one left down stays down, unless its file is another one by now.

    Raises:
        InvalidInput: process.note-unreadable.

    Touches: the VM's power note in the state directory.
    """
    order = read_order(state_dir, vm.name)
    if order is None:
        vm.power.wanted = "on" if vm.config.spec is not None and vm.config.spec.vm.autostart else "off"
        return
    vm.power.wanted = order.power
    left = order.left_down
    if is_new and left is not None and left.file_sha256 == digest_of(vm.config.text):
        vm.past.given_up = left.reason
