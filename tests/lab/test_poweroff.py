"""Point 1: how the host goes down. Guests first, in their own time, before network and storage; with any daemon or none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import frozen

from .nested import INITRAMFS
from .qsup_host import QsupHost, halting, linux
from .recipe import HERE

DEAF_GRACE_S = 6
BRIDGE_UNIT = """[Unit]
Description=The bridge of the guests
Before=network.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip link add br0 type bridge && ip addr add 10.9.0.1/24 dev br0 && ip link set br0 up'
ExecStop=/bin/echo WITNESS-NETWORK goes
ExecStop=/bin/ip link delete br0
[Install]
WantedBy=multi-user.target
"""
REMOTE_UNIT = """[Unit]
Description=Stands where a storage of the network stands
Before=remote-fs.target
Wants=remote-fs.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/echo WITNESS-STORAGE goes
"""
LATE = "/mnt/late"
MOUNT_LATE = f"mkdir -p {LATE}; mount -o loop /srv/fs.img {LATE}"
LAST_WORDS = """#!/bin/busybox sh
poweroff() {
    if ping -c1 -W20 10.9.0.1 >/dev/null 2>&1; then network=there; else network=gone; fi
    echo "powered down, network=$network" | dd of=/dev/vda bs=512 seek=2048 conv=sync,fsync 2>/dev/null
    echo "GUEST-LAST-WORDS written"
    /bin/busybox poweroff "$@"
}
"""
"""What the guest does at its power button before it goes: it looks for its network, and writes on its disk what it found."""
PACK = f"""
chmod 755 /srv/tree/init
cd /srv/tree
echo init | busybox cpio -o -H newc 2>/dev/null | cat {INITRAMFS} - >/srv/initramfs
"""
"""An archive behind another replaces files of the first."""


@frozen
class Line:
    """One entry of the journal; `at_s` is the host's own monotonic clock."""

    at_s: float
    vm: str
    code: str
    text: str


@pytest.mark.parametrize(
    "daemon", [pytest.param("alive", marks=pytest.mark.smoke), pytest.param("dead", marks=pytest.mark.smoke), "hangs"]
)
def test_poweroff_shuts_guests_down_before_network_and_storage_go(host: QsupHost, daemon: str) -> None:
    furnish(host)
    host.lab.run("systemctl", "enable", "qsup", "qsup-guests")
    disk_and_nic = f'[[disk]]\npath = "{LATE}/tux.raw"\n[[nic]]\nbridge = "br0"'
    host.run("tux", linux("lab.ip=10.9.0.2/24", more=disk_and_nic, initrd="/srv/initramfs"))
    # it does not hear its power button: its time ends it, not the host's
    host.run("deaf", halting(vm=f"grace_period_s = {DEAF_GRACE_S}"))
    host.wait_console("tux", "GUEST-READY")
    host.lab.run("systemd-run", "--unit=watch-tux", "--property=DefaultDependencies=no", "tail", "-F", serial_log("tux"))
    disable(host, daemon)
    host.lab.power_off()
    host.lab.power_on()
    check_story(journal_of_last_boot(host))
    host.lab.sh(MOUNT_LATE)
    word = host.lab.sh(f"dd if={LATE}/tux.raw bs=512 skip=2048 count=1 status=none | tr -d '\\0'")
    assert word == "powered down, network=there\n"
    for name in ("tux", "deaf"):
        host.wait_phase(name, "running")  # qsup stopped them for the host's sake: they are wanted again


def furnish(host: QsupHost) -> None:
    """Make, beside the running daemon, the network and the storage that a guest stands on; both say when they go."""
    host.lab.write("/etc/systemd/system/guests-bridge.service", BRIDGE_UNIT)
    host.lab.write("/etc/systemd/system/remote-storage.service", REMOTE_UNIT)
    host.lab.sh("systemctl daemon-reload; systemctl enable --now guests-bridge; systemctl start remote-storage")
    host.lab.sh(f"truncate -s 64M /srv/fs.img; mkfs.ext4 -q /srv/fs.img; {MOUNT_LATE}; truncate -s 4M {LATE}/tux.raw")
    host.lab.write("/srv/tree/init", LAST_WORDS + (HERE / "inside/guest-init.sh").read_text())
    host.lab.sh(PACK)


def disable(host: QsupHost, daemon: str) -> None:
    """Bring the daemon into the state in which the host's shutdown is to find it."""
    if daemon == "dead":
        host.drop_in("Restart=no")
        host.lab.run("systemctl", "kill", "--signal=KILL", "qsup")
        host.lab.wait_until("its unit has failed", lambda: unit_state(host, "qsup") == "failed")
        host.lab.run("test", "-S", "/run/qsup/api.sock")  # it had no time to clear up
    elif daemon == "hangs":
        host.lab.run("systemctl", "kill", "--signal=STOP", "qsup")
    assert unit_state(host, "qsup-guests") == "active"


def unit_state(host: QsupHost, unit: str) -> str:
    """Return systemd's word for the state of a unit."""
    return host.lab.run("systemctl", "is-active", unit, check=False).stdout.strip()


def journal_of_last_boot(host: QsupHost) -> list[Line]:
    """Return the journal of the boot before this one, in the order of its entries."""
    words = ("-b", "-1", "-o", "json", "--output-fields=MESSAGE,QSUP_VM,QSUP_CODE")
    entries = [json.loads(line) for line in host.lab.run("journalctl", "--no-pager", *words).stdout.splitlines()]
    return [_line_of(entry) for entry in entries]


def _line_of(entry: dict[str, Any]) -> Line:
    at_s = int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6
    text = entry["MESSAGE"]
    if isinstance(text, list):  # bytes that do not print, as a console has them
        text = bytes(text).decode(errors="replace")
    return Line(at_s, entry.get("QSUP_VM", ""), entry.get("QSUP_CODE", ""), str(text))


def check_story(journal: list[Line]) -> None:
    """Check that each guest went in its own way, that qsup ended the deaf one, and that all else came after."""
    asked = position(journal, "Stopping qsup-guests.service")
    stopped = position(journal, "Stopped qsup-guests.service")
    story = journal[asked:stopped]
    codes = {name: [line.code for line in story if line.vm == name and line.code != "vm.adopted"] for name in ("tux", "deaf")}
    assert codes == {"tux": ["vm.stopping", "vm.stopped"], "deaf": ["vm.stopping", "vm.terminating", "vm.stopped"]}, story
    assert position(story, "GUEST-POWERDOWN") < position(story, "GUEST-LAST-WORDS")  # the guest's own words, on its own console
    times = {line.code: line.at_s for line in story if line.vm == "deaf"}
    given_s = times["vm.terminating"] - times["vm.stopping"]
    # a second less: the way into the journal is not always as long. Its time ended it, not the unit's, which is 20 minutes
    assert DEAF_GRACE_S - 1 < given_s < 60
    for name in ("tux", "deaf"):
        assert not [line for line in story if line.text.startswith(f"Stopping qsup-{name}.scope")]  # systemd kept its hands off
    for what in ("WITNESS-NETWORK goes", "WITNESS-STORAGE goes", "Unmounting mnt-late.mount"):
        assert position(journal, what) > stopped, what
    for fault in (".scope: Killing process", ".scope: Stopping timed out", "qsup-guests.service: Failed"):
        assert not [line for line in journal if fault in line.text], fault


def position(lines: list[Line], text: str) -> int:
    """Return which line is the first to hold a text."""
    found = [index for index, line in enumerate(lines) if text in line.text]
    assert found, f"no line has {text!r}:\n" + "\n".join(line.text for line in lines[-100:])
    return found[0]


def serial_log(name: str) -> str:
    """Return where a VM's console is kept."""
    return f"/run/qsup/vms/{name}/log/serial.log"
