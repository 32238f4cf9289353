"""Sample truth tables: one in which nearly everything is wrong once, one in which all is well, one that does not run."""

from __future__ import annotations

from qsup.truth.devices import DiskRow, NicRow
from qsup.truth.memory import MemoryRow
from qsup.truth.page_moves import BackendMended, MemoryMended, Unmoved
from qsup.truth.verified import ThreadTruth, VmVerified

GIB, MIB = 1 << 30, 1 << 20
HOUSEKEEPING = frozenset({0, 1, 32, 33})
EVERYWHERE = frozenset(range(64))
QUEUES = "io-disk2.0:0-3 io-disk2.1:4-7"


def _thread(kind: str, label: str, tid: int, name: str, pin: frozenset[int], **more: object) -> ThreadTruth:
    fields: dict[str, object] = {
        "affinity": pin,
        "last_pcpu": min(pin),
        "policy": "other",
        "rt_priority": 0,
        "cpuset": EVERYWHERE,
        "verdict": "ok",
        **more,
    }
    return ThreadTruth(kind, label, tid, name, pin, **fields)  # type: ignore[arg-type]


TROUBLED = VmVerified(
    vm="web1",
    phase="running",
    checked_at_s=1_769_864_060.0,
    pid=4242,
    notes=("QEMU does not answer: what only QEMU can tell is missing",),
    threads=(
        _thread("vcpu", "vcpu 0", 4250, "CPU 0/KVM", frozenset({2}), policy="fifo", rt_priority=1),
        _thread(
            "vcpu",
            "vcpu 1",
            4251,
            "CPU 1/KVM",
            frozenset({34}),
            affinity=EVERYWHERE,
            verdict="drift",
            note="left alone: somebody moves it again and again",
        ),
        _thread("iothread", "iothread io-disk0", 4252, "IO io-disk0", HOUSEKEEPING),
        _thread("vhost", "vhost", 4255, "vhost-4242", HOUSEKEEPING),
        _thread("emulator", "emulator", 4242, "qemu-system-x86", HOUSEKEEPING),
        _thread("worker", "worker", 4260, "worker", HOUSEKEEPING),
        _thread(
            "io-wq",
            "io-wq",
            4261,
            "iou-wrk-4242",
            HOUSEKEEPING,
            affinity=frozenset(range(32)),
            verdict="not placeable",
            note="the kernel refuses to place it",
        ),
        _thread("kvm-pit", "kvm-pit", 812, "kvm-pit/4242", HOUSEKEEPING, cpuset=None),
    ),
    memory=(
        MemoryRow(
            "mem0", 4 * GIB, (0,), "bind", 2 * MIB, 1 << 40, "bind", (0,), 2 * MIB, ((0, 2048),), 4 * GIB, 0, 100.0, "ok"
        ),
        MemoryRow(
            "mem1",
            4 * GIB,
            (1,),
            "bind",
            2 * MIB,
            2 << 40,
            "bind",
            (1,),
            2 * MIB,
            ((0, 512), (1, 1536)),
            4 * GIB,
            GIB,
            75.0,
            "drift",
            "1GiB on node 0",
        ),
    ),
    nics=(
        NicRow("net0", "q-web1-0", "br0", "br1", 1500, 1400, 2, 2, True, 2, "drift", "q-web1-0 is a port of br1, not of br0"),
        NicRow("net1", "q-web1-1", "br0", "br0", 1500, 1500, 1, 1, False, None, "ok"),
    ),
    disks=(
        DiskRow("disk0", "/srv/a.qcow2", "none", "native", "native", "io-disk0", None, "unknown", "QEMU does not answer"),
        DiskRow("disk1", "/srv/b.raw", "none", "io_uring", "threads", "", "", "drift", "falling back to thread pool"),
        DiskRow("disk2", "/srv/c.raw", "none", "native", "native", QUEUES, QUEUES, "ok"),
    ),
    memory_counted_at_s=1_769_863_000.0,
    repairs=12,
    left_alone=1,
)
SOUND = VmVerified(
    vm="mail",
    phase="running",
    checked_at_s=1_769_864_060.0,
    pid=4300,
    threads=(_thread("vcpu", "vcpu 0", 4301, "CPU 0/KVM", frozenset({4})),),
    memory=(MemoryRow("mem0", GIB, (), "default", 4096, 1 << 40, "default", (), None, (), 0, 0, None, "ok"),),
    memory_counted_at_s=1_769_864_060.0,
)
ABSENT = VmVerified("db1", "absent", 1_769_864_060.0)
MENDED = MemoryMended(
    "web1",
    (BackendMended("mem1", 1022 * MIB, (Unmoved(2 * MIB, "node 1 has no free page of 2MiB", "add pages to its pool"),)),),
    3.25,
)
