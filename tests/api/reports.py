"""Sample reports on waiting, and sample metrics."""

from __future__ import annotations

from attrs import evolve

from qsup.supervisor.metric import Family, Sample
from qsup.supervisor.wait_watch import WaitReport
from qsup.truth.wait import BlameShare, ClassTime, ThreadWait, VmWait, WaitInterval
from qsup.truth.wait_blame import FIRST_LOOK, UNNAMED
from qsup.truth.wait_history import WaitMinute

_WAITING = ThreadWait(
    "vcpu 0",
    "vcpu",
    4250,
    2,
    run_share=0.25,
    ready_share=0.7412345678,
    throttled_share=0.1,
    unknown_share=0.02,
    unknown_why=UNNAMED,
    blame=(
        BlameShare("db1 vCPU 3", 0.4),
        BlameShare("backup.service", 0.15),
        BlameShare("stress[77]", 0.06),
        BlameShare("a\x1b[31mb[78]", 0.01),
        BlameShare("kworker/2 events", 0.008),
        BlameShare("others", 0.0001),
    ),
    involuntary=312,
)
WAIT_REPORT = WaitReport(
    1_769_864_002.1234567,
    WaitInterval(
        1.0003,
        True,
        0.03,
        (
            VmWait("db1", 0.0, 0.0, 0.0, (ThreadWait("vcpu 3", "vcpu", 5003, 2, 0.99, 0.0),)),
            VmWait(
                "web1",
                0.7412345678,
                0.1,
                0.735,
                (
                    ThreadWait("vcpu 1", "vcpu", 4251, 34, 0.99, 0.0062, unknown_share=0.0062, unknown_why="less than 1%"),
                    _WAITING,
                    ThreadWait("emulator", "emulator", 4242, 0, 0.0001, 0.0),
                    ThreadWait("iothread io-disk0", "iothread", 4248, 1, 0.05, 0.03, blame=(BlameShare("ssh.service", 0.03),)),
                ),
                {"vcpu": ClassTime(1_240_000_000, 745_000_000, 2)},
            ),
        ),
    ),
)
FIRST_REPORT = WaitReport(
    1_769_864_001.0,
    WaitInterval(
        3.1,
        False,
        0.0,
        (VmWait("web1", 0.7, 0.0, 0.0, (evolve(_WAITING, blame=(), unknown_share=0.64, unknown_why=FIRST_LOOK),)),),
    ),
)
WAIT_MINUTES = (
    WaitMinute(1_769_863_200, 60.0, 0.05, 0.2, 0.0, 0.1, (BlameShare("db1 vCPU 3", 0.04), BlameShare("unknown", 0.01))),
    WaitMinute(1_769_863_260, 60.0, 0.15, 0.4, 0.0, 0.2, (BlameShare("db1 vCPU 3", 0.15),)),
    WaitMinute(1_769_863_980, 22.0, 0.74, 0.75, 0.1, 0.7, (BlameShare("db1 vCPU 3", 0.6), BlameShare("backup.service", 0.1))),
)
METRICS = (
    Family("qsup_events_total", "counter", "Events\nsince the daemon \\ began.", [Sample((("code", "vm.started"),), 7)]),
    Family("qsup_vm_info", "gauge", "What it is.", [Sample((("vm", 'we"b\\1\n'), ("machine", "")), 1)]),
    Family("qsup_host_steal_ratio", "gauge", "Stolen.", [Sample((), 0.125)]),
    Family("qsup_empty", "gauge", "Nothing to say."),
)
