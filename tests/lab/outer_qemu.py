"""The command line of the QEMU that is the lab.

Strategy: TCG executes any guest on any machine. The CPU model is an AMD one, since TCG emulates SVM with nested
paging: kvm_amd loads in the lab, and /dev/kvm there executes guests. topoext and xlevel make Linux see SMT siblings;
max-ram-below-4g leaves node 0 an aligned GiB for a 1 GiB page. cx16 is off: TCG of QEMU 7.2 leaves rubbish in the flags after
cmpxchg16b, and an interrupt right behind it brings the lab's kernel down (seen: a double fault in kmem_cache_alloc).
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from .image import Image
from .shapes import Shape

BINARY = "qemu-system-x86_64"
CPU = "max,la57=off,cx16=off,family=25,model=1,stepping=1,+topoext,xlevel=0x8000001e,x-force-features=on"
MACHINE = "q35,hpet=off,max-ram-below-4g=1G"
TRANSLATION_CACHE_MIB = 512


@frozen
class Ram:
    """Where the lab's memory lives: one file a node, written through (a template) or copied on write (a clone)."""

    folder: Path
    shared: bool

    def file(self, node: int) -> Path:
        """Return the file of a node."""
        return self.folder / f"ram{node}"


def host_tsc_khz() -> int:
    """Return the frequency of this machine's TSC, which is what TCG's RDTSC counts. Source: BogoMIPS is twice its MHz."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.lower().startswith("bogomips"):
            return int(float(line.partition(":")[2]) * 500)
    return 2_000_000


def argv(image: Image, shape: Shape, folder: Path, disk: Path, ram: Ram | None, incoming: bool) -> list[str]:
    """Return the lab's command line.

    Args:
        folder: of this lab, for its sockets and logs.
        disk: the lab's own qcow2 overlay.
        ram: None for memory of its own that starts empty.
        incoming: wait for a template's state over the monitor instead of booting.
    """
    return [
        *("setpriv", "--pdeathsig", "KILL", "--"),  # the lab ends with the process that started it
        *(BINARY, "-name", "lab,debug-threads=on", "-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", MACHINE, "-accel", f"tcg,thread=multi,tb-size={TRANSLATION_CACHE_MIB}", "-cpu", CPU),
        *_topology(shape, ram),
        *("-kernel", str(image.kernel), "-initrd", str(image.initramfs), "-append", kernel_command_line(shape)),
        *("-drive", f"file={disk},format=qcow2,if=none,id=disk,cache=unsafe,discard=unmap"),
        *("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=agent,path={folder}/agent.sock,server=on,wait=off"),
        *("-device", "virtserialport,chardev=agent,name=lab.agent"),
        *("-chardev", f"file,id=journal,path={folder}/journal.log,append=on", "-device", "virtconsole,chardev=journal"),
        *("-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,mac=52:54:00:00:00:01"),
        *("-chardev", f"file,id=console,path={folder}/console.log,append=on", "-serial", "chardev:console"),
        *("-qmp", f"unix:{folder}/qmp.sock,server=on,wait=off"),
        *(("-incoming", "defer") if incoming else ()),
    ]


def kernel_command_line(shape: Shape) -> str:
    """Return the words for the lab's kernel: quick under TCG, pools per node, the shape's own words."""

    def per_node(pages: int) -> str:
        return ",".join(f"{node}:{pages}" for node in range(shape.nodes))

    words = (
        *("root=/dev/vda", "rw", "console=ttyS0", "quiet", "panic=-1", "net.ifnames=0"),
        *("mitigations=off", "nokaslr", "audit=0", "apparmor=0", "nowatchdog", "rcupdate.rcu_cpu_stall_suppress=1"),
        *("tsc=reliable", f"tsc_early_khz={host_tsc_khz()}", "transparent_hugepage=madvise"),
        *("hugepagesz=1G", f"hugepages={per_node(shape.pages_1g_per_node)}"),
        *("hugepagesz=2M", f"hugepages={per_node(shape.pages_2m_per_node)}"),
        *("systemd.show_status=0", *shape.kernel_words),
    )
    return " ".join(words)


def _topology(shape: Shape, ram: Ram | None) -> list[str]:
    size = shape.cpus_per_node
    layout = f"{shape.cpus},sockets={shape.nodes},cores={shape.cores_per_node},threads={shape.threads_per_core}"
    words = ["-smp", layout, "-m", f"{shape.node_mib * shape.nodes}M"]
    for node in range(shape.nodes):
        memory = f"id=ram{node},size={shape.node_mib}M"
        if ram is None:
            words += ["-object", f"memory-backend-ram,{memory}"]
        else:
            share = "on" if ram.shared else "off"
            words += ["-object", f"memory-backend-file,{memory},mem-path={ram.file(node)},share={share}"]
        words += ["-numa", f"node,nodeid={node},memdev=ram{node},cpus={node * size}-{(node + 1) * size - 1}"]
    for here in range(shape.nodes):
        for there in range(here + 1, shape.nodes):
            words += ["-numa", f"dist,src={here},dst={there},val={shape.distance(here, there)}"]
    return words
