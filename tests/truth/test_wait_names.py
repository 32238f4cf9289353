"""Names as an operator knows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.truth.wait_names import name_in_vm, name_of_kernel_thread, name_of_process, role_by_name

VMS = {4242: "web1"}


@pytest.mark.parametrize(
    ("comm", "name"),
    [
        ("vhost-4242", "web1 vhost"),
        ("kvm-pit/4242", "web1 kvm-pit"),
        ("kvm-nx-lpage-re-4242", "web1 kvm-nx-lpage-re"),
        ("vhost-99", "vhost-99"),
        ("kworker/3:1H-kblockd", "kworker/3H kblockd"),
        ("kworker/u8:12-events_unbound", "kworker/u8 events_unbound"),
        ("kworker/0:0+mm_percpu_wq", "kworker/0 mm_percpu_wq"),
        ("kworker/1:2", "kworker/1"),
        ("ksoftirqd/1", "ksoftirqd/1"),
        ("irq/35-nvme0q1", "irq/35-nvme0q1"),
    ],
)
def test_kernel_threads(comm: str, name: str) -> None:
    assert name_of_kernel_thread(comm, VMS) == name


@pytest.mark.parametrize(
    ("cgroup", "name"),
    [
        ("0::/system.slice/ssh.service\n", "ssh.service"),
        ("12:cpu:/x.service\n1:name=systemd:/system.slice/cron.service\n0::/\n", "cron.service"),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/build.service\n", "build.service"),
        ("0::/user.slice/user-0.slice/user@0.service/init.scope\n", "sshd[7]"),
        ("0::/user.slice/user-0.slice/session-3.scope\n", "sshd[7]"),
        ("0::/system.slice/postgresql.service/worker\n", "postgresql.service"),
        ("", "sshd[7]"),
        ("rubbish", "sshd[7]"),
    ],
)
def test_processes(cgroup: str, name: str) -> None:
    assert name_of_process("sshd", 7, cgroup) == name


@pytest.mark.parametrize(
    ("comm", "role"),
    [
        ("CPU 3/KVM", ("vcpu", "vcpu 3")),
        ("CPU 12/TCG", ("vcpu", "vcpu 12")),
        ("vhost-4242", ("vhost", "vhost")),
        ("qemu-system-x86", ("emulator", "emulator")),
        ("IO io-disk0", ("emulator", "emulator")),
    ],
)
def test_roles_where_only_the_kernel_tells(comm: str, role: tuple[str, str]) -> None:
    assert role_by_name(comm) == role


def test_threads_of_vms() -> None:
    assert name_in_vm("web3", "vcpu 2") == "web3 vCPU 2"
    assert name_in_vm("web1", "iothread io-disk0") == "web1 iothread io-disk0"


@given(st.text(max_size=30), st.text(max_size=60))
def test_any_text_gives_some_name(comm: str, cgroup: str) -> None:
    assert name_of_process(comm, 1, cgroup)
    assert isinstance(name_of_kernel_thread(comm, VMS), str)
