"""Messages stay short, whatever the number of VMs and pCPUs."""

from __future__ import annotations

import pytest

from qsup.plan.ledger import Holding, Ledger
from qsup.plan.wording import left_text, names_text, needed_text, pcpus_text
from qsup.spec.cpu import CpuSpec
from tests.plan.asking import ask, vm
from tests.plan.hosts import two_sockets


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "vm0"), (2, "vm0, vm1"), (4, "vm0, vm1, vm2, vm3"), (5, "vm0, vm1, vm2 and 2 more"), (9, "vm0, vm1, vm2 and 6 more")],
)
def test_long_lists_of_vms_are_shortened(count: int, text: str) -> None:
    assert names_text([f"vm{number}" for number in range(count)]) == text


def test_pcpus_are_named_in_the_right_number() -> None:
    assert [pcpus_text(pcpus) for pcpus in ((), (2,), (3, 2, 34))] == ["no pCPU", "pCPU 2", "pCPUs 2,3,34"]


def test_amounts_are_rounded_to_the_safe_side() -> None:
    assert (needed_text((80 << 20) + 8192), left_text((80 << 20) - 1), left_text(-5)) == ("81MiB", "79MiB", "0B")


def test_twenty_vms_on_one_pcpu_give_one_short_warning_each() -> None:
    facts, ledger = two_sockets(), Ledger()
    pins = (frozenset({4}), frozenset({5}))
    for number in range(20):
        spec = vm(f"vm{number:02}", cpu=CpuSpec(vcpus=2, placement="pinned", pin=pins))
        plan = ask(spec, facts, ledger)
        ledger = ledger.reserved(Holding(plan))
    (warning,) = plan.warnings
    assert warning.code == "plan.pin-overlaps-vm"
    assert warning.message.startswith("pins of this VM and of vm00, vm01, vm02 and 16 more meet on pCPUs 4,5:")
