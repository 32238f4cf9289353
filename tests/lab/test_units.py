"""Point 1: what the shipped units let guests do, that they are sound, and why each directive that is left off is left off."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from .qsup_host import ROM, QsupHost, halting, linux
from .recipe import PROJECT
from .shown import SHOWN


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


BUSY_LOOP = bytes.fromhex("faebfe")  # at the reset vector: cli; jmp to itself


def test_an_emulated_vm_runs_under_the_shipped_unit(host: QsupHost) -> None:
    host.lab.write("/srv/busy.rom", b"\xf4" * 65520 + BUSY_LOOP + bytes(13))
    view = host.run("tcg", halting(more='[machine]\naccel = "tcg"').replace(ROM, "/srv/busy.rom"))
    assert view["accel"] == "tcg"
    assert json.loads(host.qsup("qmp", "tcg", "query-kvm").stdout) == {"enabled": False, "present": True}  # QEMU's own word
    (vcpu,) = [thread.tid for thread in host.threads("tcg").values() if thread.name.startswith("CPU ")]
    task = f"/proc/{host.pid('tcg')}/task/{vcpu}"
    assert host.lab.read(f"{task}/comm") == "CPU 0/TCG\n"

    def ran_ns() -> int:
        return int(host.lab.read(f"{task}/schedstat").split()[0])

    before_ns = ran_ns()
    host.lab.wait_until("the guest has run for a tenth of a second more", lambda: ran_ns() > before_ns + 100_000_000)


@pytest.mark.smoke
def test_the_units_are_sound_and_every_directive_left_off_has_its_reason(
    host: QsupHost, record_property: Callable[[str, object], None]
) -> None:
    units = ("qsup.service", "qsup-guests.service", "qsup.slice")
    done = host.lab.run(
        "systemd-analyze", "verify", "--man=no", *(f"/etc/systemd/system/{unit}" for unit in units), check=False
    )
    assert (done.status, done.stdout + done.stderr) == (0, "")
    security = host.lab.run("systemd-analyze", "security", "--no-pager", "qsup.service").stdout
    assert "Overall exposure level for qsup.service" in security
    record_property(f"{SHOWN}systemd-analyze security qsup.service", security)
    findings = json.loads(host.lab.run("systemd-analyze", "security", "--json=short", "qsup.service").stdout)
    left_off = {name for finding in findings if finding["set"] is False for name in directives_in(finding["name"])}
    assert {"RootImage", "DynamicUser", "CapabilityBoundingSet"} <= left_off, findings
    assert left_off - directives_with_a_reason() == set()


def directives_in(text: str) -> list[str]:
    """Return every directive that a text names, as `RootDirectory=/RootImage=` names two."""
    return re.findall(r"([A-Za-z]+)=", text)


def directives_with_a_reason() -> set[str]:
    """Return what the first column of the table of docs/systemd.md names, of rows that do say something in the second."""
    table = (PROJECT / "docs/systemd.md").read_text().partition("| directive | left off because |\n")[2].partition("\n\n")[0]
    rows = [line.split("|") for line in table.splitlines()[1:]]
    assert rows
    return {name for _, names, reason, *_ in rows if reason.strip() for name in directives_in(names)}
