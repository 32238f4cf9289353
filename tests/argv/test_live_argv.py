"""The command line against the real QEMU of this machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from qsup.argv.build import build
from qsup.argv.caps import QemuCaps
from qsup.argv.missing import missing_capabilities
from qsup.argv.option import Argv
from qsup.bytesize import MIB
from qsup.plan.vmplan import BootPlan, DiskPlan, ImagePlan, IothreadPlan, VmPlan
from tests.argv.guests import HALT, PANIC, TALK, write_kernel, write_rom
from tests.argv.live_qemu import Died, LiveQemu, connected, has_kvm, has_qemu, is_root, open_tap, real_caps, running
from tests.argv.plans import disk, guest_node, huge_node, nic, vm_plan

pytestmark = [pytest.mark.live, pytest.mark.skipif(not has_qemu(), reason="no qemu-system-x86_64 here")]

needs_root = pytest.mark.skipif(not is_root(), reason="needs root")
needs_kvm = pytest.mark.skipif(not has_kvm(), reason="/dev/kvm cannot be opened")
POOL = Path("/sys/devices/system/node/node0/hugepages/hugepages-2048kB")
OVMF = (Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd"))
_numbers = count()


@pytest.fixture(scope="module")
def caps() -> QemuCaps:
    return real_caps()


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory whose path is short enough for sockets and which another uid may pass."""
    path = Path(tempfile.mkdtemp(prefix="qsup-argv-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def plan_in(room: Path, caps: QemuCaps, **changes: Any) -> VmPlan:
    """A TCG guest that halts at once."""
    defaults: dict[str, Any] = {"machine": caps.machine_aliases["q35"], "accel": "tcg", "cpu_model": "qemu64"}
    if "boot" not in changes:
        defaults["boot"] = BootPlan(bios=write_rom(room / "halt.rom", HALT))
    return vm_plan(str(room), **(defaults | changes))


def built(plan: VmPlan, caps: QemuCaps) -> Argv:
    assert missing_capabilities(plan, caps) == ()
    return build(plan, caps)


def create_image(path: Path, kind: str, below: Path | None = None, below_kind: str = "qcow2") -> ImagePlan:
    backing = [] if below is None else ["-b", str(below), "-F", below_kind]
    size = [] if below is not None else ["8M"]
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, *backing, str(path), *size], check=True)
    path.chmod(0o600)
    return ImagePlan(str(path), "raw" if kind == "raw" else "qcow2", readonly=False)


def chain_in(room: Path) -> tuple[ImagePlan, ...]:
    """qcow2 on qcow2 on raw."""
    base = create_image(room / "base.raw", "raw")
    middle = create_image(room / "middle.qcow2", "qcow2", room / "base.raw", "raw")
    top = create_image(room / "top.qcow2", "qcow2", room / "middle.qcow2")
    return top, evolve(middle, readonly=True), evolve(base, readonly=True)


def nodes_of(qemu: LiveQemu) -> dict[str, dict[str, Any]]:
    return {node["node-name"]: node for node in qemu.ask("query-named-block-nodes", flat=True)}


@pytest.mark.parametrize("board", ["q35", "pc"])
@pytest.mark.parametrize("accel", ["tcg", pytest.param("kvm", marks=needs_kvm)])
def test_the_smallest_vm_is_held_before_its_first_instruction(room: Path, caps: QemuCaps, board: str, accel: str) -> None:
    plan = plan_in(room, caps, machine=caps.machine_aliases[board], accel=accel, name="a,b")
    with running(built(plan, caps)) as qemu:
        assert qemu.ask("query-status")["status"] == "prelaunch"
        assert qemu.ask("query-name") == {"name": "a,b"}
        assert qemu.ask("query-uuid") == {"UUID": plan.uuid}
        assert qemu.ask("query-kvm")["enabled"] is (accel == "kvm")
        assert len(qemu.ask("query-cpus-fast")) == 2
        (backend,) = qemu.ask("query-memdev")
        assert (backend["id"], backend["size"], backend["prealloc"]) == ("mem0", 64 * MIB, False)
        assert (backend["merge"], backend["dump"]) == (False, False)
        qemu.ask("cont")
        assert qemu.ask("query-status")["status"] == "running"


@pytest.mark.parametrize(
    ("cache", "aio"),
    [
        ("none", "native"),
        ("none", "io_uring"),
        ("directsync", "threads"),
        ("writeback", "threads"),
        ("writethrough", "io_uring"),
        ("unsafe", "threads"),
    ],
)
def test_a_chain_in_every_cache_mode(room: Path, caps: QemuCaps, cache: str, aio: str) -> None:
    chained = disk(0, chain_in(room), cache=cache, aio=aio, serial="root", iothread_id="iothread0")
    plan = plan_in(room, caps, disks=(chained,), iothreads=(IothreadPlan("iothread0", frozenset({0})),))
    direct = cache in {"none", "directsync"}
    with running(built(plan, caps)) as qemu:
        nodes = nodes_of(qemu)
        assert set(nodes) == {f"disk0.{depth}{kind}" for depth in range(3) for kind in ("", ".file")}
        assert {name for name, node in nodes.items() if not node["ro"]} == {"disk0.0", "disk0.0.file"}
        for node in nodes.values():
            assert (node["cache"]["direct"], node["cache"]["no-flush"]) == (direct, cache == "unsafe")
        (device,) = qemu.ask("query-block")
        assert device["inserted"]["node-name"] == "disk0.0"
        assert qemu.ask("qom-get", path="/machine/peripheral/disk0", property="serial") == "root"
        assert qemu.ask("qom-get", path="/machine/peripheral/disk0", property="write-cache") == (
            "off" if cache in {"writethrough", "directsync"} else "on"
        )
        assert [thread["id"] for thread in qemu.ask("query-iothreads")] == ["iothread0"]
        flags = {_open_flags(qemu, image.path) & os.O_DIRECT for image in chained.chain}
        assert flags == {os.O_DIRECT if direct else 0}


def test_an_image_in_use_is_locked_against_others(room: Path, caps: QemuCaps) -> None:
    chain = chain_in(room)
    with running(built(plan_in(room, caps, disks=(disk(0, chain),)), caps)):
        done = subprocess.run(["qemu-img", "info", chain[0].path], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "lock" in done.stderr


def test_a_read_only_disk(room: Path, caps: QemuCaps) -> None:
    image = evolve(create_image(room / "data.raw", "raw"), readonly=True)
    with running(built(plan_in(room, caps, disks=(disk(0, (image,), readonly=True),)), caps)) as qemu:
        assert all(node["ro"] for node in nodes_of(qemu).values())


def test_a_descriptor_with_other_rights_than_the_image_is_refused(room: Path, caps: QemuCaps) -> None:
    image = create_image(room / "data.raw", "raw")
    argv = built(plan_in(room, caps, disks=(disk(0, (image,)),)), caps)
    fds = tuple(evolve(need, readonly=True) if need.kind == "image" else need for need in argv.fds)
    said = r"Could not dup FD for /dev/fdset/1000|Failed to find file descriptor"  # QEMU 7.2, 10.0
    with pytest.raises(Died, match=said), running(evolve(argv, fds=fds)):
        pass


@pytest.mark.root
@needs_root
def test_a_block_device(room: Path, caps: QemuCaps) -> None:
    backing = create_image(room / "device.raw", "raw")
    with loop_device(backing.path) as device:
        image = ImagePlan(device, "raw", readonly=False, block_device=True)
        plan = plan_in(room, caps, disks=(disk(0, (image,)),))
        with running(built(plan, caps), unprivileged=True) as qemu:
            assert nodes_of(qemu)["disk0.0.file"]["drv"] == "host_device"


@pytest.mark.root
@needs_root
def test_a_uid_without_any_right_opens_its_images_and_log(room: Path, caps: QemuCaps) -> None:
    disks: tuple[DiskPlan, ...] = (disk(0, chain_in(room)), disk(1, (create_image(room / "data.raw", "raw"),), aio="io_uring"))
    with running(built(plan_in(room, caps, disks=disks), caps), unprivileged=True) as qemu:
        status = Path(f"/proc/{qemu.process.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["Uid"].split() == ["65534"] * 4
        assert (fields["CapEff"], fields["NoNewPrivs"], fields["Seccomp"]) == ("0" * 16, "1", "2")
        assert len(nodes_of(qemu)) == 8
        qemu.ask("cont")


@pytest.mark.root
@needs_root
def test_a_firmware_that_the_uid_may_not_read_ends_qemu(room: Path, caps: QemuCaps) -> None:
    plan = plan_in(room, caps, boot=BootPlan(bios=write_rom(room / "secret.rom", HALT, 0o600)))
    with pytest.raises(Died, match="/proc/self/fd/"), running(built(plan, caps), unprivileged=True):
        pass


@pytest.mark.root
@needs_root
def test_two_guest_nodes_on_hugepages(room: Path, caps: QemuCaps) -> None:
    nodes = (huge_node(0, (0,), distances=(10, 21)), huge_node(1, (1,), distances=(21, 10), prealloc_pcpus=frozenset({0})))
    with more_hugepages(16), running(built(plan_in(room, caps, guest_nodes=nodes), caps), unprivileged=True) as qemu:
        backends = {backend["id"]: backend for backend in qemu.ask("query-memdev")}
        assert set(backends) == {"mem0", "mem1"}
        for backend in backends.values():
            assert backend["host-nodes"] == [0]
            assert (backend["policy"], backend["prealloc"], backend["share"]) == ("bind", True, True)
            assert backend["size"] == 16 * MIB
        assert [vcpu["props"]["node-id"] for vcpu in qemu.ask("query-cpus-fast")] == [0, 1]
        threads = [qemu.ask("qom-get", path=f"/objects/prealloc{number}", property="thread-id") for number in (0, 1)]
        assert [os.sched_getaffinity(thread) for thread in threads] == [{0, 1}, {0}]
        assert _hugepages_of(qemu) == 16


def test_base_pages_with_a_policy(room: Path, caps: QemuCaps) -> None:
    node = guest_node(host_nodes=(0,), policy="preferred", prealloc=True, prealloc_pcpus=frozenset({0}))
    with running(built(plan_in(room, caps, guest_nodes=(node,)), caps)) as qemu:
        (backend,) = qemu.ask("query-memdev")
        assert (backend["policy"], backend["host-nodes"], backend["prealloc"]) == ("preferred", [0], True)


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("vhost", [False, True])
def test_nics(room: Path, caps: QemuCaps, vhost: bool) -> None:
    if vhost and not os.access("/dev/vhost-net", os.R_OK | os.W_OK):
        pytest.skip("no /dev/vhost-net here")
    wide, plain = nic(0, queues=2, mtu=1400, vhost=vhost), nic(1, boot_index=1, vhost=vhost)
    names = [f"qa{os.getpid()}x{next(_numbers)}" for _ in range(2)]
    taps = {f"net0.tap{queue}": open_tap(names[0], several=True) for queue in range(2)}
    taps["net1.tap0"] = open_tap(names[1], several=False)
    with running(built(plan_in(room, caps, nics=(wide, plain)), caps), unprivileged=True, taps=taps) as qemu:
        text = qemu.ask("human-monitor-command", **{"command-line": "info network"})
        assert text.count("type=tap") == 3
        assert qemu.ask("qom-get", path="/machine/peripheral/net0", property="host_mtu") == 1400
        assert qemu.ask("qom-get", path="/machine/peripheral/net0", property="mq") is True
        assert {Path(f"/sys/class/net/{name}").exists() for name in names} == {True}


@pytest.mark.skipif(not all(path.exists() for path in OVMF), reason="no OVMF here")
@pytest.mark.parametrize("board", ["q35", "pc"])
def test_uefi_has_variables_of_its_own(room: Path, caps: QemuCaps, board: str) -> None:
    variables = shutil.copy(OVMF[1], room / "vars.fd")
    boot = BootPlan(uefi_code=str(OVMF[0]), uefi_vars=str(variables))
    with running(built(plan_in(room, caps, boot=boot, machine=caps.machine_aliases[board]), caps)) as qemu:
        nodes = nodes_of(qemu)
        assert (nodes["uefi-code"]["ro"], nodes["uefi-vars"]["ro"]) == (True, False)
        qemu.ask("cont")
        assert qemu.ask("query-status")["status"] == "running"


def test_a_kernel_beside_disks(room: Path, caps: QemuCaps) -> None:
    (room / "initrd").write_bytes(b"initrd")
    boot = BootPlan(kernel=write_kernel(room / "kernel"), initrd=str(room / "initrd"), cmdline="a=1,2 @fd:qmp@")
    image = create_image(room / "data.raw", "raw")
    with running(built(plan_in(room, caps, boot=boot, disks=(disk(0, (image,)),)), caps)) as qemu:
        assert qemu.ask("query-status")["status"] == "prelaunch"
        assert "a=1,2 @fd:qmp@" in Path(f"/proc/{qemu.process.pid}/cmdline").read_text().split("\0")


def test_a_panic_stays_readable(room: Path, caps: QemuCaps) -> None:
    plan = plan_in(room, caps, boot=BootPlan(bios=write_rom(room / "panic.rom", PANIC)))
    with running(built(plan, caps)) as qemu:
        qemu.ask("cont")
        qemu.qmp.wait_event("GUEST_PANICKED")
        assert qemu.ask("query-status")["status"] == "guest-panicked"


@pytest.mark.root
@needs_root
def test_a_full_log_does_not_disturb_the_guest(room: Path, caps: QemuCaps) -> None:
    plan = plan_in(room, caps, boot=BootPlan(bios=write_rom(room / "talk.rom", TALK)))
    log = Path(plan.paths.serial_log)
    with small_tmpfs(Path(plan.paths.log_dir)), running(built(plan, caps), unprivileged=True) as qemu:
        qemu.ask("cont")
        with connected(plan.paths.console_socket) as console:
            received = 0
            while received < 64 * 1024:
                chunk = console.recv(4096)
                assert set(chunk) == {ord("A")}
                received += len(chunk)
        assert log.stat().st_size == 16 * 1024, "all that the file system holds, and no more"
        assert qemu.ask("query-status")["status"] == "running"


@contextmanager
def loop_device(path: str) -> Iterator[str]:
    done = subprocess.run(["losetup", "-f", "--show", path], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no loop device here: {done.stderr.strip()}")
    try:
        yield done.stdout.strip()
    finally:
        subprocess.run(["losetup", "-d", done.stdout.strip()], check=True)


@contextmanager
def small_tmpfs(path: Path) -> Iterator[None]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=0700", "tmpfs", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


@contextmanager
def more_hugepages(pages: int) -> Iterator[None]:
    """The pool of host node 0 grown by 2 MiB pages, and shrunk by the same afterwards; tests of ours take turns."""
    with Path("/tmp/qsup-test-hugepages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = int((POOL / "nr_hugepages").read_text())
        (POOL / "nr_hugepages").write_text(str(before + pages))
        grown = int((POOL / "nr_hugepages").read_text()) - before
        try:
            if grown < pages:
                pytest.skip(f"the kernel gave {grown} of {pages} hugepages")
            yield
        finally:
            now = int((POOL / "nr_hugepages").read_text())
            (POOL / "nr_hugepages").write_text(str(now - grown))


def _hugepages_of(qemu: LiveQemu) -> int:
    """Pages of 2 MiB that the process has mapped."""
    lines = Path(f"/proc/{qemu.process.pid}/smaps_rollup").read_text().splitlines()
    kib = sum(int(line.split()[1]) for line in lines if line.startswith(("Shared_Hugetlb", "Private_Hugetlb")))
    return kib // 2048


def _open_flags(qemu: LiveQemu, path: str) -> int:
    """The open file description's flags of the one descriptor (or its dups) on the file."""
    found = set()
    for link in Path(f"/proc/{qemu.process.pid}/fd").iterdir():
        if os.readlink(link) == path:
            info = Path(f"/proc/{qemu.process.pid}/fdinfo/{link.name}").read_text()
            found.add(int(info.split("flags:")[1].split()[0], 8))
    (flags,) = found
    return flags
