"""The scenes of the demo, in order. Each shows something and checks it: what does not hold ends the demo with status 1."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from qsup.process.procfs import read_stat
from tests.demo.console import ConsoleReader, lines_of, wait_for_line
from tests.demo.guest import Guest
from tests.demo.kernel_view import hugepages_of, rights_of, thread_table
from tests.demo.offer import MEMORY_MIB, Offer, vm_file
from tests.demo.screen import say, scene, typed
from tests.live.evidence import ports_of, vcpu_masks_of
from tests.live.harness import Daemon, until

VM = "demo"
PAGES = MEMORY_MIB // 2
TICKS = 2


def check(holds: bool, claim: str) -> None:
    """Say what was shown; end the demo where it does not hold."""
    if not holds:
        raise SystemExit(f"demo: NOT SO: {claim}")
    say(f"✓ {claim}")


def drop_the_file(daemon: Daemon, offer: Offer, guest: Guest) -> tuple[dict[str, Any], Offer]:
    """A file is dropped and the VM runs; where the hugepages can't be had after all, once more without them."""
    scene(f"a file is dropped: {daemon.config_dir}/{VM}.toml")
    text = vm_file(offer, guest)
    say(text, 4)
    daemon.drop(VM, text)
    view = _settled(daemon)
    if view["refusal"] and offer.hugepages:
        typed(daemon, "status", VM, code=None)
        say("once more, on base pages")
        offer = evolve(offer, hugepages=False)
        daemon.drop(VM, vm_file(offer, guest))
        view = daemon.wait_phase(VM, "running")
    if view["phase"] != "running":
        typed(daemon, "status", VM, code=None)
        raise SystemExit(f"demo: the VM does not run; its daemon says:\n{daemon.tail()}")
    typed(daemon, "list")
    typed(daemon, "timeline", VM)
    return view, offer


def _settled(daemon: Daemon) -> dict[str, Any]:
    """The VM's view once it runs, was refused, or failed."""

    def settled() -> dict[str, Any] | None:
        known = {vm["name"] for vm in daemon.client.get("/v1/vms")["vms"]}
        view: dict[str, Any] = daemon.client.get(f"/v1/vms/{VM}") if VM in known else {}
        return view if view and (view["phase"] == "running" or view["refusal"] or view["problems"] or view["trouble"]) else None

    view: dict[str, Any] = until(settled, f"{VM} runs, or says why not")
    return view


def watch_the_guest(view: dict[str, Any], offer: Offer) -> None:
    """The guest boots and pings the host."""
    scene("the guest boots; this is its serial console")
    lines = wait_for_line(view["serial_log"], "guest: ready")
    say("\n".join(lines), 4)
    if offer.bridge is not None:
        pinged = any(f"the host {offer.bridge.host.ip} answers my ping" in line for line in lines)
        check(pinged, "the guest pings the host over tap and bridge")


def explain_the_command_line(daemon: Daemon) -> None:
    """Every argument of QEMU has its reason."""
    scene("how QEMU was told, each argument with the key or the rule behind it")
    typed(daemon, "cmdline", VM, "--explain")


def ask_the_kernel(daemon: Daemon, view: dict[str, Any], offer: Offer) -> None:
    """Threads, pages, tap and rights, as the kernel has them."""
    scene("what the kernel says (no qsup involved)")
    pid = view["pid"]
    say(thread_table(pid), 4)
    check(vcpu_masks_of(pid) == [str(pcpu) for pcpu in offer.pcpus], "each vCPU's thread may run on its own pCPU only")
    if offer.hugepages:
        pages = hugepages_of(pid)
        nodes = ", ".join(f"{count} on host node {node}" for node, count in pages.items())
        check(sum(pages.values()) == PAGES, f"all memory lies on hugepages of 2 MiB: {nodes}")
    if offer.bridge is not None:
        check(len(ports_of(offer.bridge.name)) == 1, f"tap {', '.join(ports_of(offer.bridge.name))} is on {offer.bridge.name}")
    say(f"QEMU runs with {rights_of(pid)}")
    typed(daemon, "status", VM)


def kill_the_daemon(daemon: Daemon, view: dict[str, Any]) -> None:
    """The daemon is killed; the guest does not notice."""
    scene("kill -9 of the daemon")
    pid, log = view["pid"], view["serial_log"]
    daemon.kill()
    said = len(lines_of(log))
    wait_for_line(log, f"alive for {_last_second(log) + TICKS} s", patience_s=30)
    say("\n".join(lines_of(log)[said:]), 4)
    check(_is_alive(pid), f"no daemon lives, QEMU (pid {pid}) does, and the guest's console goes on")
    typed(daemon, "status", "--offline", VM)


def adopt(daemon: Daemon, view: dict[str, Any], offer: Offer) -> None:
    """A new daemon finds the VM and takes it over."""
    scene("a new daemon starts")
    daemon.start()
    adopted = daemon.wait_phase(VM, "running")
    typed(daemon, "list")
    check(adopted["pid"] == view["pid"] and adopted["adopted"], f"it adopted the VM: the same pid {view['pid']}")
    masks = vcpu_masks_of(view["pid"])
    check(masks == [str(pcpu) for pcpu in offer.pcpus], f"and its vCPUs are where they were: {', '.join(masks)}")


def stop_gracefully(daemon: Daemon, view: dict[str, Any]) -> None:
    """The power button is pressed and the guest goes down by itself."""
    scene("the guest is asked to go down (ACPI power button)")
    console = ConsoleReader(daemon, VM)
    typed(daemon, "stop", VM)
    lines = console.show_rest()
    check(any("power button" in line for line in lines), "the guest heard it and went down in good order")
    check(not _is_alive(view["pid"]), "QEMU is gone")
    typed(daemon, "list")


def _last_second(log: str) -> int:
    seconds = [int(line.split()[3]) for line in lines_of(log) if line.startswith("guest: alive for ")]
    return seconds[-1] if seconds else 0


def _is_alive(pid: int) -> bool:
    """A process that only waits for its parent to notice its end is not alive."""
    stat = read_stat(pid)
    return stat is not None and stat[0] != "Z"
