"""What QEMU is asked about its disks, and what becomes of its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
import trio
from attrs import evolve

from qsup.errors import QmpLost
from qsup.plan.vmplan import DiskPlan, ImagePlan, QueueThread
from qsup.supervisor.asking_disks import ask_disks
from qsup.supervisor.qmp_link import QmpLink
from qsup.supervisor.verifying import verify_vm
from qsup.truth.devices import DiskAnswers
from tests.qmp.speaker import Speaker, open_talk
from tests.supervisor.standing_in import vm_of_a_shell

ONE = DiskPlan("disk0", (ImagePlan("/srv/a.raw", "raw", False),), False, "none", "native", "unmap", "io-disk0", 4, None, 1)
SHARED = (QueueThread("io-disk1.0", (0, 1)), QueueThread("io-disk1.1", (2, 3)))
MANY = evolve(ONE, disk_id="disk1", iothread_id="io-disk1.0", queue_threads=SHARED)
MAPPING = [{"iothread": "io-disk1.1", "vqs": [2, 3]}, {"iothread": "io-disk1.0", "vqs": [0, 1]}]
Properties = Mapping[tuple[str, str], object]
PROPERTIES: Properties = {
    ("disk0", "iothread"): "/objects/io-disk0",
    ("disk1", "iothread"): "",
    ("disk1", "iothread-vq-mapping"): MAPPING,
}
NODE = {"node-name": "disk0.0", "drv": "raw", "ro": False, "file": "/srv/a.raw", "image": {"virtual-size": 1, "actual-size": 1}}


async def serve(speaker: Speaker, properties: Properties, others: Mapping[str, object]) -> None:
    """A QEMU that has these properties, and refuses what it does not know."""
    while (line := await speaker.hear_line()) is not None:
        request = json.loads(line)
        asked = request.get("arguments", {})
        value = others.get(request["execute"])
        if request["execute"] == "qom-get":
            value = properties.get((asked["path"].rpartition("/")[2], asked["property"]))
        if value is None:
            await speaker.refuse(request, "GenericError", "no such thing")
        else:
            await speaker.answer(request, value)


async def answers_of(
    *disks: DiskPlan, properties: Properties = PROPERTIES, nodes: object = (NODE,), counters: object = ()
) -> DiskAnswers:
    running = {"status": "running", "running": True}
    others = {"query-named-block-nodes": nodes, "query-blockstats": counters, "query-status": running}
    async with open_talk() as (session, speaker), trio.open_nursery() as nursery:
        nursery.start_soon(serve, speaker, properties, others)
        answers = await ask_disks(session, disks)
        nursery.cancel_scope.cancel()
    return answers


async def test_who_serves_a_disk() -> None:
    answers = await answers_of(ONE, MANY)
    assert answers.iothreads == {"disk0": "io-disk0", "disk1": "io-disk1.0:0,1 io-disk1.1:2,3"}
    assert answers.drivers == {"disk0.0": "raw"}


async def test_queues_that_are_not_shared_out_after_all() -> None:
    answers = await answers_of(MANY, properties={**PROPERTIES, ("disk1", "iothread-vq-mapping"): []})
    assert answers.iothreads == {"disk1": ""}


async def test_without_disks_qemu_need_only_answer() -> None:
    assert await answers_of() == DiskAnswers()


async def test_one_refusal_concerns_one_disk() -> None:
    answers = await answers_of(ONE, MANY, properties={("disk0", "iothread"): "/objects/io-disk0"})
    assert answers.iothreads == {"disk0": "io-disk0"}
    assert set(answers.refused) == {"disk1"}
    assert "no such thing" in answers.refused["disk1"]
    malformed = await answers_of(ONE, MANY, properties={**PROPERTIES, ("disk1", "iothread-vq-mapping"): 7})
    assert (malformed.iothreads, set(malformed.refused)) == ({"disk0": "io-disk0"}, {"disk1"})


async def test_a_query_that_is_refused_leaves_the_other_answers() -> None:
    answers = await answers_of(ONE, nodes=None)
    assert (answers.drivers, answers.iothreads, set(answers.refused)) == (None, {"disk0": "io-disk0"}, {"disk0"})
    answers = await answers_of(ONE, counters=None)
    assert (answers.drivers, answers.requests, set(answers.refused)) == ({"disk0.0": "raw"}, {}, {"disk0"})


async def test_a_qemu_that_is_gone_has_not_answered() -> None:
    async with open_talk() as (session, speaker):
        await speaker.close()
        with pytest.raises(QmpLost):
            await ask_disks(session, [ONE])


async def test_in_the_table_a_refusal_is_its_disks_own() -> None:
    with vm_of_a_shell() as vm:
        run = vm.run
        assert run.plan is not None
        run.plan = evolve(run.plan, disks=(ONE, MANY))
        run.link = QmpLink("", "", changed=vm.ring, on_event=lambda event: None, patience_s=5, greeted=True)
        nodes = (NODE, {**NODE, "node-name": "disk1.0"})
        others = {"query-named-block-nodes": nodes, "query-blockstats": ()}
        async with open_talk() as (session, speaker), trio.open_nursery() as nursery:
            run.link.telemetry = session
            nursery.start_soon(serve, speaker, {("disk0", "iothread"): "/objects/io-disk0"}, others)
            table = await verify_vm(vm)
            nursery.cancel_scope.cancel()
    assert table.notes == (), "it answers"
    assert [disk.iothread_in_force for disk in table.disks] == ["io-disk0", None]
    assert "no such thing" in table.disks[1].note
