"""Point 1: qsup under systemd. Its readiness, its watchdog, scopes, and what a restart, a crash and an upgrade leave alone."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from . import wheels
from .qsup_host import QsupHost, halting
from .template import install_qsup

ASK_THE_API = """
import json, socket, sys
api = socket.socket(socket.AF_UNIX)
api.settimeout(60)
api.connect("/run/qsup/api.sock")
api.sendall(b"GET /v1/vms HTTP/1.1\\r\\nHost: qsup\\r\\nConnection: close\\r\\n\\r\\n")
answer = b"".join(iter(lambda: api.recv(65536), b""))
assert answer.startswith(b"HTTP/1.1 200"), answer
vms = json.loads(answer.partition(b"\\r\\n\\r\\n")[2])["vms"]
print(sys.argv[1], "was answered:", *(f"{vm['name']}={vm['pid']},adopted={vm['adopted']}" for vm in vms), ".", flush=True)
"""
HOOKS = "/srv/hooks"
STUCK = """
import os, signal, threading, time

def hang(number, frame):
    time.sleep(3600)

def tick():
    with open(f"/srv/hooks/ticks.{os.getpid()}", "a", buffering=1) as ticks:
        while True:
            ticks.write("tick\\n")
            time.sleep(0.1)

signal.signal(signal.SIGUSR2, hang)
threading.Thread(target=tick, daemon=True).start()
"""
"""Makes the main thread of the daemon hang at a signal that qsup does not use; its other threads live on, as this one shows."""
POLL, CLOCK_NANOSLEEP = "7", "230"  # of x86_64
HELD_ADOPTION = """
import os, sys, time

def hold(event, arguments):
    if event == "open" and str(arguments[0]).endswith("/launch.json") and not os.path.exists("/srv/hooks/go"):
        os.makedirs("/srv/hooks/held", exist_ok=True)
        while not os.path.exists("/srv/hooks/go"):
            time.sleep(0.05)

sys.addaudithook(hold)
"""
"""Whoever reads a launch record, as adoption begins, waits for a file: adoption takes as long as the test wants."""
WITNESS_SETTINGS = '[daemon]\nqemu = "/srv/witness/qemu"\n'
WITNESS = """#!/bin/sh
case "$*" in *guest=*) read -r where </proc/self/cgroup; echo "$$ $where" >>/srv/witness/seen ;; esac
exec /usr/bin/qemu-system-x86_64 "$@"
"""
"""Stands where QEMU stands: its first instruction asks the kernel where it is, and then it is QEMU, by the same process."""
MIB = 1 << 20
DEDICATED = 'vcpus = 2\nthreads = 2\nplacement = "dedicated"'
HUGE = 'size = "64MiB"\nhugepages = "2MiB"'
BRIDGE = "ip link add br0 type bridge; ip addr add 10.9.0.1/24 dev br0; ip link set br0 up"


def ask_after_ready(host: QsupHost) -> str:
    """Return the setting that asks the API right after READY=1; what fails there fails the start."""
    host.lab.write("/srv/ask.py", ASK_THE_API)
    return "ExecStartPost=/usr/bin/python3 -S -E /srv/ask.py AFTER-READY"


def hook(host: QsupHost, script: str) -> str:
    """Return the setting that makes Python run a script of the test's before it runs the daemon."""
    host.lab.write(f"{HOOKS}/sitecustomize.py", script)
    return f"Environment=PYTHONPATH={HOOKS}"


def unit_state(host: QsupHost, unit: str = "qsup") -> str:
    """Return systemd's word for what a unit is doing."""
    return host.lab.run("systemctl", "show", "-P", "SubState", unit).stdout.strip()


def syscall_of(host: QsupHost, pid: int) -> str:
    """Return the number of the system call that a process' main thread is in; "running" where it is in none."""
    return host.lab.read(f"/proc/{pid}/syscall").split()[0]


def there(host: QsupHost, path: str) -> bool:
    """Tell whether something is at this path."""
    return host.lab.run("test", "-e", path, check=False).status == 0


@pytest.mark.smoke
def test_start_returns_when_the_api_answers(host: QsupHost) -> None:
    host.stop_daemon()
    host.drop_in(ask_after_ready(host))
    host.start_daemon()
    assert "AFTER-READY was answered: ." in host.journal()
    assert host.lab.run("systemctl", "show", "--property=Type", "--value", "qsup").stdout.strip() == "notify"
    assert host.lab.run("systemctl", "is-active", "qsup-guests").stdout.strip() == "active"


@pytest.mark.smoke
def test_it_is_not_ready_before_running_vms_are_adopted(host: QsupHost) -> None:
    host.run("a", halting())
    answer = f"was answered: a={host.pid('a')},adopted=True ."
    host.drop_in(hook(host, HELD_ADOPTION) + "\n" + ask_after_ready(host))
    host.lab.run("systemctl", "restart", "--no-block", "qsup")
    host.lab.wait_until("adoption is held back", lambda: there(host, f"{HOOKS}/held"))
    assert unit_state(host) == "start"  # "start-post" once READY=1 has come, "running" after that
    host.lab.run("systemd-run", "--unit=early", "/usr/bin/python3", "-S", "-E", "/srv/ask.py", "EARLY")
    early = int(host.lab.run("systemctl", "show", "-P", "MainPID", "early").stdout)
    host.lab.wait_until("somebody waits for an answer", lambda: syscall_of(host, early) == POLL)
    assert unit_state(host) == "start"
    assert "was answered" not in host.lab.journal("-b")
    host.lab.run("touch", f"{HOOKS}/go")
    host.lab.wait_until("systemd takes it for ready", lambda: unit_state(host) == "running")
    assert f"AFTER-READY {answer}" in host.journal()
    host.lab.wait_until("the early one has its answer", lambda: f"EARLY {answer}" in host.lab.journal("-b", "-u", "early"))


def test_a_daemon_without_its_api_is_never_ready(host: QsupHost) -> None:
    host.stop_daemon()
    host.lab.sh("rm -f /run/qsup/api.sock; mkdir -p /run/qsup/api.sock/in-the-way")
    host.drop_in("Restart=no")
    assert host.lab.run("systemctl", "start", "qsup", check=False).status != 0
    assert "api.sock" in host.journal()


def test_the_watchdog_restarts_a_daemon_whose_loop_is_stuck(host: QsupHost) -> None:
    host.stop_daemon()
    host.drop_in(f"WatchdogSec=10\nTimeoutAbortSec=3\n{hook(host, STUCK)}")
    host.start_daemon()
    host.run("a", halting())
    before, daemon = host.identity("a"), host.main_pid()

    def ticks() -> int:
        return host.lab.read(f"{HOOKS}/ticks.{daemon}").count("tick")

    host.lab.run("kill", "-USR2", str(daemon))
    host.lab.wait_until("its main thread hangs", lambda: syscall_of(host, daemon) == CLOCK_NANOSLEEP)
    when_stuck = ticks()
    host.lab.wait_until("systemd has another daemon", lambda: host.main_pid() not in (0, daemon))
    host.wait_daemon()
    assert ticks() > when_stuck + 10  # its other threads went on for as long as systemd was patient
    assert "Watchdog timeout" in host.journal()
    assert "status=6/ABRT" in host.journal()
    assert host.identity("a") == before
    assert host.wait_phase("a", "running")["adopted"]


@pytest.mark.smoke
def test_qemu_is_in_its_scope_from_its_first_instruction(host: QsupHost) -> None:
    service = "/system.slice/qsup.service"
    host.stop_daemon()
    host.lab.write("/srv/witness/qemu", WITNESS)
    host.lab.sh("chmod 755 /srv/witness/qemu; chmod 1777 /srv/witness")  # QEMU runs under a uid of its own
    host.lab.write("/etc/qsup/settings.toml", WITNESS_SETTINGS)
    host.start_daemon()
    view = host.run("a", halting(memory='size = "256MiB"\nprealloc = true'))
    pid = host.pid("a")
    assert host.lab.read("/srv/witness/seen") == f"{pid} 0::/qsup.slice/qsup-a.scope\n"
    assert view["scope"] == "qsup-a.scope"
    assert host.cgroup_of(pid) == "/qsup.slice/qsup-a.scope"
    # memory is charged to the cgroup in which it is touched first, and stays there: preallocation comes right after exec
    assert host.memory_charged("/qsup.slice/qsup-a.scope") > 256 * MIB
    assert host.memory_charged(service, "peak") < 256 * MIB
    assert host.lab.run("systemctl", "show", "-P", "Before", "qsup-a.scope").stdout.split().count("qsup-guests.service") == 1
    members = host.lab.read(f"/sys/fs/cgroup{service}/cgroup.procs").split()
    assert str(pid) not in members
    host.qsup("stop", "a", "--force")
    assert host.lab.run("systemctl", "is-active", "qsup-a.scope", check=False).stdout.strip() == "inactive"


@pytest.mark.smoke
@pytest.mark.parametrize("way", ["restart", "kill"])
def test_vms_outlive_the_daemon(host: QsupHost, way: str) -> None:
    host.lab.sh(BRIDGE)
    host.run("huge", halting(DEDICATED, HUGE, '[[nic]]\nbridge = "br0"'))
    host.run("plain", halting(memory='size = "64MiB"\nprealloc = true'))
    before, daemon = picture(host, "huge", "plain"), host.main_pid()
    if way == "restart":
        host.lab.run("systemctl", "restart", "qsup")
    else:
        host.lab.run("systemctl", "kill", "--signal=KILL", "qsup")
        host.lab.wait_until("systemd has another daemon", lambda: host.main_pid() not in (0, daemon))
        host.wait_daemon()
    assert host.main_pid() != daemon
    check_adopted(host, before, "huge", "plain")


@pytest.mark.smoke
def test_an_upgrade_of_the_wheel_leaves_vms_running(host: QsupHost, tmp_path: Path) -> None:
    host.run("huge", halting(DEDICATED, HUGE))
    before = picture(host, "huge")
    install_qsup(host.lab, newer_wheel(tmp_path))
    host.lab.run("systemctl", "restart", "qsup")
    assert json.loads(host.qsup("status", "--json").stdout)["version"] == NEWER
    check_adopted(host, before, "huge")
    host.qsup("restart", "huge", "--force")
    assert host.wait_phase("huge", "running")["adopted"] is False


NEWER = "99.0.1"


def newer_wheel(folder: Path) -> Path:
    """Make a wheel of the next version of qsup: the one under test, under another number everywhere."""
    wheel = wheels.qsup_wheel()
    version = wheel.name.split("-")[1]
    newer = folder / wheel.name.replace(version, NEWER)
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(newer, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename == "qsup/__init__.py" or ".dist-info/" in entry.filename:
                data = data.replace(version.encode(), NEWER.encode())
            target.writestr(entry.filename.replace(version, NEWER), data)
    return newer


def picture(host: QsupHost, *names: str) -> dict[str, object]:
    """Return what must not change: processes, masks, cgroups, links with their ports, pools."""
    seen: dict[str, object] = {}
    for name in names:
        seen[name] = host.identity(name), host.masks(name), host.cgroup_of(host.pid(name)), host.memory_by_node(name)
    seen["links"] = [
        (link["ifindex"], link["ifname"], link.get("master")) for link in json.loads(host.lab.run("ip", "-json", "link").stdout)
    ]
    seen["pools"] = [host.pool(node, 2048, key) for node in range(host.lab.shape.nodes) for key in ("nr", "free")]
    return seen


def check_adopted(host: QsupHost, before: dict[str, object], *names: str) -> None:
    """Check that nothing has changed, and that the new daemon knows its VMs."""
    for name in names:
        view = host.wait_phase(name, "running")
        assert view["adopted"]
        assert view["pid"] == host.pid(name)
        assert {thread["verdict"] for thread in view["threads"]} == {"ok"}
    assert picture(host, *names) == before
