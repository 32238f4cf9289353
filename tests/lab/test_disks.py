"""Point 6: what a guest has written is there when it comes back from being killed."""

from __future__ import annotations

import json

import pytest

from .qsup_host import QsupHost, linux

PATTERN_MIB, AT_MIB = 4, 8
NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
"""The checksum of no bytes at all."""
ON_TWO_NODES = """size = "320MiB"
nodes = [
    { vcpus = "0", size = "160MiB", host_nodes = "0" },
    { vcpus = "1", size = "160MiB", host_nodes = "1" },
]"""


@pytest.mark.parametrize("image", ["qcow2", "raw"])
@pytest.mark.parametrize("aio", ["io_uring", "native"])
def test_a_written_pattern_outlives_the_kill(host: QsupHost, image: str, aio: str) -> None:
    check_pattern(host, image, aio)


@pytest.mark.lab(release="trixie")
def test_a_written_pattern_outlives_the_kill_of_a_newer_qemu(host: QsupHost) -> None:
    check_pattern(host, "qcow2", "io_uring")


def check_pattern(host: QsupHost, image: str, aio: str) -> None:
    """Let a guest write, kill it, and let the next one read."""
    path = f"/srv/disk.{image}"
    host.lab.run("qemu-img", "create", "-q", "-f", image, path, "16M")
    disk = f'[[disk]]\npath = "{path}"\naio = "{aio}"\niothread = true\nserial = "KESTREL"'
    view = host.run("tux", linux("lab.write=kestrel", more=disk))
    assert [thread["role"] for thread in view["threads"]].count(f"iothread {view['disks'][0]['iothread']}") == 1
    console = host.wait_console("tux", "GUEST-WROTE kestrel")
    assert "GUEST-DISK vda sectors=32768" in console
    assert "serial=KESTREL" in console
    before = host.identity("tux")
    assert ("io_uring" in host.lab.sh(f"ls -l /proc/{before[0]}/fd")) is (aio == "io_uring")
    assert (int(host.lab.read("/proc/sys/fs/aio-nr")) > 0) is (aio == "native")
    wanted = write_pattern(host, aio)
    host.drop("tux", linux("lab.read", more=disk))
    host.lab.wait_until("the edit is pending", lambda: bool(host.view("tux")["pending"]))
    host.lab.run("kill", "-KILL", str(before[0]))
    host.lab.wait_until("it is back", lambda: bool(host.pids("tux")) and host.identity("tux") != before)
    host.wait_console("tux", "GUEST-READ kestrel")
    host.wait_console("tux", "GUEST-READY")
    assert sum_of(host, f"dd if=/dev/vda bs=1M skip={AT_MIB} count={PATTERN_MIB} 2>/dev/null") == wanted
    view = host.view("tux")
    assert (view["restarts"], view["pending"]) == (1, [])
    assert "9" in view["last_ending"] or "KILL" in view["last_ending"]


def write_pattern(host: QsupHost, aio: str) -> str:
    """Have the guest write a pattern, and check that the disk's iothread carried it; return the pattern's checksum."""
    host.wait_console("tux", "GUEST-READY")
    wanted = sum_of(host, f"dd if=/dev/urandom bs=1M count={PATTERN_MIB} 2>/dev/null | tee /tmp/pattern")
    (iothread,) = [tid for tid, thread in host.threads("tux").items() if thread.name == "IO io-disk0"]
    pid = host.pid("tux")
    counters = [f"/proc/{pid}/io", *(f"/proc/{pid}/task/{tid}/io" for tid in (pid, iothread))]
    (start,) = run_times(host, [iothread])
    host.ask("tux", "md5sum /tmp/pattern")
    (idle,) = run_times(host, [iothread])
    before = [written_bytes(host, path) for path in counters]
    host.ask("tux", f"dd if=/tmp/pattern of=/dev/vda bs=1M seek={AT_MIB} conv=fsync")
    whole, by_main_loop, by_iothread = [
        written_bytes(host, path) - earlier for path, earlier in zip(counters, before, strict=True)
    ]
    (busy,) = run_times(host, [iothread])
    assert busy - idle > 2 * (idle - start), (start, idle, busy)
    assert whole >= PATTERN_MIB << 20
    assert by_main_loop == 0
    # io_uring hands what would block on to workers of its own
    assert aio == "io_uring" or by_iothread >= PATTERN_MIB << 20
    return wanted


def written_bytes(host: QsupHost, path: str) -> int:
    """Return how much a process or a thread has sent to the storage, by its file `io` in /proc."""
    return int(host.lab.read(path).partition("\nwrite_bytes: ")[2].split()[0])


def sum_of(host: QsupHost, command: str) -> str:
    """Return the checksum of what a command prints in the guest."""
    found = host.ask("tux", f"{command} | md5sum").split()[0]
    assert len(found) == 32, found
    assert found != NOTHING
    return found


@pytest.mark.lab(release="trixie")
def test_each_queue_of_a_disk_is_served_on_the_node_of_its_vcpu(host: QsupHost) -> None:
    host.lab.sh("truncate -s 16M /srv/disk.raw")
    cpu = 'vcpus = 2\nsockets = 2\niothreads = "beside"'
    host.run("tux", linux(cpu=cpu, memory=ON_TWO_NODES, more='[[disk]]\npath = "/srv/disk.raw"'))
    assert "queues=2" in host.wait_console("tux", "GUEST-READY")
    assert "iothread-vq-mapping" in host.lab.read(f"/proc/{host.pid('tux')}/cmdline")
    threads = {thread.name: thread for thread in host.threads("tux").values()}
    servers = [threads[f"IO io-disk0.{node}"] for node in (0, 1)]
    assert [server.mask for server in servers] == ["2-3", "4-7"]  # the shared pool's pCPUs of each node
    tids = [server.tid for server in servers]
    for vcpu in (0, 1):
        before = run_times(host, tids)
        reads = f"taskset -c {vcpu} dd if=/dev/vda of=/dev/null bs=4096 count=256 iflag=direct"
        host.type("tux", f'{reads}; echo READ-""ON-{vcpu}', f"READ-ON-{vcpu}")
        served = [after - earlier for earlier, after in zip(before, run_times(host, tids), strict=True)]
        assert served[vcpu] > served[1 - vcpu], served
    verified = host.qsup("verify", "tux", "--json", check=False)
    (disk,) = json.loads(verified.stdout)["disks"]
    assert disk["iothread"] == disk["iothread_in_force"] == "io-disk0.0:0 io-disk0.1:1"
    assert (disk["verdict"], verified.status) == ("ok", 0), disk


@pytest.mark.parametrize("aio", ["io_uring", "native"])
def test_each_of_several_disks_is_known_to_travel_as_asked(host: QsupHost, aio: str) -> None:
    check_ways(host, aio)


@pytest.mark.lab(release="trixie")
def test_each_of_several_disks_of_a_newer_qemu_is_known_to_travel_as_asked(host: QsupHost) -> None:
    check_ways(host, "native")


def check_ways(host: QsupHost, aio: str) -> None:
    """Let a guest read two disks that have an iothread each."""
    host.lab.sh("truncate -s 16M /srv/one.raw /srv/two.raw")
    disks = [f'[[disk]]\npath = "/srv/{name}.raw"\naio = "{aio}"\niothread = true' for name in ("one", "two")]
    host.run("tux", linux(more="\n".join(disks)))
    host.wait_console("tux", "GUEST-READY")
    for name in ("vda", "vdb"):
        reads = f"dd if=/dev/{name} of=/dev/null bs=4096 count=16 iflag=direct"
        host.type("tux", f'{reads}; echo READ-""{name}', f"READ-{name}")
    verified = host.qsup("verify", "tux", "--json", check=False)
    rows = json.loads(verified.stdout)["disks"]
    assert [(row["verdict"], row["aio_in_force"], row["note"]) for row in rows] == [("ok", aio, "")] * 2


def run_times(host: QsupHost, tids: list[int]) -> list[int]:
    """Return how long threads of the VM have run, in ns."""
    pid = host.pid("tux")
    return [int(host.lab.read(f"/proc/{pid}/task/{tid}/schedstat").split()[0]) for tid in tids]
