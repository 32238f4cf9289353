"""Sample starts, and a sample frame of `top`: one VM that waits, one that is sound, one that is off."""

from __future__ import annotations

from attrs import evolve

from qsup.supervisor.top_view import DiskRates, NicRates, QemuRates, TopFrame, TopMemory, TopThread, TopVm
from qsup.supervisor.view import StageView, StartView
from tests.api.reports import WAIT_REPORT

STARTS = (
    StartView(1_769_864_000.0, "running", 62.5, (StageView("plan", 2.5), StageView("greeting", 60.0))),
    StartView(1_769_000_000.0, "qemu.died", 5.0, (StageView("plan", 5.0),)),
)
_WEB1 = WAIT_REPORT.interval.vms[1]
_WAITING = _WEB1.threads[1]
_OFF = TopVm("off1", "absent", 1_769_800_000.0, None, None, 2, 1 << 30, None, (4096,), "shared", (), 0, 0, TopMemory())
_WEB = TopVm(
    name="web1",
    phase="running",
    phase_since_s=1_769_860_000.25,
    pid=4242,
    silent_s=None,
    vcpus=2,
    memory_bytes=8 << 30,
    page_size_bytes=2 << 20,
    page_sizes_bytes=(2 << 20,),
    placement="pinned",
    host_nodes=(0,),
    drifting=1,
    repairs=3,
    memory=TopMemory(87.5, 1 << 30, 1_769_863_000.0),
    nics=(NicRates("nic0", "br0", 1_250_000.4, 830.25, 900.0, 11.5, 0.0), NicRates("nic1", "br1")),
    qemu=QemuRates(
        1_769_864_001.5,
        10.02,
        (DiskRates("disk0", 0.0, 52_428_800.6, 0.0, 800.0, 12.0, None, 1.25, 0.0),),
        {"exits": 48_211.7, "halt_exits": 1200.0, "io_exits": 3.25},
    ),
    run_share=1.2413,
    ready_share=0.7412345678,
    throttled_share=0.1,
    skew_share=0.735,
    worst=_WAITING,
)
_DB = evolve(
    _OFF, name="db1", phase="unresponsive", pid=5000, silent_s=12.3456, memory=TopMemory(100.0, 0, 1_769_863_000.0),
    host_nodes=(1,), placement="dedicated", run_share=0.99, ready_share=0.0, throttled_share=0.0, skew_share=0.0,
)  # fmt: skip
TOP_FRAME = TopFrame(
    at_s=WAIT_REPORT.at_s,
    span_s=WAIT_REPORT.interval.span_s,
    blamed=True,
    settled=True,
    steal_share=0.03,
    vms=(_DB, _OFF, _WEB),
    waiting=(("web1", _WAITING), ("web1", _WEB1.threads[3]), ("web1", _WEB1.threads[0])),
)
TOP_THREADS = (
    TopThread("vcpu 0", "vcpu", 4250, "CPU 0/KVM", "2", "2", "ok", _WAITING),
    TopThread("vcpu 1", "vcpu", 4251, "CPU 1/KVM", "34", "0-63", "drift", _WEB1.threads[0]),
    TopThread("iothread io-disk0", "iothread", 4248, "IO io-disk0", "1", "1", "ok", _WEB1.threads[3]),
    TopThread("emulator", "emulator", 4242, "qemu-system-x86", "0-1", "0-1", "ok"),
    TopThread("vhost", "vhost", None, "", "0-1", "", "missing"),
)


def top_of_one(name: str) -> TopFrame:
    """The same moment of one VM, with its threads."""
    vms = tuple(vm for vm in TOP_FRAME.vms if vm.name == name)
    waiting = tuple(row for row in TOP_FRAME.waiting if row[0] == name)
    return evolve(TOP_FRAME, vms=vms, waiting=waiting, threads=TOP_THREADS if name == "web1" else ())
