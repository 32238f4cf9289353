"""What an audit reads, a topic at a time: the shapes that kernels and distributions give these files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.bytesize import MIB
from qsup.host.audit.images import read_image, read_mounts
from qsup.host.audit.interrupts import read_interrupts
from qsup.host.audit.memory import buddies_of
from qsup.host.audit.network import read_network
from qsup.host.audit.processes import qemu_pids, read_process_limits
from qsup.host.audit.settings import bits_of
from qsup.host.offloads import format_offloads, read_offloads
from qsup.truth.audit.facts import BuddyRow, CgroupLimit, Told
from qsup.truth.audit.interrupts import hex_mask
from tests.host.qcow2_writer import qcow2_header


def write(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


@given(st.frozensets(st.integers(0, 300)))
def test_bitmaps_are_read_as_they_are_written(pcpus: frozenset[int]) -> None:
    assert bits_of(hex_mask(pcpus)) == pcpus


@pytest.mark.parametrize(
    ("text", "is_on", "number", "chosen"),
    [
        ("Y\n", True, None, None),
        ("N\n", False, None, None),
        ("1\n", True, 1, None),
        ("never\n", False, None, None),
        ("-1\n", None, -1, None),
        ("always [madvise] never\n", None, None, "madvise"),
        ("always defer [defer+madvise] never\n", None, None, "defer+madvise"),
        ("", None, None, None),
    ],
)
def test_what_a_setting_says(text: str, is_on: bool | None, number: int | None, chosen: str | None) -> None:
    told = Told("/x", text)
    assert (told.is_on, told.number, told.chosen) == (is_on, number, chosen)


def test_interrupts_with_offline_pcpus_between(tmp_path: Path) -> None:
    text = """\
           CPU0       CPU2       CPU5
   9:          1          0          0   IO-APIC    9-fasteoi   acpi
  35:          0         12          7  PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
 LOC:         10         20         30   Local timer interrupts
 ERR:          0
"""
    root = write(
        tmp_path, {"proc/interrupts": text, "proc/irq/35/smp_affinity_list": "2,5\n", "proc/irq/9/smp_affinity_list": ""}
    )
    irqs = read_interrupts(root).irqs
    assert irqs is not None
    assert [(irq.number, irq.name, irq.affinity, irq.counts) for irq in irqs] == [
        (9, "acpi", frozenset(), {0: 1}),
        (35, "virtio1-req.0", frozenset({2, 5}), {2: 12, 5: 7}),
    ]


@pytest.mark.parametrize(
    ("text", "banned"),
    [
        ("IRQBALANCE_BANNED_CPULIST=2-3,8\n", {2, 3, 8}),
        ('IRQBALANCE_BANNED_CPULIST="2-3"\n', {2, 3}),
        ("export IRQBALANCE_BANNED_CPUS=00000001,00000002\n", {1, 32}),
        ("#IRQBALANCE_BANNED_CPULIST=2-3\n", None),
        ("IRQBALANCE_BANNED_CPULIST=3-2\n", None),
        ("", None),
    ],
)
def test_what_irqbalance_is_kept_off(tmp_path: Path, text: str, banned: set[int] | None) -> None:
    facts = read_interrupts(write(tmp_path, {"etc/sysconfig/irqbalance": text}))
    assert (facts.banned, facts.banned_file) == (banned, "/etc/sysconfig/irqbalance")


def test_free_memory_in_large_blocks() -> None:
    text = """\
Node 0, zone      DMA      1      0      0      0      0      0      0      0      0      0      1
Node 0, zone   Normal    256      0      0      0      0      0      0      0      0      3      2
Node 1, zone   Normal      0      0      0      0      0      0      0      0      1      0      0
Node x, zone   broken
"""
    assert list(buddies_of(text, 4096)) == [
        BuddyRow(0, 4096 + 4 * MIB + MIB + 6 * MIB + 8 * MIB, 18 * MIB),
        BuddyRow(1, MIB, 0),
    ]


def test_the_lowest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    scope = "sys/fs/cgroup/qsup.slice/qsup-a.scope"
    files = {
        "proc/self/mountinfo": "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "proc/7/cgroup": "0::/qsup.slice/qsup-a.scope\n",
        "proc/7/limits": "Max open files            1024                 524288               files     \n"
        "Max locked memory         unlimited            unlimited            bytes     \n",
        "proc/7/status": "VmSwap:\t      12 kB\n",
        f"{scope}/memory.max": "2000\n",
        "sys/fs/cgroup/qsup.slice/memory.max": "1000\n",
        f"{scope}/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/qsup.slice/cpu.max": "max 100000\n",
        f"{scope}/pids.max": "max\n",
    }
    process = read_process_limits(7, write(tmp_path, files))
    assert process.memory_limit == CgroupLimit("/sys/fs/cgroup/qsup.slice/memory.max", 1000)
    assert process.quota_percent == CgroupLimit(f"/{scope}/cpu.max", 150)
    assert process.pids_limit is None
    assert (process.nofile, process.memlock_bytes, process.swapped_bytes, process.told) == (1024, None, 12288, True)
    assert not read_process_limits(8, str(tmp_path)).told


def test_qemus_are_known_by_the_name_that_they_were_given(tmp_path: Path) -> None:
    files = {
        "proc/5/cmdline": "/usr/bin/qemu-system-x86_64\0-name\0guest=web1,debug-threads=on\0-uuid\0x\0",
        "proc/6/cmdline": "vim\0-name\0guest=web2,\0",
        "proc/7/cmdline": "qemu-system-x86_64\0-M\0q35\0",
        "proc/8/cmdline": "",
    }
    assert qemu_pids(write(tmp_path, files)) == {"web1": 5}


def test_an_image_on_the_innermost_mount_with_its_disk(tmp_path: Path) -> None:
    mounts = "25 1 8:2 / / rw - ext4 /dev/a rw\n26 25 8:17 / /srv/my\\040vms rw shared:1 - xfs /dev/b rw\n"
    files = {
        "proc/self/mountinfo": mounts,
        "sys/devices/disk/sdb/queue/scheduler": "[mq-deadline] none\n",
        "sys/devices/disk/sdb/queue/rotational": "0\n",
        "sys/devices/disk/numa_node": "1\n",
        "sys/devices/disk/sdb/sdb1/partition": "1\n",
    }
    root = write(tmp_path, files)
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block/8:17").symlink_to("../../devices/disk/sdb/sdb1")
    (tmp_path / "srv/my vms").mkdir(parents=True)
    (tmp_path / "srv/my vms/a.qcow2").write_bytes(qcow2_header(size=64 * MIB, backing=b"b.qcow2", backing_format=b"raw"))
    image = read_image(root, "/srv/my vms/a.qcow2", "qcow2", read_mounts(root))
    assert (image.filesystem, image.virtual_bytes, image.cluster_bytes, image.host_node) == ("xfs", 64 * MIB, 65536, 1)
    assert image.below == ("/srv/my vms/b.qcow2",)
    assert image.scheduler == Told("/sys/devices/disk/sdb/queue/scheduler", "[mq-deadline] none\n")
    assert read_image(root, "/gone.raw", "raw", read_mounts(root)).filesystem == "ext4"
    assert read_image(root, "/etc\0", "raw", ()).length_bytes is None


def test_a_chain_of_images_that_never_ends(tmp_path: Path) -> None:
    for name, below in (("a", b"b.qcow2"), ("b", b"a.qcow2")):
        (tmp_path / f"{name}.qcow2").write_bytes(qcow2_header(backing=below, backing_format=b"qcow2"))
    assert read_image(str(tmp_path), "/a.qcow2", "qcow2", ()).below == ("/b.qcow2", "/a.qcow2")


def test_what_is_below_a_bridge(tmp_path: Path) -> None:
    net = "sys/class/net"
    files = {
        f"{net}/br0/bridge/stp_state": "1\n",
        f"{net}/br0/lower_bond0/x": "",
        f"{net}/br0/lower_tap0/x": "",
        f"{net}/br0/lower_veth0/x": "",
        f"{net}/tap0/tun_flags": "0x1002\n",
        f"{net}/tap0/device/x": "",
        f"{net}/veth0/mtu": "1500\n",
        f"{net}/bond0/mtu": "9000\n",
        f"{net}/bond0/lower_eth0/x": "",
        f"{net}/eth0/device/numa_node": "-1\n",
        f"{net}/eth0/device/msi_irqs/31": "msix\n",
        f"{net}/eth0/queues/rx-0/x": "",
        f"{net}/eth0/queues/tx-0/x": "",
        "ethtool/eth0": "tso: off\ngro: on\n",
    }
    bridge = read_network(write(tmp_path, files), ["br0", "eth0", "../br0"]).bridges["br0"]
    assert [(port.name, port.hardware, port.mtu.number) for port in bridge.ports] == [
        ("bond0", False, 9000),
        ("eth0", True, None),
    ]
    nic = bridge.ports[1]
    assert (nic.host_node, nic.queues, nic.irqs, nic.offloads) == (None, 1, (31,), {"tso": False, "gro": True})


def test_offloads_of_a_link_of_this_machine() -> None:
    offloads = read_offloads("lo")
    if offloads is None:
        pytest.skip("this kernel does not answer ethtool's questions for lo")
    assert set(offloads) <= {"tx-checksum", "scatter-gather", "tso", "gso", "gro", "lro"}
    assert "gso" in offloads
    assert read_offloads("no-such-link") is None


def test_offloads_are_recorded_as_they_are_read(tmp_path: Path) -> None:
    offloads = {"tso": True, "gro": False}
    assert read_offloads("eth0", write(tmp_path, {"ethtool/eth0": format_offloads(offloads)})) == offloads
