"""What QEMU is asked about its disks, and what becomes of its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping

import trio
from attrs import evolve

from qsup.plan.vmplan import DiskPlan, ImagePlan, QueueThread
from qsup.supervisor.asking_disks import ask_disks
from qsup.truth.devices import DiskAnswers
from tests.qmp.speaker import Speaker, open_talk

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
