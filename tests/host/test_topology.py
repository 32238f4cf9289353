"""Recorded and made-up machines as the readers see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from qsup.bytesize import GIB, MIB
from qsup.host.record import format_tree, parse_tree, write_tree
from qsup.host.topology import read_nodes, read_pcpus
from qsup.plan.host_facts import PcpuFacts, PoolFacts
from tests.host.machines import HOSTS, offline_isolated
from tests.host.recorded import MEMORY_DIR
from tests.host.synthesize import CPU, HOSTS_DIR, NODE, tree_of


def siblings(pcpus: tuple[PcpuFacts, ...]) -> Mapping[int, set[int]]:
    cores: dict[int, set[int]] = {}
    for pcpu in pcpus:
        cores.setdefault(pcpu.core, set()).add(pcpu.pcpu)
    return cores


@pytest.mark.parametrize("name", HOSTS)
def test_stored_trees_are_what_the_script_makes(name: str) -> None:
    assert (HOSTS_DIR / f"{name}.json").read_text(encoding="utf-8") == format_tree(HOSTS[name]())


def test_a_recorded_machine_with_one_node_and_no_smt(host_root: Callable[[str], str]) -> None:
    root = host_root("one-node")
    assert read_pcpus(root) == (
        PcpuFacts(pcpu=0, host_node=0, socket=0, die=0, core=0, l3=0),
        PcpuFacts(pcpu=1, host_node=0, socket=0, die=0, core=1, l3=0),
    )
    (node,) = read_nodes(root)
    assert node.memory_total_bytes == 24684084 << 10
    assert node.memory_free_bytes == 24060544 << 10
    assert node.pools == (PoolFacts(2 * MIB, 0, 0), PoolFacts(GIB, 0, 0))


def test_cores_of_two_sockets_with_equal_ids_stay_apart(host_root: Callable[[str], str]) -> None:
    root = host_root("two-sockets-smt")
    pcpus = read_pcpus(root)
    assert len(pcpus) == 32
    assert siblings(pcpus) == {core: {core, core + 16} for core in range(16)}
    assert [pcpus[number].socket for number in (0, 7, 8, 15, 16, 24)] == [0, 0, 1, 1, 0, 1]
    assert [pcpus[number].host_node for number in (0, 8, 31)] == [0, 1, 1]
    assert {pcpu.max_khz for pcpu in pcpus} == {3_700_000}
    near, far = read_nodes(root)
    assert near.distances == {0: 10, 1: 21}
    assert (far.memory_total_bytes, far.memory_free_bytes) == (64 * GIB, 50000 * MIB)
    assert far.pools == (PoolFacts(2 * MIB, 4096, 4096), PoolFacts(GIB, 4, 4))


def test_many_l3_groups(host_root: Callable[[str], str]) -> None:
    root = host_root("epyc-nps4")
    pcpus = read_pcpus(root)
    groups: dict[int | None, set[int]] = {}
    for pcpu in pcpus:
        groups.setdefault(pcpu.l3, set()).add(pcpu.pcpu)
    assert groups == {l3: {*range(l3 * 4, l3 * 4 + 4), *range(64 + l3 * 4, 64 + l3 * 4 + 4)} for l3 in range(16)}
    assert {pcpu.host_node for pcpu in pcpus} == set(range(8))
    assert read_nodes(root)[5].distances == {0: 32, 1: 32, 2: 32, 3: 32, 4: 12, 5: 10, 6: 12, 7: 12}


def test_core_types_of_a_hybrid_machine(host_root: Callable[[str], str]) -> None:
    pcpus = read_pcpus(host_root("hybrid"))
    assert [pcpu.core_type for pcpu in pcpus] == ["performance"] * 8 + ["efficient"] * 8
    assert siblings(pcpus)[0] == {0, 1}
    assert siblings(pcpus)[4] == {8}
    assert pcpus[0].max_khz == 5_400_000
    assert pcpus[15].max_khz == 4_200_000


def test_core_types_that_the_kernel_does_not_name(host_root: Callable[[str], str]) -> None:
    root = host_root("hybrid-unnamed")
    types = [pcpu.core_type for pcpu in read_pcpus(root)]
    assert types == (["performance"] * 4 + ["efficient"] * 8) * 2
    write_tree({f"{CPU}/cpu7/cpufreq/cpuinfo_max_freq": "<unknown>\n"}, root)
    assert {pcpu.core_type for pcpu in read_pcpus(root)} == {None}


def test_cores_that_differ_a_little_are_of_one_type(tmp_path: Path) -> None:
    for slowest, types in ((4_000_000, {None}), (3_999_999, {"performance", "efficient"})):
        machine = offline_isolated()
        pcpus = [evolve(pcpu, max_khz=5_000_000 if pcpu.pcpu else slowest) for pcpu in machine.pcpus]
        write_tree(tree_of(evolve(machine, pcpus=tuple(pcpus), offline=frozenset())), str(tmp_path))
        assert {pcpu.core_type for pcpu in read_pcpus(str(tmp_path))} == types


def test_offline_isolated_and_nohz_full(host_root: Callable[[str], str]) -> None:
    pcpus = read_pcpus(host_root("offline-isolated"))
    assert [pcpu.pcpu for pcpu in pcpus if not pcpu.online] == [6, 7]
    assert [pcpu.pcpu for pcpu in pcpus if pcpu.isolated] == [2, 3, 4, 5]
    assert [pcpu.pcpu for pcpu in pcpus if pcpu.nohz_full] == [4, 5]
    assert len(siblings(pcpus)) == 8
    assert pcpus[7].l3 is None


def test_isolated_partitions_of_cpusets_count(host_root: Callable[[str], str]) -> None:
    root = host_root("two-sockets-smt")
    write_tree({"/sys/fs/cgroup/cpuset.cpus.isolated": "8-9\n"}, root)
    assert [pcpu.pcpu for pcpu in read_pcpus(root) if pcpu.isolated] == [8, 9]


def test_nodes_without_pcpus_and_without_memory(host_root: Callable[[str], str]) -> None:
    root = host_root("memory-only-node")
    assert {pcpu.host_node for pcpu in read_pcpus(root)} == {0, 1}
    assert {pcpu.l3 for pcpu in read_pcpus(root)} == {None}
    nodes = read_nodes(root)
    assert [node.host_node for node in nodes] == [0, 1, 4]
    assert [node.memory_total_bytes for node in nodes] == [16 * GIB, 0, 64 * GIB]
    assert [node.pools for node in nodes] == [(PoolFacts(2 * MIB, 256, 256),), (), (PoolFacts(2 * MIB, 0, 0),)]
    assert nodes[0].distances == {0: 10, 1: 12, 4: 24}


@pytest.mark.parametrize("told", ["0-8191\n", "0-1\n", "7\n", "", "junk\n"])
def test_nodes_are_those_with_a_directory(told: str, host_root: Callable[[str], str]) -> None:
    root = host_root("two-sockets-smt")
    write_tree({f"{NODE}/online": told}, root)
    assert [node.host_node for node in read_nodes(root)] == [0, 1]


def test_malformed_files_become_stated_assumptions(host_root: Callable[[str], str]) -> None:
    root = host_root("malformed")
    pcpus = read_pcpus(root)
    assert len(siblings(pcpus)) == 8  # a core list that does not hold its own pCPU is not believed
    assert not any(pcpu.isolated or pcpu.nohz_full for pcpu in pcpus)
    assert pcpus[1].socket == 0
    assert pcpus[4].max_khz is None
    (node,) = read_nodes(root)
    assert node.distances == {0: 10}
    assert (node.memory_total_bytes, node.memory_free_bytes) == (0, 0)
    assert node.pools == (PoolFacts(2 * MIB, 512, 512),)


def test_an_empty_root_is_one_pcpu_on_one_node_without_memory(tmp_path: Path) -> None:
    assert read_pcpus(str(tmp_path)) == (PcpuFacts(pcpu=0, host_node=0, socket=0, die=0, core=0),)
    (node,) = read_nodes(str(tmp_path))
    assert (node.host_node, node.memory_total_bytes, node.distances, node.pools) == (0, 0, {0: 10}, ())


def test_a_kernel_without_numa(host_root: Callable[[str], str], tmp_path: Path) -> None:
    tree = {path: text for path, text in HOSTS["hybrid"]().items() if not path.startswith(NODE) and "/node0/" not in path}
    write_tree(tree, str(tmp_path / "flat"))
    pcpus, (node,) = read_pcpus(str(tmp_path / "flat")), read_nodes(str(tmp_path / "flat"))
    assert {pcpu.host_node for pcpu in pcpus} == {0}
    assert node.memory_total_bytes == 32 * GIB
    assert node.pools == (PoolFacts(2 * MIB, 0, 0),)


def test_without_sysfs_the_pcpus_come_from_cpuinfo(tmp_path: Path) -> None:
    write_tree({"/proc/cpuinfo": "processor\t: 0\nflags : a\nprocessor\t: 1\n"}, str(tmp_path))
    assert [(pcpu.pcpu, pcpu.core) for pcpu in read_pcpus(str(tmp_path))] == [(0, 0), (1, 1)]


def test_l3_is_found_at_any_index(tmp_path: Path) -> None:
    tree = {path.replace("index3", "index4"): text for path, text in tree_of(offline_isolated()).items()}
    tree |= {f"{CPU}/cpu{number}/cache/index3/level": "2\n" for number in range(6)}
    write_tree(tree, str(tmp_path))
    assert {pcpu.l3 for pcpu in read_pcpus(str(tmp_path)) if pcpu.online} == {0}


def test_reserved_pages_are_shared_out_by_free_pages(host_root: Callable[[str], str]) -> None:
    root = host_root("memory-only-node")
    write_tree({"/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages": "100\n"}, root)
    assert [pool.reserved for node in read_nodes(root) for pool in node.pools] == [100, 0]


JUNK = st.one_of(
    st.text(max_size=30),
    st.from_regex(r"[0-9,:\- ]{0,20}", fullmatch=True),
    st.sampled_from(
        [
            "",
            "\n",
            "-1\n",
            "0-8191\n",
            "9999999999999999999\n",
            "4294967295",
            "0-3,8",
            "(null)",
            "\x00",
            "Node 0 MemTotal: 5 kB",
        ]
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(tree_of(offline_isolated()))), JUNK, max_size=12))
def test_junk_never_raises_and_keeps_the_promises(junk: dict[str, str]) -> None:
    tree = tree_of(offline_isolated()) | {path: text for path, text in junk.items() if not path.endswith("/")}
    with TemporaryDirectory(dir=MEMORY_DIR) as root:
        write_tree({path: text.encode("utf-8", "replace").decode() for path, text in tree.items()}, root)
        pcpus, nodes = read_pcpus(root), read_nodes(root)
    numbers = {node.host_node for node in nodes}
    assert pcpus
    assert [pcpu.pcpu for pcpu in pcpus] == sorted({pcpu.pcpu for pcpu in pcpus})
    assert any(pcpu.online for pcpu in pcpus)
    for pcpu in pcpus:
        assert pcpu.host_node in numbers
        assert min(pcpu.socket, pcpu.die, pcpu.core) >= 0
    for node in nodes:
        assert set(node.distances) == numbers
        assert 0 <= node.memory_free_bytes <= node.memory_total_bytes
        assert all(0 <= pool.free <= pool.total for pool in node.pools)


def test_trees_format_and_parse_inversely(host_root: Callable[[str], str]) -> None:
    tree = HOSTS["hybrid"]()
    assert parse_tree(format_tree(tree)) == tree
