"""Point 1: qsup under systemd. Its readiness, its watchdog, scopes, what a restart leaves alone, and how the host goes down."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest

from . import wheels
from .qsup_host import QsupHost, halting, linux
from .recipe import PROJECT
from .template import install_qsup

ASK_THE_API = """
import socket
api = socket.socket(socket.AF_UNIX)
api.settimeout(20)
api.connect("/run/qsup/api.sock")
api.sendall(b"GET /v1/host HTTP/1.1\\r\\nHost: qsup\\r\\nConnection: close\\r\\n\\r\\n")
answer = api.recv(65536)
assert answer.startswith(b"HTTP/1.1 200"), answer
print("the API answered at once", flush=True)
"""
MIB = 1 << 20
DEDICATED = 'vcpus = 2\nthreads = 2\nplacement = "dedicated"'
HUGE = 'size = "64MiB"\nhugepages = "2MiB"'
BRIDGE = "ip link add br0 type bridge; ip addr add 10.9.0.1/24 dev br0; ip link set br0 up"


def drop_in(host: QsupHost, text: str) -> None:
    """Add settings to qsup.service, as an operator does."""
    host.lab.write("/etc/systemd/system/qsup.service.d/test.conf", f"[Service]\n{text}\n")
    host.lab.run("systemctl", "daemon-reload")


@pytest.mark.smoke
def test_start_returns_when_the_api_answers(host: QsupHost) -> None:
    host.stop_daemon()
    host.lab.write("/srv/ask.py", ASK_THE_API)
    # ExecStartPost runs right after READY=1, and what fails in it fails the start
    drop_in(host, "ExecStartPost=/usr/bin/python3 -S -E /srv/ask.py")
    host.start_daemon()
    assert "the API answered at once" in host.journal()
    assert host.lab.run("systemctl", "show", "--property=Type", "--value", "qsup").stdout.strip() == "notify"
    assert host.lab.run("systemctl", "is-active", "qsup-guests").stdout.strip() == "active"


def test_a_daemon_without_its_api_is_never_ready(host: QsupHost) -> None:
    host.stop_daemon()
    host.lab.sh("rm -f /run/qsup/api.sock; mkdir -p /run/qsup/api.sock/in-the-way")
    drop_in(host, "Restart=no")
    assert host.lab.run("systemctl", "start", "qsup", check=False).status != 0
    assert "api.sock" in host.journal()


def test_the_watchdog_restarts_a_daemon_whose_loop_is_stuck(host: QsupHost) -> None:
    host.stop_daemon()
    drop_in(host, "WatchdogSec=10\nTimeoutAbortSec=3")
    host.start_daemon()
    host.run("a", halting())
    before, daemon = host.identity("a"), host.main_pid()
    host.lab.run("kill", "-STOP", str(daemon))
    host.lab.wait_until("systemd has another daemon", lambda: host.main_pid() not in (0, daemon))
    host.wait_daemon()
    assert "Watchdog timeout" in host.journal()
    assert host.identity("a") == before
    assert host.wait_phase("a", "running")["adopted"]


@pytest.mark.smoke
def test_qemu_is_in_its_scope_from_its_first_instruction(host: QsupHost) -> None:
    service = "/system.slice/qsup.service"
    view = host.run("a", halting(memory='size = "256MiB"\nprealloc = true'))
    pid = host.pid("a")
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


@pytest.mark.parametrize(
    "daemon", [pytest.param("alive", marks=pytest.mark.smoke), pytest.param("dead", marks=pytest.mark.smoke), "hangs"]
)
def test_poweroff_shuts_guests_down_before_network_and_storage_go(host: QsupHost, daemon: str) -> None:
    install_witnesses(host)
    host.lab.run("systemctl", "enable", "qsup", "qsup-guests")
    host.run("tux", linux())
    host.run("deaf", halting(vm="grace_period_s = 3"))  # it does not hear its power button: its time ends it, not the host's
    host.wait_console("tux", "GUEST-READY")
    host.lab.run("systemd-run", "--unit=watch-tux", "--property=DefaultDependencies=no", "tail", "-F", serial_log("tux"))
    if daemon == "dead":
        host.lab.run("systemctl", "stop", "qsup")
    elif daemon == "hangs":
        host.lab.run("systemctl", "kill", "--signal=STOP", "qsup")
    host.lab.power_off()
    journal = host.lab.streamed_journal()
    lines = [
        "GUEST-POWERDOWN",  # the guest's own words, on its own console
        "Stopped qsup-guests.service",
        "WITNESS-NETWORK goes",
        "WITNESS-STORAGE goes",
    ]
    assert_in_order(journal, *lines[:3])
    assert_in_order(journal, lines[1], lines[3])
    assert "tux: QEMU gets" not in journal  # neither SIGTERM nor SIGKILL: it went by itself, in its time
    assert ".scope: Killing process" not in journal
    assert ".scope: Stopping timed out" not in journal
    assert "qsup-guests.service: Failed" not in journal
    host.lab.power_on()
    host.wait_phase("tux", "running")  # qsup stopped it for the host's sake: it is wanted again


WITNESS = """[Unit]
Description=Says when {what} goes
{order}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStop=/bin/echo WITNESS-{what} goes
"""


def install_witnesses(host: QsupHost) -> None:
    """Start units that stand where a network and a storage service stand, and say when they are stopped."""
    for what, order in (
        ("NETWORK", "Before=network.target\nWants=network.target"),
        ("STORAGE", "Before=remote-fs.target\nWants=remote-fs.target"),
    ):
        host.lab.write(f"/etc/systemd/system/witness-{what.lower()}.service", WITNESS.format(what=what, order=order))
    host.lab.sh("systemctl daemon-reload; systemctl start witness-network witness-storage")


def serial_log(name: str) -> str:
    """Return where a VM's console is kept."""
    return f"/run/qsup/vms/{name}/log/serial.log"


def assert_in_order(text: str, *parts: str) -> None:
    """Check that the text holds all parts, each after the one before."""
    position = 0
    for part in parts:
        found = text.find(part, position)
        assert found >= 0, f"{part!r} does not come after the parts before it ({parts}):\n{text[-6000:]}"
        position = found + len(part)


def test_guests_write_where_services_often_may_not(host: QsupHost) -> None:
    host.lab.sh("truncate -s 64M /srv/fs.img; mkfs.ext4 -q /srv/fs.img; mkdir -p /mnt/late /home/operator")
    host.lab.sh("mount -o loop /srv/fs.img /mnt/late")  # a mount made after qsup started
    folders = {"srv": "/srv", "home": "/home/operator", "late": "/mnt/late"}
    for name, folder in folders.items():
        host.lab.sh(f"truncate -s 4M {folder}/{name}.raw")
        host.drop(name, linux(f"lab.write=word-{name}", more=f'[[disk]]\npath = "{folder}/{name}.raw"'))
    for name in folders:
        host.wait_console(name, f"GUEST-WROTE word-{name}")
    for name, folder in folders.items():
        assert f"word-{name}" in host.lab.sh(f"dd if={folder}/{name}.raw bs=512 skip=2048 count=1 status=none | tr -d '\\0'")


def test_an_emulated_vm_runs_under_the_shipped_unit(host: QsupHost) -> None:
    view = host.run("tcg", halting(more='[machine]\naccel = "tcg"'))
    assert view["accel"] == "tcg"
    words = host.lab.read(f"/proc/{host.pid('tcg')}/cmdline").split("\0")
    assert words[words.index("-accel") + 1].startswith("tcg")


@pytest.mark.smoke
def test_the_units_are_sound_and_every_directive_left_off_has_its_reason(
    host: QsupHost, capsys: pytest.CaptureFixture[str]
) -> None:
    units = ("qsup.service", "qsup-guests.service", "qsup.slice")
    done = host.lab.run(
        "systemd-analyze", "verify", "--man=no", *(f"/etc/systemd/system/{unit}" for unit in units), check=False
    )
    assert (done.status, done.stdout + done.stderr) == (0, "")
    with capsys.disabled():
        print("\n" + host.lab.run("systemd-analyze", "security", "--no-pager", "qsup.service").stdout)
    findings = json.loads(host.lab.run("systemd-analyze", "security", "--json=short", "qsup.service").stdout)
    left_off = {directive_of(finding) for finding in findings if finding["set"] is False}
    reasons = (PROJECT / "docs/systemd.md").read_text()
    assert left_off, findings
    assert {directive for directive in left_off if directive not in reasons} == set()


def directive_of(finding: dict[str, str]) -> str:
    """Return the directive that a line of `systemd-analyze security` is about."""
    return re.split(r"[=_/]", finding["name"])[0]
