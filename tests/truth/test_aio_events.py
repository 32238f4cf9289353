"""How many of the kernel's events for asynchronous I/O the disks with aio = native take, and when the audit says so."""

from __future__ import annotations

import pytest
from attrs import evolve

from qsup.plan.vmplan import DiskPlan, ImagePlan, QueueThread, VmPlan
from qsup.truth.audit.facts import AioEvents, AuditFacts, ProcessFacts, Told, VmFacts
from qsup.truth.audit.limits import aio_contexts_of
from qsup.truth.audit.report import Finding, audit
from tests.plan.hosts import two_sockets
from tests.truth.plans import a_plan

PLAN = a_plan([{0}], {0}, {}, {0})


def disk(number: int, aio: str = "native", thread: str | None = "io0", *more: str) -> DiskPlan:
    image = ImagePlan(f"/srv/{number}.raw", "raw", False)
    queues = tuple(QueueThread(name, (index,)) for index, name in enumerate(more))
    plan = DiskPlan(f"disk{number}", (image,), False, "none", aio, "unmap", thread, 4, None, 1)
    return evolve(plan, queue_threads=queues)


def vm(number: int, *disks: DiskPlan, runs: bool = False) -> VmFacts:
    plan = evolve(PLAN, name=f"vm{number}", disks=disks)
    return VmFacts(plan, ProcessFacts(100 + number) if runs else None)


def asked(vms: list[VmFacts], reserved: str | None, most: str | None) -> tuple[Finding | None, str]:
    """The finding, and why the rule said nothing."""
    events = AioEvents(Told("/proc/sys/fs/aio-nr", reserved), Told("/proc/sys/fs/aio-max-nr", most))
    report = audit(AuditFacts(two_sockets(), tuple(vms), aio_events=events))
    finding = next((one for one in report.findings if one.rule_id == "limits.aio-events"), None)
    whys = {one.rule_id: one.why for one in (*report.unknown, *report.irrelevant)}
    return finding, whys.get("limits.aio-events", "")


@pytest.mark.parametrize(
    ("disks", "contexts"),
    [
        ((), 0),
        ((disk(0, "io_uring"), disk(1, "threads")), 0),
        ((disk(0, thread=None),), 1),
        ((disk(0), disk(1)), 2),
        ((disk(0), disk(1, thread="io1"), disk(2, "io_uring", "io2")), 3),
        ((disk(0, "native", "io0", "io0", "io1", "io2"),), 4),
    ],
)
def test_a_context_for_the_main_loop_and_one_for_each_iothread(disks: tuple[DiskPlan, ...], contexts: int) -> None:
    plan: VmPlan = evolve(PLAN, disks=disks)
    assert aio_contexts_of(plan) == contexts


def test_the_default_is_enough_for_32_vms_with_an_iothread_each() -> None:
    assert asked([vm(number, disk(0), runs=True) for number in range(32)], "32768", "65536") == (None, "")
    finding, _ = asked([vm(number, disk(0), runs=True) for number in range(33)], "33792", "65536")
    assert finding is not None
    (place,) = finding.places
    assert place.what == (
        "the aio = native disks of 33 VMs bring the events to 67584, and the kernel gives 65536 to all processes"
    )
    assert [(one.file, one.value) for one in place.evidence] == [
        ("/proc/sys/fs/aio-nr", "33792"),
        ("/proc/sys/fs/aio-max-nr", "65536"),
    ]
    assert place.mend == "sysctl -w fs.aio-max-nr=1048576"
    assert finding.lasting == "fs.aio-max-nr = 1048576 in /etc/sysctl.d/90-qsup.conf"


def test_what_others_have_reserved_counts_against_those_that_wait() -> None:
    assert asked([vm(0, disk(0))], "63488", "65536") == (None, "")
    assert asked([vm(0, disk(0))], "63489", "65536")[0] is not None
    assert asked([vm(0, disk(0), runs=True)], "65536", "65536") == (None, "")


def test_files_that_do_not_tell() -> None:
    assert asked([vm(0, disk(0))], None, "65536") == (None, "cannot be read: /proc/sys/fs/aio-nr")
    assert asked([vm(0, disk(0))], "4096", "many")[1] == "/proc/sys/fs/aio-nr or /proc/sys/fs/aio-max-nr is no number"
    assert asked([vm(0, disk(0, "io_uring"))], None, None)[1] == "no VM has a disk with aio = native"
