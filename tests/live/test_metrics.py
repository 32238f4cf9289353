"""Metrics of real VMs over both sockets; the numbers of a hung one stay."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.live.harness import Daemon, running_daemon, until
from tests.live.views import wait_view

pytestmark = [pytest.mark.live, pytest.mark.root]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def scrape(connection: socket.socket) -> dict[str, Metric]:
    connection.settimeout(60)
    with connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        parts = iter(lambda: connection.recv(65536), b"")
        head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


def over_unix(daemon: Daemon) -> dict[str, Metric]:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(daemon.run_dir / "api.sock"))
    return scrape(connection)


def value_of(family: Metric, **labels: str) -> float:
    (value,) = [sample.value for sample in family.samples if labels.items() <= sample.labels.items()]
    return float(value)


def test_a_hung_vm_keeps_its_numbers_on_both_sockets(open_dir: Path) -> None:
    port = free_port()
    image = open_dir / "disk.raw"
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", str(image), "1M"], check=True)
    image.chmod(0o666)
    with running_daemon(open_dir, f'[daemon]\nunresponsive_after_s = 2\nmetrics_address = "127.0.0.1:{port}"\n') as daemon:
        daemon.drop("web1", daemon.halting(f'[[disk]]\npath = "{image}"'))
        pid = daemon.wait_phase("web1", "running")["pid"]
        first = until(lambda: with_latencies(over_unix(daemon)), "the disks have been asked, and count latencies")
        assert value_of(first["qsup_vm_disk_read_bytes"], vm="web1", disk="disk0") >= 0
        assert value_of(first["qsup_vm_threads_in_place"], **{"class": "vcpu"}) == 1
        assert value_of(first["qsup_vm_start_stage_seconds"], stage="greeting") > 0
        assert value_of(first["qsup_vm_resident_bytes"], vm="web1") > 1 << 20
        assert value_of(first["qsup_vm_disk_latency_seconds"], operation="read", le="+Inf") >= 0
        assert value_of(first["qsup_vm_memory_bytes"]) == 32 << 20
        assert value_of(first["qsup_vm_kvm_exits"]) >= 0
        assert value_of(first["qsup_vm_kvm_exits_by_cause"], cause="halt") >= 0
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_view(daemon, "web1", lambda view: view["phase"] == "unresponsive", "its silence is noticed")
            hung = scrape(socket.create_connection(("127.0.0.1", port), 30))
            assert value_of(hung["qsup_vm_silent_seconds"], vm="web1") > 0
            assert value_of(hung["qsup_vm_phase"], vm="web1", phase="unresponsive") == 1
            assert value_of(hung["qsup_vm_threads"], **{"class": "vcpu"}) == 1
            assert value_of(hung["qsup_vm_disk_sample_age_seconds"], vm="web1") > 0
            assert "qsup_vm_disk_read_bytes" in hung
        finally:
            os.kill(pid, signal.SIGCONT)


def with_latencies(seen: dict[str, Metric]) -> dict[str, Metric] | None:
    return seen if "qsup_vm_disk_latency_seconds" in seen else None


def test_a_port_that_is_taken_is_said_before_anything_runs(open_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        daemon = Daemon(open_dir, f'[daemon]\nmetrics_address = "127.0.0.1:{server.getsockname()[1]}"\n')
        with pytest.raises(AssertionError, match=r"the daemon ended with 1:[^$]*api.cannot-listen-tcp"):
            daemon.start()
