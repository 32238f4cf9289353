"""Point 2: Linux guests under KVM see the topology and the nodes that their files say."""

from __future__ import annotations

import re

import pytest

from .qsup_host import QsupHost, linux

SIZES_KIB = (128 << 10, 192 << 10)
TWO_GUEST_NODES = """size = "320MiB"
nodes = [
    { vcpus = "0-1", size = "128MiB", host_nodes = "1" },
    { vcpus = "2-3", size = "192MiB", host_nodes = "3" },
]"""
KVM_IN_USE = '"enabled": true'


@pytest.mark.smoke
def test_a_guest_sees_its_threads_as_siblings(host: QsupHost) -> None:
    host.run("tux", linux(cpu='vcpus = 2\nthreads = 2\nplacement = "dedicated"'))
    assert KVM_IN_USE in host.qsup("qmp", "tux", "query-kvm").stdout
    console = host.wait_console("tux", "GUEST-READY")
    assert "GUEST-CPUS online=0-1" in console
    for vcpu in (0, 1):
        assert f"GUEST-CPU {vcpu} package=0 core=0 siblings=0-1" in console
    assert "GUEST-NODE 0 cpus=0-1 distance=10" in console


def test_a_guest_without_threads_sees_cores_of_sockets(host: QsupHost) -> None:
    host.run("tux", linux(cpu="vcpus = 4\nsockets = 2\ncores = 2"))
    lines = host.wait_console("tux", "GUEST-READY").split("\r\n")
    seen = [line for line in lines if line.startswith("GUEST-CPU ")]
    assert seen == [f"GUEST-CPU {vcpu} package={vcpu // 2} core={vcpu % 2} siblings={vcpu}" for vcpu in range(4)]


@pytest.mark.parametrize(
    "release",
    [
        pytest.param("bookworm", marks=pytest.mark.lab(shape="four_nodes")),
        pytest.param("trixie", marks=pytest.mark.lab(shape="four_nodes", release="trixie")),
    ],
)
def test_a_guest_sees_its_nodes_and_the_hosts_distances(host: QsupHost, release: str) -> None:
    view = host.run("tux", linux(cpu="vcpus = 4\nsockets = 2\ncores = 1\nthreads = 2", memory=TWO_GUEST_NODES))
    assert view["host_nodes"] == [1, 3]
    console = host.wait_console("tux", "GUEST-READY")
    far = host.lab.shape.distance(1, 3)
    assert host.lab.read("/sys/devices/system/node/node1/distance").split()[3] == str(far)
    nodes = rf"GUEST-NODE 0 cpus=0-1 distance=10,{far} kib=(\d+)\s+GUEST-NODE 1 cpus=2-3 distance={far},10 kib=(\d+)\s"
    (found,) = re.findall(nodes, console)
    seen = [int(kib) for kib in found]
    # the guest's kernel keeps some of each node for itself, most of it on the first
    assert SIZES_KIB[0] // 2 < seen[0] <= SIZES_KIB[0] < seen[1] <= SIZES_KIB[1]
    assert "GUEST-CPU 1 package=0 core=0 siblings=0-1" in console
    assert "GUEST-CPU 3 package=1 core=0 siblings=2-3" in console


@pytest.mark.lab(release="trixie")
def test_a_guest_of_a_newer_qemu_sees_the_same(host: QsupHost) -> None:
    host.run("tux", linux(cpu='vcpus = 2\nthreads = 2\nplacement = "dedicated"'))
    assert KVM_IN_USE in host.qsup("qmp", "tux", "query-kvm").stdout
    console = host.wait_console("tux", "GUEST-READY")
    assert "GUEST-CPU 1 package=0 core=0 siblings=0-1" in console
    assert "GUEST-NODE 0 cpus=0-1 distance=10" in console
