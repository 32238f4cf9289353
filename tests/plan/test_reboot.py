"""The same VMs after a boot, and the lines that guarantee it."""

from __future__ import annotations

from attrs import evolve

from qsup.bytesize import GIB
from qsup.plan.guest_record import GuestRecord, guest_record_of
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.reboot import Reboot, plan_reboot, same_seats
from qsup.plan.whatif import Stage
from qsup.spec.cpu import CpuSpec
from qsup.spec.memory import MemorySpec
from qsup.spec.vmspec import VmSpec
from tests.plan.asking import POLICY, ask, dedicated, started, vm
from tests.plan.hosts import HUGE_1G, HUGE_2M, no_smt, two_sockets

HUGE = MemorySpec(size_bytes=4 * GIB, hugepages_bytes=HUGE_2M)
LARGE = MemorySpec(size_bytes=6 * GIB, hugepages_bytes=HUGE_1G)


def records_of(ledger: Ledger) -> dict[str, GuestRecord]:
    return {name: guest_record_of(holding.plan) for name, holding in ledger.holdings.items()}


def rebooted(specs: list[VmSpec], facts: HostFacts, ledger: Ledger, **pages: int) -> Reboot:
    return plan_reboot(specs, Stage(facts, POLICY, ledger), records_of(ledger), {})


def all_same(ledger: Ledger, after: Ledger) -> bool:
    return all(same_seats(holding.plan, after.holdings[name].plan) for name, holding in ledger.holdings.items())


def test_what_runs_comes_back_by_its_record() -> None:
    facts = two_sockets()
    specs = [dedicated("db1", 4, threads=2), dedicated("db2", 3), vm("web1"), dedicated("db3", 2, memory=HUGE)]
    ledger = Ledger()
    for spec in reversed(specs):  # in another order than a batch would be planned in
        ledger = ledger.reserved(Holding(ask(spec, facts, ledger)))
    reboot = rebooted(specs, facts, ledger)
    owned = {name: holding for name, holding in ledger.holdings.items() if holding.plan.placement == "dedicated"}
    assert reboot.at_boot.refused == {}
    assert all(same_seats(holding.plan, reboot.at_boot.stage.ledger.holdings[name].plan) for name, holding in owned.items())


def test_without_records_it_may_move() -> None:
    facts = no_smt()
    first = ask(dedicated("a", 2), facts)
    odd = evolve(first, vcpus=tuple(evolve(vcpu, pin=frozenset({6 + vcpu.vcpu_index})) for vcpu in first.vcpus))
    ledger = Ledger().reserved(Holding(odd))
    stage = Stage(facts, POLICY, ledger)
    assert not all_same(ledger, plan_reboot([dedicated("a", 2)], stage, {}, {}).at_boot.stage.ledger)
    assert all_same(ledger, plan_reboot([dedicated("a", 2)], stage, records_of(ledger), {}).at_boot.stage.ledger)


def test_the_lines_of_a_host_with_nodes() -> None:
    facts = two_sockets()
    specs = [dedicated("db1", 4, threads=2, memory=HUGE), dedicated("db2", 2, threads=2, memory=LARGE)]
    ledger, _ = started(specs, facts)
    reboot = rebooted(specs, facts, ledger)
    owned = ledger.index.exclusive.keys()
    (kernel_pages, counts, isolcpus, nohz, rcu, irqs) = reboot.lines.kernel
    (node,) = ledger.holdings["db2"].plan.guest_nodes[0].host_nodes
    assert (kernel_pages, counts) == ("hugepagesz=1G", f"hugepages={node}:6")
    assert isolcpus.startswith("isolcpus=managed_irq,domain,")
    assert nohz.partition("=")[2] == rcu.partition("=")[2] == isolcpus.rpartition("domain,")[2]
    assert len(owned) == 6
    assert irqs.startswith("irqaffinity=0")
    assert reboot.lines.sysctl == ("kernel.numa_balancing = 0",)
    (line,) = reboot.lines.tmpfiles
    assert line.startswith("w /sys/devices/system/node/node")
    assert line.endswith("/hugepages/hugepages-2048kB/nr_hugepages - - - - 2048")
    assert all_same(ledger, reboot.with_lines.stage.ledger)


def test_the_lines_of_a_host_with_one_node() -> None:
    facts = no_smt()
    specs = [dedicated("db1", 2, memory=HUGE)]
    ledger, _ = started(specs, facts)
    reboot = rebooted(specs, facts, ledger)
    assert reboot.lines.sysctl == ("vm.nr_hugepages = 2048",)
    assert reboot.lines.tmpfiles == ()


def test_sysctl_speaks_of_the_default_page_size_alone() -> None:
    memory = MemorySpec(size_bytes=2 * GIB, hugepages_bytes=HUGE_2M)
    stage = Stage(no_smt(), POLICY, Ledger())
    lines = plan_reboot([dedicated("a", 2, memory=memory)], stage, {}, {}, default_page_bytes=HUGE_1G).lines
    assert lines.sysctl == ()
    assert lines.tmpfiles == ("w /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages - - - - 1024",)


def test_no_lines_where_nothing_is_owned() -> None:
    facts = no_smt()
    ledger, _ = started([vm("web1")], facts)
    lines = rebooted([vm("web1")], facts, ledger).lines
    assert (lines.kernel, lines.sysctl, lines.tmpfiles) == ((), (), ())


def test_pools_are_what_is_set_for_the_boot() -> None:
    facts = no_smt()
    specs = [vm("web1", memory=HUGE, cpu=CpuSpec(vcpus=1))]
    ledger, _ = started(specs, facts)
    stage = Stage(facts, evolve(POLICY, grow_hugepages=False), ledger)
    without = plan_reboot(specs, stage, {}, {})
    assert list(without.at_boot.refused) == ["web1"]
    assert without.lines.sysctl == ("vm.nr_hugepages = 2048",)
    assert without.with_lines.refused == {}
    assert plan_reboot(specs, stage, {}, {(0, HUGE_2M): 2048}).at_boot.refused == {}
