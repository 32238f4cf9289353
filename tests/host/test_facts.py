"""The whole machine in one look: this one, and recorded ones."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from qsup.host.facts import read_file_facts, read_host_facts
from qsup.host.record import parse_tree, record_host, tree_of_host, write_tree
from qsup.host.rights import read_kvm_problem


def test_facts_of_this_machine_agree_with_the_kernel() -> None:
    facts = read_host_facts()
    assert {pcpu.pcpu for pcpu in facts.pcpus if pcpu.online} >= os.sched_getaffinity(0)
    assert facts.page_size_bytes == os.sysconf("SC_PAGE_SIZE")
    assert "lo" in facts.links
    assert os.uname().release.startswith("{}.{}".format(*facts.kernel))
    assert all(node.memory_free_bytes > 0 for node in facts.nodes if node.memory_total_bytes)


def test_facts_of_a_recorded_machine(host_root: Callable[[str], str]) -> None:
    facts = read_host_facts(root=host_root("two-sockets-smt"))
    assert facts.kvm_problem is None
    assert facts.vhost_net
    assert facts.kernel == (6, 12)
    assert facts.uefi_code == "/usr/share/OVMF/OVMF_CODE_4M.fd"
    assert facts.uefi_vars == "/usr/share/OVMF/OVMF_VARS_4M.fd"
    assert facts.may_network
    assert facts.may_change_uid
    assert facts.may_grow_pools
    assert facts.may_bind_memory


def test_the_processor_says_who_made_it(host_root: Callable[[str], str]) -> None:
    assert read_host_facts(root=host_root("epyc-nps4")).cpu_vendor == "AuthenticAMD"
    assert read_host_facts(root=host_root("hybrid")).cpu_vendor == "GenuineIntel"
    assert read_host_facts(root=host_root("malformed")).cpu_vendor == ""


def test_facts_of_nothing_are_poor_and_complete(tmp_path: Path) -> None:
    facts = read_host_facts(bridges=["br0"], root=str(tmp_path))
    assert facts.kvm_problem is not None
    assert "/dev/kvm is missing" in facts.kvm_problem
    assert not any((facts.vhost_net, facts.may_network, facts.may_grow_pools, facts.may_change_uid, facts.may_bind_memory))
    assert (facts.uefi_code, facts.uefi_vars, facts.bridges, facts.links) == (None, None, {}, frozenset())
    assert facts.kernel == (6, 1)


def test_odd_kernel_release(host_root: Callable[[str], str]) -> None:
    assert read_host_facts(root=host_root("malformed")).kernel == (6, 1)


def test_capabilities_come_from_the_effective_set(host_root: Callable[[str], str]) -> None:
    root = host_root("hybrid")
    write_tree({"/proc/self/status": "CapPrm:\t000001ffffffffff\nCapEff:\t0000000000001000\n"}, root)
    facts = read_host_facts(root=root)
    assert facts.may_network
    assert not facts.may_change_uid


def test_bridges_are_told_from_other_links(host_root: Callable[[str], str]) -> None:
    root = host_root("two-sockets-smt")
    net = "/sys/class/net"
    write_tree(
        {
            f"{net}/br0/bridge/": "",
            f"{net}/br0/mtu": "9000\n",
            f"{net}/br0/lower_bond0.5/": "",
            f"{net}/bond0.5/lower_bond0/": "",
            f"{net}/bond0/lower_eth1/": "",
            f"{net}/eth1/device/numa_node": "1\n",
            f"{net}/br1/bridge/": "",
            f"{net}/br1/lower_br1/": "",
            f"{net}/eth0/mtu": "1500\n",
        },
        root,
    )
    facts = read_host_facts(bridges=["br0", "br1", "eth0", "missing", "../net/br0", ""], root=root)
    assert {name: (bridge.mtu, bridge.host_node) for name, bridge in facts.bridges.items()} == {
        "br0": (9000, 1),
        "br1": (1500, None),
    }
    assert facts.links >= {"br0", "br1", "eth0"}


def test_files_tell_why_they_cannot_be_used(tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"x")
    assert read_file_facts(str(kernel)).problem is None
    kernel.chmod(0o600)
    assert not read_file_facts(str(kernel)).world_readable
    missing, directory = read_file_facts(str(tmp_path / "none")), read_file_facts(str(tmp_path))
    assert missing.problem == f"{tmp_path}/none does not exist"
    assert directory.problem == f"{tmp_path} is not a regular file"
    assert "NUL" in (read_file_facts("a\0b").problem or "")


def test_a_file_below_a_closed_directory_is_not_world_readable(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "initrd").write_bytes(b"x")
    (closed / "initrd").chmod(0o644)
    assert not read_file_facts(str(closed / "initrd")).world_readable
    assert read_file_facts("/etc/passwd").world_readable


def test_what_is_no_kvm_device_is_named(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kvm").symlink_to("/dev/zero")
    problem = read_kvm_problem(str(tmp_path))
    assert problem is not None
    assert re.match("/dev/kvm is not the KVM device", problem)


def test_a_recording_reads_like_the_machine(tmp_path: Path, host_root: Callable[[str], str]) -> None:
    source = host_root("epyc-nps4")
    assert record_host(str(tmp_path / "copy"), root=source) == len(tree_of_host(source))
    assert read_host_facts(root=str(tmp_path / "copy")) == read_host_facts(root=source)
    record_host(str(tmp_path / "here"))
    here, there = read_host_facts(), read_host_facts(root=str(tmp_path / "here"))
    assert there.pcpus == here.pcpus
    assert there.links == here.links
    assert [node.distances for node in there.nodes] == [node.distances for node in here.nodes]


@pytest.mark.parametrize("path", ["relative", "/../escape", "/a/../../b"])
def test_trees_stay_below_their_directory(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="leads outside"):
        write_tree({path: "x"}, str(tmp_path))


@pytest.mark.parametrize("text", ["[]", '{"/a": 1}', "{"])
def test_a_tree_that_is_no_tree(text: str) -> None:
    with pytest.raises(ValueError):
        parse_tree(text)
