"""Point 7: six VMs through a day of their operator, a crash of the daemon and a reboot; the end is what the files say."""

from __future__ import annotations

from .qsup_host import VMS_DIR, QsupHost, halting

MIB = 1 << 20
NEXT = "/srv/next"
HUGE = 'size = "32MiB"\nhugepages = "2MiB"'


def first_files() -> dict[str, str]:
    """Return the six files as they are dropped."""
    return {
        "pinned": halting('vcpus = 2\nthreads = 2\nplacement = "dedicated"'),
        "huge": halting(memory=HUGE),
        "broken": halting(),
        "removed": halting(),
        "sleeper": halting(vm="autostart = false\ngrace_period_s = 1"),
        "wired": halting(more='[[nic]]\nbridge = "br0"'),
    }


def test_the_end_state_is_what_the_files_say(host: QsupHost) -> None:
    boot_network(host)
    host.lab.run("systemctl", "enable", "--now", "qsup")
    drop_all(host)
    before = {name: host.identity(name) for name in ("pinned", "huge", "broken", "removed")}
    edit_while_it_runs(host)
    kill_daemon_and_edit_meanwhile(host)
    assert {name: host.identity(name) for name in before} == before
    host.lab.reboot()
    check_end_state(host)
    check_story(host)


def boot_network(host: QsupHost) -> None:
    """Have the host make its bridge at each boot, before qsup starts."""
    host.lab.write(
        "/etc/systemd/system/br0.service",
        "[Unit]\nBefore=network.target\nWants=network.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
        "ExecStart=/bin/ip link add br0 type bridge\nExecStart=/bin/ip link set br0 up\n"
        "[Install]\nWantedBy=multi-user.target\n",
    )
    host.lab.run("systemctl", "enable", "--now", "br0")


def drop_all(host: QsupHost) -> None:
    """Drop the six files at once."""
    for name, text in first_files().items():
        host.lab.write(f"{NEXT}/{name}.toml", text)
    host.lab.sh(f"mv {NEXT}/*.toml {VMS_DIR}/")
    running = {"pinned", "huge", "broken", "removed", "wired"}
    host.wait_phases(dict.fromkeys(running, "running") | {"sleeper": "absent"})
    assert len(host.taps()) == 1


def edit_while_it_runs(host: QsupHost) -> None:
    """Edit one file, break one, remove one, and stop a VM by hand."""
    host.drop("huge", halting(memory=HUGE.replace("32MiB", "64MiB")))
    host.drop("broken", "[cpu\nvcpus = many\n")
    host.remove("removed")
    host.qsup("stop", "wired", "--force")
    host.lab.wait_until("the edit is pending", lambda: bool(host.view("huge")["pending"]))
    host.lab.wait_until("the break is reported", lambda: host.view("broken")["config_state"] == "invalid")
    host.lab.wait_until("the removal is reported", lambda: host.view("removed")["config_state"] == "removed")
    (problem, *_) = host.view("broken")["problems"]
    assert problem["line"] == 1
    assert sum(host.memory_by_node("huge").values()) == 32 * MIB


def kill_daemon_and_edit_meanwhile(host: QsupHost) -> None:
    """Kill the daemon, edit a file while there is none, and let systemd start the next one."""
    no_restart = "/run/systemd/system/qsup.service.d/no-restart.conf"
    host.lab.write(no_restart, "[Service]\nRestart=no\n")
    host.lab.sh("systemctl daemon-reload; systemctl kill --signal=KILL qsup")
    host.lab.wait_until("there is no daemon", lambda: host.main_pid() == 0)
    assert host.qsup("list", check=False).status == 75
    host.drop("sleeper", halting("vcpus = 2", vm="autostart = true\ngrace_period_s = 1"))
    host.lab.sh(f"rm {no_restart}; systemctl daemon-reload; systemctl reset-failed qsup; systemctl start qsup")
    host.wait_phase("sleeper", "running")
    vms = host.vms()
    assert {name: vm["phase"] for name, vm in vms.items()} == dict.fromkeys(first_files(), "running") | {"wired": "absent"}
    assert vms["broken"]["config_state"] == "invalid"
    assert vms["removed"]["config_state"] == "removed"
    assert host.view("huge")["pending"]


def check_end_state(host: QsupHost) -> None:
    """Check the host after its reboot: nothing but what the files say."""
    host.wait_phases(dict.fromkeys(("pinned", "huge", "sleeper", "wired"), "running"))
    vms = host.vms()
    assert set(vms) == {"pinned", "huge", "sleeper", "wired", "broken"}
    assert (vms["broken"]["phase"], vms["broken"]["config_state"]) == ("absent", "invalid")
    assert sum(host.memory_by_node("huge").values()) == 64 * MIB
    assert host.view("huge")["pending"] == []
    assert len(host.vcpu_masks("sleeper")) == 2
    first, second = host.vcpu_masks("pinned")
    assert host.siblings(first) == f"{first}-{second}"
    assert len(host.taps()) == 1
    assert host.pids("removed") == []


def check_story(host: QsupHost) -> None:
    """Check that the journal of both boots tells what happened, VM by VM."""
    told = {name: [code for code, _ in host.events(name)] for name in first_files()}
    assert told["pinned"].count("vm.started") == 2
    assert told["huge"].count("vm.started") == 2
    assert "vm.adopted" in told["huge"]
    assert "vm.started" in told["broken"]
    journal = host.lab.journal("-u", "qsup", "-o", "cat")
    for word in ("broken", "removed", "wired"):
        assert word in journal
