"""The session against a real QEMU without a machine: what the speaker only imitates."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from qsup.errors import QmpLost, QmpRefused
from qsup.qmp import verbs
from qsup.qmp.connect import connect_unix
from qsup.qmp.lifecycle_events import Shutdown, lifecycle_event_of
from qsup.qmp.session import QmpSession, open_session

QEMU = shutil.which("qemu-system-x86_64")
pytestmark = [pytest.mark.live, pytest.mark.skipif(QEMU is None, reason="no qemu-system-x86_64")]


class Qemu:
    """A QEMU process with its monitor's path; it inherits a socket that listens before it starts."""

    def __init__(self, directory: Path, *more: str) -> None:
        self.path = str(directory / "qmp.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen(8)
            monitor = f"socket,id=qmp,fd={listener.fileno()},server=on,wait=off"
            quiet = ["-display", "none", "-nodefaults", "-no-user-config", "-S"]
            argv = [QEMU or "", *quiet, "-chardev", monitor, "-mon", "chardev=qmp,mode=control", *more]
            self.process = subprocess.Popen(argv, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL)


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="qsup-qmp-") as name:
        yield Path(name)


@pytest.fixture
def qemu(directory: Path) -> Iterator[Qemu]:
    started = Qemu(directory, "-machine", "none")
    yield started
    started.process.kill()
    started.process.wait()


@pytest.fixture
def q35(directory: Path) -> Iterator[Qemu]:
    machine = ["-machine", "q35,accel=tcg", "-m", "64", "-smp", "4,sockets=2,cores=2"]
    disk = ["-blockdev", "null-co,node-name=d0,read-zeroes=true", "-device", "virtio-blk-pci,drive=d0,id=v0,iothread=io0"]
    started = Qemu(directory, *machine, "-object", "iothread,id=io0", *disk)
    yield started
    started.process.kill()
    started.process.wait()


async def test_a_binary_without_a_machine_tells_what_it_can(qemu: Qemu) -> None:
    stream = await connect_unix(qemu.path, timeout_s=10)
    async with open_session(stream, greeting_timeout_s=30) as session:
        assert (await verbs.query_version(session)).version == session.greeting.version
        assert "q35" in {machine.alias for machine in await verbs.query_machines(session)}
        assert "qemu64" in {model.name for model in await verbs.query_cpu_definitions(session)}
        assert "virtio-blk-pci" in await verbs.qom_list_types(session)
        assert "iothread" in await verbs.device_list_properties(session, "virtio-blk-pci")
        schema = await verbs.query_qmp_schema(session)
        assert len(schema) > 500
        assert (await verbs.query_status(session)).status == "prelaunch"
        with pytest.raises(QmpRefused) as caught:
            await session.execute("frobnicate", timeout_s=10)
        assert caught.value.error_class == "CommandNotFound"
        await verbs.quit_(session)
        await session.wait_closed()
        seen = [lifecycle_event_of(event) async for event in session.events()]
    assert seen == [Shutdown(guest=False, reason="host-qmp-quit")]


async def test_a_machine_tells_its_threads_memory_and_disks(q35: Qemu) -> None:
    stream = await connect_unix(q35.path, timeout_s=10)
    async with open_session(stream, greeting_timeout_s=30) as session:
        vcpus = await verbs.query_cpus_fast(session)
        assert [(vcpu.vcpu_index, vcpu.socket_id, vcpu.core_id) for vcpu in vcpus] == [
            (0, 0, 0),
            (1, 0, 1),
            (2, 1, 0),
            (3, 1, 1),
        ]
        (iothread,) = await verbs.query_iothreads(session)
        threads = {int(name) for name in os.listdir(f"/proc/{q35.process.pid}/task")}
        assert {vcpu.thread_id for vcpu in vcpus} | {iothread.thread_id} <= threads
        (backend,) = await verbs.query_memdev(session)
        assert backend.size_bytes == (await verbs.query_memory_size_summary(session)).base_bytes == 64 * 2**20
        assert not (await verbs.query_kvm(session)).enabled
        (frontend,) = await verbs.query_block(session)
        (counters,) = await verbs.query_blockstats(session)
        (node,) = await verbs.query_named_block_nodes(session)
        assert frontend.node_name == counters.node_name == node.node_name == "d0"
        assert "CPU #3" in await verbs.human_monitor_command(session, "info cpus")
        await verbs.system_reset(session)
        await verbs.cont(session)
        assert (await verbs.query_status(session)).running
        await verbs.stop(session)
        assert (await verbs.query_status(session)).status == "paused"
        names = [(await session.events().receive()).name for _ in range(3)]
    assert names == ["RESET", "RESUME", "STOP"]


async def test_a_killed_qemu_leaves_fifty_commands_with_unknown_outcome(qemu: Qemu) -> None:
    lost: list[QmpLost] = []

    async def ask(session: QmpSession) -> None:
        with pytest.raises(QmpLost) as caught:
            await session.execute("query-status", timeout_s=60)
        lost.append(caught.value)

    stream = await connect_unix(qemu.path, timeout_s=10)
    async with open_session(stream, greeting_timeout_s=30) as session:
        qemu.process.send_signal(signal.SIGSTOP)
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask, session)
            await trio.testing.wait_all_tasks_blocked()
            qemu.process.kill()
        await session.wait_closed()
        assert [(one.code, one.command, one.outcome_known) for one in lost] == [("qmp.closed", "query-status", False)] * 50
        with pytest.raises(QmpLost) as caught:
            await session.execute("query-status", timeout_s=10)
        assert caught.value.outcome_known


async def test_a_stopped_qemu_is_silent_not_lost(qemu: Qemu) -> None:
    stream = await connect_unix(qemu.path, timeout_s=10)
    async with open_session(stream, greeting_timeout_s=30) as session:
        heard = session.silent_since
        qemu.process.send_signal(signal.SIGSTOP)
        with pytest.raises(QmpLost) as caught:
            await session.execute("query-status", timeout_s=0.1)
        assert (caught.value.code, caught.value.outcome_known) == ("qmp.timeout", False)
        assert session.silent_since == heard
        qemu.process.send_signal(signal.SIGCONT)
        assert (await verbs.query_status(session)).status == "prelaunch"
        assert session.silent_since > heard


async def test_sixty_descriptors_passed_at_once_each_reach_their_set(qemu: Qemu) -> None:
    numbers: dict[int, int] = {}

    async def pass_fd(session: QmpSession, index: int, fd: int) -> None:
        numbers[index] = await verbs.add_fd(session, fd, fdset_id=index)

    stream = await connect_unix(qemu.path, timeout_s=10)
    async with open_session(stream, greeting_timeout_s=30) as session:
        with ExitStack() as stack:
            async with trio.open_nursery() as nursery:
                for index in range(60):
                    fd = os.memfd_create(f"qsup-{index}")
                    stack.callback(os.close, fd)
                    nursery.start_soon(pass_fd, session, index, fd)
                    nursery.start_soon(partial(session.execute, "query-status", timeout_s=60))
        inside = Path(f"/proc/{qemu.process.pid}/fd")
        links = {index: os.readlink(inside / str(number)) for index, number in numbers.items()}
    assert links == {index: f"/memfd:qsup-{index} (deleted)" for index in range(60)}


async def test_a_passed_socket_turns_blocking_for_its_sender_too(qemu: Qemu) -> None:
    """Not a wish but a warning that docs/qmp.md gives: pass a duplicate made by another open, never a descriptor in use."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        stream = await connect_unix(qemu.path, timeout_s=10)
        async with open_session(stream, greeting_timeout_s=30) as session:
            await verbs.getfd(session, ours.fileno(), name="n0")
        assert os.get_blocking(ours.fileno())


async def test_a_second_client_gets_no_greeting_until_the_first_has_left(qemu: Qemu) -> None:
    first = await connect_unix(qemu.path, timeout_s=10)
    async with open_session(first, greeting_timeout_s=30):
        second = await connect_unix(qemu.path, timeout_s=10)
        with pytest.raises(QmpLost) as caught:
            async with open_session(second, greeting_timeout_s=0.2):
                pytest.fail("a monitor greeted two clients")
        assert caught.value.code == "qmp.timeout"
        third = await connect_unix(qemu.path, timeout_s=10)
    async with open_session(third, greeting_timeout_s=30) as session:
        assert (await verbs.query_status(session)).status == "prelaunch"
