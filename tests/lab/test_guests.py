"""Point 2: Linux guests under KVM see the topology and the nodes that their files say."""

from __future__ import annotations

import pytest

from .qsup_host import QsupHost, linux

TWO_GUEST_NODES = """size = "320MiB"
nodes = [
    { vcpus = "0-1", size = "160MiB", host_nodes = "1" },
    { vcpus = "2-3", size = "160MiB", host_nodes = "3" },
]"""


@pytest.mark.smoke
def test_a_guest_sees_its_threads_as_siblings(host: QsupHost) -> None:
    host.run("tux", linux(cpu='vcpus = 2\nthreads = 2\nplacement = "dedicated"'))
    assert '"enabled": true' in host.qsup("qmp", "tux", "query-kvm").stdout
    console = host.wait_console("tux", "GUEST-READY")
    assert "GUEST-CPUS online=0-1" in console
    for vcpu in (0, 1):
        assert f"GUEST-CPU {vcpu} package=0 core=0 siblings=0-1" in console
    assert "GUEST-NODE 0 cpus=0-1 distance=10" in console


def test_a_guest_without_threads_sees_cores(host: QsupHost) -> None:
    host.run("tux", linux(cpu="vcpus = 2\nsockets = 2"))
    console = host.wait_console("tux", "GUEST-READY")
    assert "GUEST-CPU 0 package=0 core=0 siblings=0" in console.split("\r\n")
    assert "GUEST-CPU 1 package=1 core=0 siblings=1" in console.split("\r\n")


@pytest.mark.lab(shape="four_nodes")
def test_a_guest_sees_its_nodes_and_the_hosts_distances(host: QsupHost) -> None:
    view = host.run("tux", linux(cpu="vcpus = 4\nsockets = 2\ncores = 1\nthreads = 2", memory=TWO_GUEST_NODES))
    assert view["host_nodes"] == [1, 3]
    console = host.wait_console("tux", "GUEST-READY")
    far = host.lab.shape.distance(1, 3)
    assert host.lab.read("/sys/devices/system/node/node1/distance").split()[3] == str(far)
    assert f"GUEST-NODE 0 cpus=0-1 distance=10,{far} kib=" in console
    assert f"GUEST-NODE 1 cpus=2-3 distance={far},10 kib=" in console
    assert "GUEST-CPU 1 package=0 core=0 siblings=0-1" in console
    assert "GUEST-CPU 3 package=1 core=0 siblings=2-3" in console


@pytest.mark.lab(release="trixie")
def test_a_guest_of_a_newer_qemu_sees_the_same(host: QsupHost) -> None:
    host.run("tux", linux(cpu='vcpus = 2\nthreads = 2\nplacement = "dedicated"'))
    console = host.wait_console("tux", "GUEST-READY")
    assert "GUEST-CPU 1 package=0 core=0 siblings=0-1" in console
    assert "GUEST-NODE 0 cpus=0-1 distance=10" in console
