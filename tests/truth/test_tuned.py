"""Which of a VM's threads tuned's active profile moves."""

from __future__ import annotations

import pytest

from qsup.truth.tuned import QEMU, TunedScheduler

VCPU, PIT = ("CPU 0/KVM", QEMU), ("kvm-pit/7", "kvm-pit/7")


@pytest.mark.parametrize(
    ("scheduler", "vcpu", "pit"),
    [
        (TunedScheduler(), False, False),
        (TunedScheduler(isolates=True), True, True),
        (TunedScheduler(isolates=True, spares=("CPU .*/KVM",)), False, True),
        # A process that is spared keeps all its threads.
        (TunedScheduler(isolates=True, spares=(".*qemu.*",)), False, True),
        (TunedScheduler(isolates=True, spares=("*broken", "kvm-pit")), True, False),
        (TunedScheduler(isolates=True, takes=("^ovs-",)), False, False),
        # Both names must be taken: that of the process, and that of the thread.
        (TunedScheduler(isolates=True, takes=("qemu",)), False, False),
        (TunedScheduler(isolates=True, takes=("qemu", "KVM")), True, False),
        # Filters alone move nothing.
        (TunedScheduler(takes=("qemu",), spares=("x",)), False, False),
        (TunedScheduler(isolates=True, spares_cgroups=("qsup\\.slice",)), False, False),
        (TunedScheduler(isolates=True, spares_cgroups=("machine\\.slice",)), True, True),
        (TunedScheduler(groups=("qemu-system",)), True, False),
        (TunedScheduler(groups=("^\\[kvm-pit",)), False, True),
    ],
)
def test_what_is_moved(scheduler: TunedScheduler, vcpu: bool, pit: bool) -> None:
    assert (scheduler.moves(*VCPU), scheduler.moves(*PIT)) == (vcpu, pit)
