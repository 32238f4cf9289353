"""Point 5: guests on a bridge, over taps and vhost, and nothing left when QEMU is killed."""

from __future__ import annotations

import pytest

from .qsup_host import QsupHost, linux

TWO_VCPUS = "vcpus = 2"
QUEUES = 2
PINGS = 30


def make_bridge(host: QsupHost, mtu: int = 1500) -> None:
    """Make the bridge that the files name."""
    host.lab.sh(f"ip link add br0 mtu {mtu} type bridge; ip addr add 10.9.0.1/24 dev br0; ip link set br0 up")


def nic(more: str = "") -> str:
    """Return a nic on that bridge."""
    return f'[[nic]]\nbridge = "br0"\nvhost = true\n{more}\n'


@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.lab(release="trixie"))])
def test_large_packets_pass_over_two_queues_and_vhost(host: QsupHost, release: str) -> None:
    make_bridge(host, 9000)
    words = "lab.ip=10.9.0.2/24 lab.mtu=9000 lab.ping=10.9.0.1"
    more = nic("queues = 2\nmtu = 9000")
    view = host.run("tux", linux(words, TWO_VCPUS, more=more, vm='grace_period_s = 120\nrestart = "never"'))
    (card,) = view["nics"]
    console = host.wait_console("tux", "GUEST-READY")
    assert "GUEST-PING ok target=10.9.0.1 mtu=9000" in console
    assert f"GUEST-NIC eth0 mac={card['mac']} mtu=9000 rx=2 tx=2" in console
    pid = host.pid("tux")
    assert host.lab.sh(f"ls -l /proc/{pid}/fd").count("/dev/vhost-net") == 2
    assert host.taps() == [card["tap"]]
    assert host.lab.read(f"/sys/class/net/{card['tap']}/mtu").strip() == "9000"
    assert len(host.lab.sh(f"ls -d /sys/class/net/{card['tap']}/queues/rx-*").split()) == 2
    assert host.lab.sh(f"basename $(readlink /sys/class/net/{card['tap']}/master)").strip() == "br0"
    assert "3 packets transmitted, 3 packets received" in host.ask("tux", "cat /tmp/ping")
    check_each_queue_has_its_worker(host, "tux")
    host.lab.run("kill", "-KILL", str(pid))
    host.wait_phase("tux", "absent")
    assert host.taps() == []


def check_each_queue_has_its_worker(host: QsupHost, name: str) -> None:
    """Check that what vCPU 0 sends and gets is carried by the first queue's worker, and that of vCPU 1 by the second one's."""
    for vcpu in (0, 1):
        before = vhost_times(host, name)
        pings = f"for i in $(seq {PINGS}); do ping -c1 -W5 -s 8000 10.9.0.1; done"
        heard = host.ask(name, f"taskset -c {vcpu} sh -c '{pings}' | grep -c '1 packets received'")
        grown = [after - earlier for earlier, after in zip(before, vhost_times(host, name), strict=True)]
        assert int(heard) == PINGS
        assert grown[vcpu] > 2 * grown[1 - vcpu], (vcpu, grown)


def vhost_times(host: QsupHost, name: str) -> list[int]:
    """Return how long each of a VM's vhost workers has run, in ns, in the order of its queues."""
    pid = host.pid(name)
    inside = [f"/proc/{pid}/task/{tid}" for tid, thread in host.threads(name).items() if thread.name == f"vhost-{pid}"]
    outside = [f"/proc/{tid}" for tid in host.vhost_kthreads(name)]
    workers = sorted(inside + outside, key=lambda path: int(path.rpartition("/")[2]))
    assert len(workers) == QUEUES
    return [int(host.lab.read(f"{path}/schedstat").split()[0]) for path in workers]


def test_two_guests_ping_each_other_and_their_host(host: QsupHost) -> None:
    make_bridge(host)
    host.drop("one", linux("lab.ip=10.9.0.2/24 lab.ping=10.9.0.1", more=nic()))
    host.drop("two", linux("lab.ip=10.9.0.3/24 lab.ping=10.9.0.2", more=nic()))
    assert "GUEST-PING ok target=10.9.0.1" in host.wait_console("one", "GUEST-READY")
    assert "GUEST-PING ok target=10.9.0.2" in host.wait_console("two", "GUEST-READY")
    for name in ("one", "two"):  # the marker alone is content with one answer of three
        assert "3 packets transmitted, 3 packets received" in host.ask(name, "cat /tmp/ping")
    macs = {card["mac"] for name in ("one", "two") for card in host.view(name)["nics"]}
    learnt = host.lab.run("bridge", "fdb", "show", "br", "br0").stdout
    assert len(macs) == 2
    assert all(mac in learnt for mac in macs)


def test_no_tap_is_left_when_daemon_and_qemu_are_killed_at_once(host: QsupHost) -> None:
    make_bridge(host)
    host.run("tux", linux(more=nic(), vm='restart = "never"'))
    assert len(host.taps()) == 1
    host.lab.run("kill", "-KILL", str(host.main_pid()), str(host.pid("tux")))
    host.lab.wait_until("the tap is gone", lambda: host.taps() == [])
    host.wait_daemon()
    host.wait_phase("tux", "absent")
    assert host.lab.sh("ls /run/qsup/vms").split() == []
