"""Sample views: one with every field filled, one bare, and what else crosses the wire. Golden JSON is made of them."""

from __future__ import annotations

from attrs import evolve

from qsup.errors import Problem, Reason
from qsup.spec.changes import Change
from qsup.supervisor.view import CmdlineView, EventView, Outcome, StageView, StartingView, StartView, ThreadView, VmView
from qsup.truth.process_stats import ProcessStats

PROBLEM = Problem(
    "spec.unknown-key", 'the key "vcpu" is unknown', 'did you mean "vcpus"?', "/etc/qsup/vms.d/web1.toml", 2, 1, "cpu.vcpu"
)
REASON = Reason(
    "plan.no-hugepages",
    "node 0 has too few free 2 MiB pages",
    host_node=0,
    needed="4096 pages",
    available="1024 pages",
    held_by=(("db1", "2048 pages"), ("foreign", "512 pages")),
    hint="stop db1 or shrink memory.size",
)
STARTS = (
    StartView(
        1_769_864_000.0,
        "running",
        812.4,
        (
            StageView("plan", 2.1),
            StageView("pages", 300.0),
            StageView("taps", 6.3),
            StageView("spawn", 4.5),
            StageView("prealloc", 410.0),
            StageView("greeting", 58.2),
            StageView("pin", 0.6),
            StageView("verify", 0.4),
            StageView("resume", 1.3),
        ),
    ),
)
FULL_VM = VmView(
    name="web1",
    phase="running",
    power="on",
    phase_since_s=1_769_864_000.5,
    config_state="invalid",
    config_file="/etc/qsup/vms.d/web1.toml",
    description="the front",
    autostart=True,
    pid=4242,
    uid=7_000_001,
    scope="qsup-web1.scope",
    adopted=True,
    qemu_status="running",
    silent_s=None,
    process=ProcessStats(61.5, 2.25, 93 << 20, 8 << 30, 3 << 20, 512 << 10),
    vcpus=2,
    memory_bytes=8 << 30,
    page_size_bytes=2 << 20,
    page_sizes_bytes=(2 << 20,),
    placement="dedicated",
    machine="pc-q35-7.2",
    accel="kvm",
    host_nodes=(0,),
    threads=(
        ThreadView("vcpu 0", 4250, "CPU 0/KVM", "2", "2", "as planned"),
        ThreadView("vcpu 1", 4251, "CPU 1/KVM", "34", "0-63", "drifted"),
        ThreadView("emulator", 4242, "qemu-system-x86", "0-1,32-33", "0-1,32-33", "as planned"),
    ),
    nics=(
        {"id": "net0", "bridge": "br0", "tap": "q-web1-0", "mac": "52:54:00:00:00:01", "queues": 2, "mtu": None, "vhost": True},
    ),
    disks=({"id": "disk0", "path": "/srv/vm/web1.qcow2", "format": "qcow2", "readonly": False, "iothread": "io-disk0"},),
    serial_log="/run/qsup/web1/log/serial.log",
    problems=(PROBLEM,),
    pending=(Change("memory.size", "8GiB", "16GiB", "cold-restart", "QEMU cannot change boot memory while it runs"),),
    warnings=(Problem("plan.pins-overlap", "pCPU 2 is pinned by db1 too", "choose other pCPUs"),),
    last_ending="exit status 1",
    last_ending_code="process.exit-status",
    last_words="qemu-system-x86_64: -bios x: \x1b[31mcould not load\x1b[0m\nsecond line",
    restarts=2,
    starts=STARTS,
)
BARE_VM = VmView("db1", "absent", "off", 1_769_860_000.0, "absent")
REFUSED_VM = evolve(
    BARE_VM,
    name="big1",
    power="on",
    config_state="valid",
    config_file="/etc/qsup/vms.d/big1.toml",
    vcpus=64,
    memory_bytes=512 << 30,
    refusal=(REASON,),
    suggestions=("stop db1", 'memory.size = "2GiB" instead of "8GiB"'),
    trouble=REASON.message,
    trouble_code=REASON.code,
    next_start_in_s=75.0,
    reason="it does not fit",
)
STARTING_VM = evolve(
    BARE_VM,
    name="db2",
    phase="launched",
    power="on",
    config_state="valid",
    config_file="/etc/qsup/vms.d/db2.toml",
    pid=4300,
    vcpus=8,
    memory_bytes=64 << 30,
    starting=StartingView(planned_bytes=64 << 30, taken_bytes=23 << 30, cpu_s=41.5, still_s=12.0),
)
EVENT = EventView(7, 1_769_864_001.25, "web1", "vm.running", "web1 is running", {"pid": "4242"})
HOST_EVENT = EventView(8, 1_769_864_002.0, None, "daemon.ready", "ready")
CMDLINE = CmdlineView(
    ("qemu-system-x86_64", "-name", "guest=web1,debug-threads=on", "-S"),
    (("-name", "guest=web1,debug-threads=on", "threads are told apart by name"), ("-S", None, "pinned before it runs")),
    running=True,
)
OUTCOME = Outcome("web1", "start", False, "already running", "running")
HOST = {
    "version": "0.1.0",
    "pid": 1234,
    "uptime_s": 7384.2,
    "run_dir": "/run/qsup",
    "state_dir": "/var/lib/qsup",
    "resident_bytes": 47_185_920,
    "cpu_s": 12.34,
    "vms": {"running": 1, "absent": 2},
}
