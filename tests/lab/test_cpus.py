"""Point 3: every thread where the plan says, before the guest's first instruction and for as long as it runs."""

from __future__ import annotations

import json

import pytest

from .qsup_host import QsupHost, halting, linux

DEDICATED = 'vcpus = 2\nthreads = 2\nplacement = "dedicated"'
HUGE = 'size = "64MiB"\nhugepages = "2MiB"'
NOT_YET = "autostart = false\ngrace_period_s = 120"
BRIDGE = "ip link add br0 type bridge; ip addr add 10.9.0.1/24 dev br0; ip link set br0 up"
DEVICES = """
[[disk]]
path = "/srv/disk.raw"
aio = "native"
[[nic]]
bridge = "br0"
vhost = true
"""
HOUSEKEEPING = "0-1"


def make_devices(host: QsupHost) -> None:
    """Make what the file names: a bridge and an image."""
    host.lab.sh(f"{BRIDGE}; truncate -s 16M /srv/disk.raw")


def role_masks(host: QsupHost, name: str) -> dict[str, set[str]]:
    """Return the masks of a VM's threads by role, the roles by qsup's word, the masks by the kernel's."""
    masks = {tid: mask for (tid, _), mask in host.masks(name).items()}
    roles: dict[str, set[str]] = {}
    for thread in host.view(name)["threads"]:
        if thread["name"] != "worker":
            roles.setdefault(thread["role"], set()).add(masks[thread["tid"]])
    return roles


def check_dedicated(host: QsupHost, name: str) -> None:
    """Check that all threads of the VM with all kinds of thread are where they belong."""
    first, second = host.vcpu_masks(name)
    assert first.isdecimal()
    assert host.siblings(first) == f"{first}-{second}"
    roles = role_masks(host, name)
    assert roles.pop("vcpu 0") == {first}
    assert roles.pop("vcpu 1") == {second}
    assert {role.split()[0] for role in roles} == {"emulator", "iothread", "vhost"}
    assert set().union(*roles.values()) == {HOUSEKEEPING}
    assert {thread["verdict"] for thread in host.view(name)["threads"]} == {"ok"}


def start_held(host: QsupHost, text: str) -> None:
    """Start a VM that is held before its first instruction."""
    make_devices(host)
    host.drop("tux", text)
    host.wait_phase("tux", "absent")
    host.qsup("start", "--paused", "tux")


@pytest.mark.smoke
def test_threads_are_placed_before_the_first_instruction(host: QsupHost) -> None:
    start_held(host, linux(cpu=DEDICATED, more=DEVICES, vm=NOT_YET))
    assert host.view("tux")["qemu_status"] == "prelaunch"
    registers = host.qsup("hmp", "tux", "info registers -a").stdout
    assert registers.count("EIP=0000fff0") == 2  # both vCPUs stand at the reset vector
    check_dedicated(host, "tux")
    placed = host.masks("tux")
    host.qsup("resume", "tux")
    host.wait_console("tux", "GUEST-READY")
    check_dedicated(host, "tux")
    assert host.masks("tux").items() >= placed.items()


@pytest.mark.smoke
def test_vhost_workers_are_kernel_threads_and_placed(host: QsupHost) -> None:
    start_held(host, halting(DEDICATED, HUGE, DEVICES, NOT_YET))
    workers = host.vhost_kthreads("tux")
    assert {worker.mask for worker in workers.values()} == {HOUSEKEEPING}
    assert not any(thread.name.startswith("vhost-") for thread in host.threads("tux").values())
    check_dedicated(host, "tux")


@pytest.mark.lab(release="trixie")
def test_vhost_workers_are_threads_of_qemu_and_placed(host: QsupHost) -> None:
    start_held(host, halting(DEDICATED, HUGE, DEVICES, NOT_YET))
    workers = [thread for thread in host.threads("tux").values() if thread.name.startswith("vhost-")]
    assert {worker.mask for worker in workers} == {HOUSEKEEPING}
    assert not host.vhost_kthreads("tux")
    check_dedicated(host, "tux")


@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.lab(release="trixie"))])
def test_threads_that_another_agent_moves_are_put_back(host: QsupHost, release: str) -> None:
    start_held(host, halting(DEDICATED, HUGE, DEVICES, NOT_YET))
    host.qsup("resume", "tux")
    placed = host.masks("tux")
    for tid, _ in placed:
        host.lab.run("taskset", "-cp", "0-7", str(tid))
    host.lab.wait_until("all are back", lambda: host.masks("tux") == placed)
    moved = " ".join(message for code, message in host.events("tux") if code == "vm.thread-moved-back")
    for role in ("vcpu 0", "vcpu 1", "iothread", "vhost", "emulator"):
        assert role in moved
    check_dedicated(host, "tux")


@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.lab(release="trixie"))])
def test_io_uring_workers_are_placed_when_they_appear(host: QsupHost, release: str) -> None:
    start_held(host, halting(DEDICATED, HUGE, DEVICES.replace("native", "io_uring"), NOT_YET))
    host.qsup("resume", "tux")

    def placed_after_flush() -> bool:
        # the flush behind a write goes to io-wq; Linux 6.1 starts its worker on all pCPUs of the node
        host.qsup("hmp", "tux", 'qemu-io -d /machine/peripheral/disk0/virtio-backend "write -f 0 4k"')
        workers = [thread for thread in host.threads("tux").values() if thread.name.startswith("iou-wrk-")]
        return bool(workers) and {worker.mask for worker in workers} == {HOUSEKEEPING}

    host.lab.wait_until("an io-wq worker is on the housekeeping pCPUs", placed_after_flush)


@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.lab(release="trixie"))])
def test_each_kind_of_thread_has_pcpus_of_its_own(host: QsupHost, release: str) -> None:
    start_held(host, halting(f'{DEDICATED}\nemulator = "7"\niothreads = "own"', HUGE, DEVICES, NOT_YET))
    held = kernels_masks(host, "tux")
    (iothread,) = held["iothread"]
    apart = {"vcpu 0": {"2"}, "vcpu 1": {"3"}, "iothread": {iothread}, "vhost": {HOUSEKEEPING}, "emulator": {"7"}}
    assert iothread in ("4", "5", "6")
    assert {kind: masks for kind, masks in held.items() if kind != "kernel"} == apart
    host.qsup("resume", "tux")
    # what the kernel makes for KVM with the guest's first instructions goes beside the emulator
    host.lab.wait_until("every thread is placed", lambda: kernels_masks(host, "tux") == {**apart, "kernel": {"7"}})
    host.lab.wait_until("all is as planned", lambda: host.qsup("verify", "tux", check=False).status == 0)
    rows = json.loads(host.qsup("verify", "tux", "--json").stdout)["threads"]
    told = {row["tid"]: row["kind"] for row in rows if row["kind"] != "worker"}
    seen = {tid: kind_of(thread.name) for tid, thread in host.all_threads("tux").items() if thread.name != "worker"}
    helpers = {"kvm-pit": "kernel", "nx-lpage-recovery": "kernel", "thread-context": "emulator"}
    assert {tid: helpers.get(kind, kind) for tid, kind in told.items()} == {tid: kind.split()[0] for tid, kind in seen.items()}


def kernels_masks(host: QsupHost, name: str) -> dict[str, set[str]]:
    """Return the masks of all threads that work for a VM by what their names say they do: the kernel's word alone."""
    threads = host.all_threads(name)
    charged = host.lab.read(f"/sys/fs/cgroup{host.cgroup_of(host.pid(name))}/cgroup.threads").split()
    assert {int(tid) for tid in charged} <= {*threads, *host.all_threads(name)}  # none is in its scope under another name
    masks: dict[str, set[str]] = {}
    for thread in threads.values():
        masks.setdefault(kind_of(thread.name), set()).add(thread.mask)
    return masks


def kind_of(thread: str) -> str:
    """Return what a thread does, by the name that QEMU or the kernel gives it."""
    if thread.startswith("CPU "):
        return f"vcpu {thread.removeprefix('CPU ').partition('/')[0]}"
    kinds = {"IO io-": "iothread", "vhost-": "vhost", "kvm-": "kernel"}
    return next((kind for begin, kind in kinds.items() if thread.startswith(begin)), "emulator")


@pytest.mark.lab(shape="one_node_no_smt")
def test_without_smt_each_vcpu_has_a_core_and_a_warning_says_so(host: QsupHost) -> None:
    view = host.run("a", halting(DEDICATED))
    masks = host.vcpu_masks("a")
    assert len(set(masks)) == 2
    assert "0" not in masks  # housekeeping
    assert "plan.smt-absent" in {warning["code"] for warning in view["warnings"]}


@pytest.mark.lab(shape="isolated")
def test_isolated_pcpus_carry_one_vcpu_each_whatever_happens_to_the_cpusets(host: QsupHost) -> None:
    make_devices(host)
    host.run("early", halting(DEDICATED, HUGE, DEVICES))
    isolated = host.vcpu_masks("early")
    assert isolated in (["2", "3"], ["6", "7"])
    placed = host.masks("early")
    # a unit that delegates makes systemd enable the cpuset controller everywhere; Linux 6.1 then widens all masks there
    host.lab.run("systemd-run", "--unit=delegating", "--property=Delegate=yes", "--slice=qsup.slice", "sleep", "infinity")
    host.lab.run("systemctl", "set-property", "--runtime", "qsup.slice", "AllowedCPUs=0-7")
    host.lab.wait_until("cpusets are in force", lambda: cpuset_of(host, "early") == "0-7")
    host.lab.wait_until("all are back", lambda: host.masks("early") == placed)
    check_dedicated(host, "early")
    host.run("late", halting(DEDICATED, HUGE))
    assert sorted([isolated, host.vcpu_masks("late")]) == [["2", "3"], ["6", "7"]]
    assert {thread["verdict"] for thread in host.view("late")["threads"]} == {"ok"}


def cpuset_of(host: QsupHost, name: str) -> str:
    """Return the pCPUs that the nearest cpuset above a VM allows; empty where there is none below the root."""
    path = f"/sys/fs/cgroup{host.cgroup_of(host.pid(name)).rpartition('/')[0]}/cpuset.cpus"
    return host.lab.run("cat", path, check=False).stdout.strip()


@pytest.mark.lab(shape="isolated")
def test_masks_that_would_collapse_on_isolated_pcpus_are_refused(host: QsupHost) -> None:
    host.drop("wide", halting('vcpus = 1\nplacement = "pinned"\npin = ["2-3"]'))
    host.lab.wait_until("it is refused", lambda: bool(host.view("wide").get("refusal")))
    (reason,) = host.view("wide")["refusal"]
    assert reason["code"] == "plan.pin-floats-on-isolated"
    assert not host.pids("wide")
    view = host.run("float", halting("vcpus = 2"))
    first, second = host.vcpu_masks("float")
    assert {first, second} <= {"4-5", "4,5"}  # neither isolated nor housekeeping
    assert view["placement"] == "shared"
