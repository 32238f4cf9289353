"""The lab is what it promises to be, shown with plain commands and plain QEMU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from . import failures
from .lab import CommandFailed, Lab
from .nested import NestedGuest
from .shapes import SHAPES

TWO_VCPUS = ("-smp", "2,sockets=1,cores=1,threads=2", "-m", "160M")


def every_shape() -> list[object]:
    """Return a parameter for each shape, marked so that the fixture clones it."""
    return [pytest.param(name, marks=pytest.mark.lab(shape=name), id=name) for name in SHAPES]


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["two_nodes_smt"])
def test_default_shape_is_seen(lab: Lab, name: str) -> None:
    check_shape(lab)


@pytest.mark.parametrize("name", every_shape())
def test_every_shape_is_seen(lab: Lab, name: str) -> None:
    assert lab.shape.name == name
    check_shape(lab)


def check_shape(lab: Lab) -> None:
    """Compare nodes, distances, siblings and pools with what the shape says."""
    shape = lab.shape
    nodes = "/sys/devices/system/node"
    assert lab.read(f"{nodes}/online").strip() == (f"0-{shape.nodes - 1}" if shape.nodes > 1 else "0")
    for node in range(shape.nodes):
        first = node * shape.cpus_per_node
        assert lab.read(f"{nodes}/node{node}/cpulist").strip() == f"{first}-{first + shape.cpus_per_node - 1}"
        seen = [int(word) for word in lab.read(f"{nodes}/node{node}/distance").split()]
        assert seen == [shape.distance(node, other) for other in range(shape.nodes)]
        pools = f"{nodes}/node{node}/hugepages/hugepages"
        assert int(lab.read(f"{pools}-2048kB/nr_hugepages")) == shape.pages_2m_per_node
        assert int(lab.read(f"{pools}-1048576kB/nr_hugepages")) == shape.pages_1g_per_node
    siblings = lab.sh("cd /sys/devices/system/cpu; cat cpu[0-9]*/topology/thread_siblings_list")
    expected = {
        f"{min(pair)}-{max(pair)}" if len(pair) > 1 else str(pair[0]) for pair in map(shape.siblings, range(shape.cpus))
    }
    assert set(siblings.split()) == expected


@pytest.mark.lab(shape="isolated")
def test_isolated_cpus_are_isolated(lab: Lab) -> None:
    assert lab.read("/sys/devices/system/cpu/isolated").strip() == "2-3,6-7"
    assert lab.sh("taskset -cp $$").split()[-1] == "0,1,4,5"


@pytest.mark.smoke
def test_it_is_a_systemd_host_with_kvm_and_vhost(lab: Lab) -> None:
    assert lab.read("/proc/1/comm").strip() == "systemd"
    assert lab.run("systemctl", "is-system-running").stdout.strip() == "running"
    assert lab.run("systemctl", "is-active", "systemd-logind", "dbus").stdout.split() == ["active", "active"]
    assert {"cpuset", "cpu", "io", "memory"} <= set(lab.read("/sys/fs/cgroup/cgroup.controllers").split())
    lab.sh("test -c /dev/kvm; test -c /dev/vhost-net; test -c /dev/net/tun")
    lab.sh("ip link add br0 type bridge; ip tuntap add dev tap0 mode tap; ip link set tap0 master br0; nft add table inet t")


@pytest.mark.smoke
def test_nested_linux_boots_under_kvm_and_obeys_the_power_button(lab: Lab) -> None:
    # QEMU never turns topoext on by itself: without it an AMD guest sees every thread as a core
    guest = NestedGuest.start(lab, "one", *TWO_VCPUS, cpu="host,topoext=on")
    assert guest.ask("query-kvm") == {"enabled": True, "present": True}
    assert len(guest.ask("query-cpus-fast")) == 2
    console = guest.wait_for("GUEST-READY")
    assert "GUEST-CPUS online=0-1" in console
    assert "GUEST-CPU 1 package=0 core=0 siblings=0-1" in console
    assert "GUEST-NODE 0 cpus=0-1 distance=10" in console
    guest.ask("system_powerdown")
    guest.wait_for("GUEST-POWERDOWN", 60)
    lab.wait_until("QEMU has ended", lambda: lab.run("systemctl", "is-active", guest.unit, check=False).status != 0)


def test_nested_guest_pings_its_host_over_vhost(lab: Lab) -> None:
    lab.sh(
        "ip link add br0 mtu 9000 type bridge; ip addr add 10.9.0.1/24 dev br0; ip link set br0 up;"
        "ip tuntap add dev tap0 mode tap vnet_hdr multi_queue; ip link set tap0 mtu 9000 master br0 up"
    )
    nic = ("-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no,vhost=on,queues=2")
    card = ("-device", "virtio-net-pci,netdev=n,mq=on,vectors=6,romfile=,host_mtu=9000")
    guest = NestedGuest.start(lab, "one", *TWO_VCPUS, *nic, *card, words="lab.ip=10.9.0.2/24 lab.mtu=9000 lab.ping=10.9.0.1")
    console = guest.wait_for("GUEST-READY")
    assert "GUEST-PING ok target=10.9.0.1 mtu=9000" in console
    assert re.search(r"GUEST-NIC eth0 mac=\S+ mtu=\d+ rx=2 tx=2", console)
    assert "vhost" in lab.sh(f"ls -l /proc/{guest.pid()}/fd")


def test_nested_guest_keeps_a_word_on_its_disk(lab: Lab) -> None:
    lab.sh("qemu-img create -q -f qcow2 /srv/disk.qcow2 16M")
    disk = (*TWO_VCPUS, "-drive", "file=/srv/disk.qcow2,format=qcow2,if=virtio")
    writer = NestedGuest.start(lab, "writer", *disk, words="lab.write=kestrel lab.off")
    writer.wait_for("GUEST-WROTE kestrel")
    lab.wait_until("the writer is off", lambda: lab.run("systemctl", "is-active", writer.unit, check=False).status != 0)
    reader = NestedGuest.start(lab, "reader", *disk, words="lab.read")
    reader.wait_for("GUEST-READ kestrel")


def test_commands_have_input_output_and_status(lab: Lab) -> None:
    done = lab.run("sh", "-c", "cat; echo to stderr >&2; exit 3", stdin="x" * 300_000, check=False)
    assert (done.status, done.stdout, done.stderr) == (3, "x" * 300_000, "to stderr\n")
    with pytest.raises(CommandFailed, match="no such thing"):
        lab.run("sh", "-c", "echo no such thing >&2; exit 1")
    assert lab.run("sh", "-c", "kill -9 $$", check=False).status == 137
    assert lab.run("no-such-command", check=False).status == 127


def test_a_command_that_takes_too_long_is_killed(lab: Lab) -> None:
    with pytest.raises(TimeoutError, match="was killed"):
        lab.run("sh", "-c", "sleep 4242; true", timeout_s=1)
    lab.wait_until("it is gone", lambda: lab.run("pgrep", "-f", "sleep 4242", check=False).status == 1, 10)


def test_trees_are_copied_in_and_out(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_text("content\n")
    (source / "script").write_text("#!/bin/sh\n")
    (source / "script").chmod(0o755)
    lab.put(source, "/srv/tree")
    lab.get("/srv/tree", tmp_path / "back")
    assert (tmp_path / "back/deep/file").read_text() == "content\n"
    assert (tmp_path / "back/script").stat().st_mode & 0o777 == 0o755
    lab.write("/srv/new/file", "text")
    assert lab.read("/srv/new/file") == "text"


@pytest.mark.parametrize("turn", ["first", "second"])
def test_clones_share_nothing(lab: Lab, turn: str) -> None:
    assert lab.run("test", "-e", "/srv/mark", check=False).status == 1
    lab.sh("touch /srv/mark; sync")


def test_reboot_keeps_the_disk_and_the_journal(lab: Lab) -> None:
    lab.sh("echo kept >/srv/kept; echo lost >/run/lost; logger before the reboot")
    lab.reboot()
    assert lab.read("/srv/kept") == "kept\n"
    assert lab.run("test", "-e", "/run/lost", check=False).status == 1
    assert "before the reboot" in lab.journal("-b", "-1")


def test_poweroff_leaves_its_journal_and_the_disk_boots_again(lab: Lab) -> None:
    lab.write(
        "/etc/systemd/system/last.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStop=/bin/echo last words\n"
    )
    lab.sh("systemctl daemon-reload; systemctl start last")
    lab.power_off()
    assert "last words" in lab.streamed_journal()
    lab.power_on()
    assert lab.run("systemctl", "is-system-running").stdout.strip() == "running"
    lab.sh("echo kept >/srv/kept; sync")
    lab.cut_power()
    lab.power_on()
    assert lab.read("/srv/kept") == "kept\n"


def test_evidence_is_kept_from_a_live_and_from_a_dead_lab(lab: Lab, tmp_path: Path) -> None:
    NestedGuest.start(lab, "one", *TWO_VCPUS, "-S").ask("query-status")
    lab.run("logger", "a word for the journal")
    failures.collect(lab, tmp_path / "live")
    assert "a word for the journal" in (tmp_path / "live/journal.txt").read_text()
    assert "one,debug-threads=on" in (tmp_path / "live/qemu-command-lines.txt").read_text()
    assert (tmp_path / "live/run-lab/one/console.log").exists()
    lab.cut_power()
    failures.collect(lab, tmp_path / "dead")
    assert "a word for the journal" in (tmp_path / "dead/journal.log").read_text()
    assert "powered off" in (tmp_path / "dead/no-answer.txt").read_text()


@pytest.mark.lab(release="trixie")
def test_debian_13_has_vhost_workers_as_threads_of_qemu(lab: Lab) -> None:
    version = tuple(int(word) for word in lab.sh("uname -r").split("-")[0].split(".")[:2])
    assert version >= (6, 12)
    lab.sh("ip tuntap add dev tap0 mode tap vnet_hdr; ip link set tap0 up")
    nic = ("-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no,vhost=on", "-device", "virtio-net-pci,netdev=n,romfile=")
    guest = NestedGuest.start(lab, "one", *TWO_VCPUS, *nic, "-S")
    assert guest.ask("query-status")["status"] == "prelaunch"  # the worker is there with the device, before the guest runs
    threads = lab.sh(f"cat /proc/{guest.pid()}/task/*/comm").split("\n")
    assert f"vhost-{guest.pid()}" in threads
