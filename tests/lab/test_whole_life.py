"""Point 7: seven VMs through a day of their operator, a crash of the daemon and a reboot; the end is what the files say."""

from __future__ import annotations

from pathlib import PurePath

from .qsup_host import VMS_DIR, QsupHost, halting

MIB = 1 << 20
SMALL_KIB, LARGE_KIB = 2048, 1048576
NEXT = "/srv/next"
HUGE = 'size = "32MiB"\nhugepages = "2MiB"'
BY_HAND = "autostart = false\ngrace_period_s = 1"
FIRST_RUNNING = {"pinned", "huge", "broken", "removed", "wired"}
LAST_RUNNING = {"pinned", "huge", "sleeper", "wired"}
HOST_WENT_DOWN = ["vm.stopping", "vm.terminating", "vm.stopped"]
STORIES = {
    "pinned": (["vm.started", "vm.adopted", *HOST_WENT_DOWN], ["vm.started"]),
    # what is pending when a daemon takes the VM over is told again
    "huge": (["vm.started", "config.changed", "vm.adopted", "config.changed", *HOST_WENT_DOWN], ["vm.started"]),
    "broken": (["vm.started", "spec.syntax", "vm.adopted", "spec.syntax", *HOST_WENT_DOWN], ["spec.syntax"]),
    "removed": (["vm.started", "config.removed", "vm.adopted", "config.removed", "vm.stopped", "vm.forgotten"], []),
    "sleeper": (["vm.started", *HOST_WENT_DOWN], ["vm.started"]),
    "byhand": (["vm.started", "vm.adopted", *HOST_WENT_DOWN], []),
    "wired": (["vm.started", "vm.stopped"], ["vm.started"]),
}
"""The codes of each VM's events, in order: in the first boot, and after the reboot."""
_QEMUS = 'for p in /proc/[0-9]*; do case "$(readlink $p/exe)" in *qemu-system-*) echo "${p##*/}";; esac; done'


def first_files() -> dict[str, str]:
    """Return the seven files as they are dropped."""
    return {
        "pinned": halting('vcpus = 2\nthreads = 2\nplacement = "dedicated"'),
        "huge": halting(memory=HUGE),
        "broken": halting(),
        "removed": halting(),
        "sleeper": halting(vm=BY_HAND),
        "byhand": halting(vm=BY_HAND),
        "wired": halting(more='[[nic]]\nbridge = "br0"'),
    }


def test_the_end_state_is_what_the_files_say(host: QsupHost) -> None:
    boot_network(host)
    host.lab.run("systemctl", "enable", "--now", "qsup")
    drop_all(host)
    host.qsup("start", "byhand")
    before = {name: host.identity(name) for name in ("pinned", "huge", "broken", "removed", "byhand")}
    edit_while_it_runs(host)
    kill_daemon_and_edit_meanwhile(host)
    assert {name: host.identity(name) for name in before} == before
    host.qsup("stop", "removed", "--force")
    host.lab.wait_until("what has no file and does not run is forgotten", lambda: "removed" not in host.vms())
    first_boot = host.lab.boot_id()
    host.lab.reboot()
    check_end_state(host)
    check_story(host, first_boot)


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
    """Drop the seven files at once."""
    for name, text in first_files().items():
        host.lab.write(f"{NEXT}/{name}.toml", text)
    host.lab.sh(f"mv {NEXT}/*.toml {VMS_DIR}/")
    host.wait_phases(dict.fromkeys(FIRST_RUNNING, "running") | dict.fromkeys(("sleeper", "byhand"), "absent"))
    check_exactly_these_run(host, FIRST_RUNNING)
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
    host.wait_phases(dict.fromkeys(LAST_RUNNING, "running"))
    vms = host.vms()
    assert set(vms) == LAST_RUNNING | {"broken", "byhand"}
    assert (vms["broken"]["phase"], vms["broken"]["config_state"]) == ("absent", "invalid")
    byhand = host.view("byhand")  # it ran when the host went down, and its file does not start it
    assert (byhand["phase"], byhand["config_state"], byhand["autostart"]) == ("absent", "valid", False)
    assert sum(host.memory_by_node("huge").values()) == 64 * MIB
    assert host.view("huge")["pending"] == []
    assert len(host.vcpu_masks("sleeper")) == 2
    first, second = host.vcpu_masks("pinned")
    assert host.siblings(first) == f"{first}-{second}"
    assert host.taps() == [card["tap"] for card in host.view("wired")["nics"]]
    check_exactly_these_run(host, LAST_RUNNING)


def check_exactly_these_run(host: QsupHost, names: set[str]) -> None:
    """Check processes, cgroups, pools and run directories: these VMs run, and nothing else is left or held."""
    pids = {name: host.pid(name) for name in names}
    host.lab.wait_until("no other QEMU runs", lambda: qemus(host) == set(pids.values()))
    scopes = {PurePath(path).name for path in host.lab.sh("find /sys/fs/cgroup/qsup.slice -mindepth 1 -type d").split()}
    assert scopes == {f"qsup-{name}.scope" for name in names}
    for name, pid in pids.items():
        assert host.cgroup_of(pid) == f"/qsup.slice/qsup-{name}.scope"
    assert set(host.lab.sh("ls -A /run/qsup/vms").split()) == names
    shape, used = host.lab.shape, host.memory_by_node("huge")
    for node in range(shape.nodes):
        taken = used.get(node, 0) // (SMALL_KIB << 10)
        counters = [host.pool(node, SMALL_KIB, key) for key in ("nr", "free")]
        assert counters == [shape.pages_2m_per_node, shape.pages_2m_per_node - taken]
        assert [host.pool(node, LARGE_KIB, key) for key in ("nr", "free")] == [shape.pages_1g_per_node] * 2


def qemus(host: QsupHost) -> set[int]:
    """Return every process of the host whose program is QEMU, whoever started it."""
    return {int(pid) for pid in host.lab.sh(_QEMUS).split()}


def check_story(host: QsupHost, first_boot: str) -> None:
    """Check that the journal tells, VM by VM and in order, what happened before the reboot and after it."""
    for name, told in STORIES.items():
        assert (name, story(host, name, first_boot), story(host, name, host.lab.boot_id())) == (name, *told)
    (broken,) = [message for code, message in host.events("broken", host.lab.boot_id()) if code == "spec.syntax"]
    assert f"{VMS_DIR}/broken.toml:1:5" in broken


def story(host: QsupHost, name: str, boot: str) -> list[str]:
    """Return the codes of a VM's events in one boot, oldest first, without those of the shared pool's size."""
    return [code for code, _ in host.events(name, boot) if code != "vm.repinned"]
