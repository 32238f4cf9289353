"""Disks: who serves them, how, and on what they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from qsup.bytesize import GIB, MIB
from qsup.plan.vmplan import DiskPlan, ImagePlan, VmPlan
from qsup.truth.audit.facts import AuditFacts, ImageTuning
from qsup.truth.audit.rule import UNKNOWN_COST, Answer, Cost, Evidence, Found, Irrelevant, Rule, Unknown, told

IO_WQ_PLACEABLE = (6, 3)
TMPFS_DIRECT = (6, 6)
_L2_CACHE_BYTES = 32 * MIB
_L2_ENTRY_BYTES = 8
_DEEPEST_CHAIN = 3
_DIRECT = ("none", "directsync")
_WITHOUT_DEVICE = frozenset({"tmpfs", "ramfs", "nfs", "nfs4", "btrfs", "zfs", "overlay", "ceph", "9p", "virtiofs"})
_NO_DISKS = Irrelevant("no VM has a disk")


def _disks(facts: AuditFacts) -> list[tuple[VmPlan, DiskPlan]]:
    return [(plan, disk) for plan in facts.plans for disk in plan.disks]


def _per_disk(facts: AuditFacts, is_fault: Callable[[VmPlan, DiskPlan], bool], what: str, key: str, value: str) -> Answer:
    """One finding for each disk of which the plan says so; `what` and `value` are completed with its words."""
    disks = _disks(facts)
    if not disks:
        return _NO_DISKS
    found = []
    for plan, disk in disks:
        if is_fault(plan, disk):
            words = {"vm": plan.name, "disk": disk.disk_id, "path": disk.chain[0].path, "cache": disk.cache, "aio": disk.aio}
            evidence = Evidence(f"{plan.name}: {disk.disk_id}.{key}", value.format(**words))
            found.append(Found(plan.name, what.format(**words), (evidence,), words))
    return tuple(found)


def _no_iothread(facts: AuditFacts) -> Answer:
    what = "{disk} of {vm} ({path}) is served by QEMU's main loop"
    return _per_disk(facts, lambda plan, disk: disk.iothread_id is None and not disk.readonly, what, "iothread", "false")


def _threads_direct(facts: AuditFacts) -> Answer:
    what = "{disk} of {vm} ({path}) passes by the page cache and still hands each request to a thread pool"
    return _per_disk(facts, lambda plan, disk: disk.aio == "threads" and disk.cache in _DIRECT, what, "aio", "{aio}")


def _unsafe(facts: AuditFacts) -> Answer:
    what = "{disk} of {vm} ({path}) ignores the guest's flushes"
    return _per_disk(facts, lambda plan, disk: disk.cache == "unsafe" and not disk.readonly, what, "cache", "{cache}")


def _write_through(facts: AuditFacts) -> Answer:
    what = "each write to {disk} of {vm} ({path}) waits until the medium has it"
    faulty = ("writethrough", "directsync")
    return _per_disk(facts, lambda plan, disk: disk.cache in faulty and not disk.readonly, what, "cache", "{cache}")


def _unplaceable(facts: AuditFacts) -> Answer:
    if facts.host.kernel >= IO_WQ_PLACEABLE:
        return Irrelevant("this kernel lets io_uring's workers be placed")
    if not facts.owned:
        return Irrelevant("no vCPU has a pCPU for itself")
    what = "{disk} of {vm} ({path}) uses io_uring, whose workers run anywhere on the node: also on pCPUs that vCPUs own"
    return _per_disk(facts, lambda plan, disk: disk.aio == "io_uring", what, "aio", "{aio}")


def _deep_chain(facts: AuditFacts) -> Answer:
    return _of_images(facts, _stacked)


def _stacked(facts: AuditFacts, plan: VmPlan, disk: DiskPlan, image: ImageTuning) -> Found | str | None:
    depth = 1 + len(image.below)
    if depth <= _DEEPEST_CHAIN:
        return None
    what = f"{disk.disk_id} of {plan.name} ({image.path}) reads through {depth} images"
    evidence = tuple(Evidence(path, f"image {number}") for number, path in enumerate((image.path, *image.below)))
    return Found(plan.name, what, evidence, {"path": image.path})


def _images(facts: AuditFacts) -> Iterable[tuple[VmPlan, DiskPlan, ImagePlan, ImageTuning | None]]:
    """The top image of each disk with how it lies."""
    for plan, disk in _disks(facts):
        if disk.chain:
            yield plan, disk, disk.chain[0], facts.images.get(disk.chain[0].path)


def _of_images(facts: AuditFacts, look: Callable[[AuditFacts, VmPlan, DiskPlan, ImageTuning], Found | str | None]) -> Answer:
    """What `look` finds of each image; a text that it returns is what could not be told."""
    rows = list(_images(facts))
    if not rows:
        return _NO_DISKS
    found, unknown = [], []
    for plan, disk, image, tuning in rows:
        result = f"{image.path} cannot be looked at" if tuning is None else look(facts, plan, disk, tuning)
        if isinstance(result, Found):
            found.append(result)
        elif isinstance(result, str):
            unknown.append(result)
    return Unknown("; ".join(dict.fromkeys(unknown))) if unknown and not found else tuple(found)


def _cache_filesystem(facts: AuditFacts) -> Answer:
    return _of_images(facts, _cache_on)


def _cache_on(facts: AuditFacts, plan: VmPlan, disk: DiskPlan, image: ImageTuning) -> Found | str | None:
    if image.filesystem is None:
        return f"the file system of {image.path} is not told"
    if disk.cache not in _DIRECT:
        return None
    why = _why_not_direct(facts, image)
    if why is None:
        return None
    what = f"{disk.disk_id} of {plan.name} has cache = {disk.cache}, and {image.path} lies on {image.filesystem}: {why}"
    evidence = (Evidence(f"{plan.name}: {disk.disk_id}.cache", disk.cache), Evidence(image.path, f"on {image.filesystem}"))
    return Found(plan.name, what, evidence, {"path": image.path})


def _why_not_direct(facts: AuditFacts, image: ImageTuning) -> str | None:
    if image.filesystem in ("tmpfs", "ramfs"):
        old = facts.host.kernel < TMPFS_DIRECT
        return f"{'Linux before 6.6 refuses O_DIRECT there' if old else 'the image is in the host memory anyway'}"
    if image.filesystem == "btrfs" and image.no_cow is not True:
        return "its checksums break when a guest changes a buffer under way, and copy-on-write scatters the image"
    if image.filesystem == "zfs":
        return "before OpenZFS 2.3 it takes O_DIRECT and keeps everything in its own cache all the same"
    if image.filesystem == "ecryptfs":
        return "it has no O_DIRECT"
    return None


def _not_allocated(facts: AuditFacts) -> Answer:
    return _of_images(facts, _grows)


def _grows(facts: AuditFacts, plan: VmPlan, disk: DiskPlan, image: ImageTuning) -> Found | str | None:
    if disk.chain[0].format != "qcow2" or disk.readonly or len(disk.chain) > 1 or image.below:
        return None
    if image.length_bytes is None or image.virtual_bytes is None:
        return f"the header of {image.path} cannot be read"
    if image.length_bytes >= image.virtual_bytes:
        return None
    sizes = f"{_size(image.length_bytes)} of {_size(image.virtual_bytes)}"
    evidence = (Evidence(image.path, f"{image.length_bytes} bytes of {image.virtual_bytes}"),)
    return Found(
        plan.name, f"{image.path} of {plan.name} grows while its guest writes: {sizes}", evidence, {"path": image.path}
    )


def _small_cache(facts: AuditFacts) -> Answer:
    return _of_images(facts, _beyond_cache)


def _beyond_cache(facts: AuditFacts, plan: VmPlan, disk: DiskPlan, image: ImageTuning) -> Found | str | None:
    if disk.chain[0].format != "qcow2":
        return None
    if image.virtual_bytes is None or image.cluster_bytes is None:
        return f"the header of {image.path} cannot be read"
    covered = _L2_CACHE_BYTES // _L2_ENTRY_BYTES * image.cluster_bytes
    if image.virtual_bytes <= covered:
        return None
    what = (
        f"QEMU's cluster cache covers {_size(covered)} of the {_size(image.virtual_bytes)} of {image.path} "
        f"({image.cluster_bytes >> 10} KiB clusters)"
    )
    wanted = image.cluster_bytes
    while _L2_CACHE_BYTES // _L2_ENTRY_BYTES * wanted < image.virtual_bytes and wanted < 2 * MIB:
        wanted *= 2
    evidence = (Evidence(image.path, f"cluster size {image.cluster_bytes}, virtual size {image.virtual_bytes}"),)
    return Found(plan.name, what, evidence, {"path": image.path, "cluster": str(wanted)})


def _scheduler(facts: AuditFacts) -> Answer:
    return _of_images(facts, _scheduled)


def _scheduled(facts: AuditFacts, plan: VmPlan, disk: DiskPlan, image: ImageTuning) -> Found | str | None:
    if image.scheduler is None or image.rotational is None or image.rotational.number is None:
        return None if image.filesystem in _WITHOUT_DEVICE else f"the device of {image.path} is not told"
    chosen = image.scheduler.chosen
    if image.rotational.number or chosen not in ("bfq", "cfq"):
        return None
    what = f"{image.path} of {plan.name} lies on a solid-state disk with the scheduler {chosen}"
    return Found(plan.name, what, told(image.scheduler, image.rotational), {"file": image.scheduler.file})


def _far(facts: AuditFacts) -> Answer:
    return Irrelevant("the host has one node") if len(facts.host.nodes) < 2 else _of_images(facts, _hangs_far)


def _hangs_far(facts: AuditFacts, plan: VmPlan, disk: DiskPlan, image: ImageTuning) -> Found | str | None:
    nodes = {node for guest in plan.guest_nodes for node in guest.host_nodes}
    if image.host_node is None or not nodes or image.host_node in nodes:
        return None
    what = f"{image.path} of {plan.name} hangs on node {image.host_node}, the VM is on node {min(nodes)}"
    node = str(image.host_node)
    return Found(plan.name, what, (Evidence(image.path, f"node {node}"),), {"node": node})


def _size(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= GIB else f"{size_bytes / MIB:.1f} MiB"


RULES = (
    Rule(
        "disk.no-iothread",
        "a disk without an iothread",
        "medium",
        "The main loop serves the disk between timers, monitor and every other device, under QEMU's big lock.",
        Cost(
            "several times the IOPS with a thread of its own",
            "QEMU commit e72f66a0a20f, dataplane: add virtio-blk data plane code",
        ),
        "# in {vm}'s file: [[disk]] iothread = true; then qsup restart {vm}",
        ("the VMs' plans",),
        _no_iothread,
    ),
    Rule(
        "disk.threads-with-direct",
        "aio = threads with a cache mode that is direct",
        "medium",
        "Each request goes through a worker thread and two switches, where the kernel would take it as it is.",
        UNKNOWN_COST,
        '# in {vm}\'s file: remove aio from this [[disk]] (native), or aio = "io_uring"; then qsup restart {vm}',
        ("the VMs' plans",),
        _threads_direct,
    ),
    Rule(
        "disk.cache-unsafe",
        "a disk that ignores flushes",
        "high",
        "When the host fails, what the guest was told to be on disk is not there: its file system may be beyond repair.",
        UNKNOWN_COST,
        '# in {vm}\'s file: [[disk]] cache = "none"; then qsup restart {vm}',
        ("the VMs' plans",),
        _unsafe,
    ),
    Rule(
        "disk.write-through",
        "a disk whose every write waits for the medium",
        "low",
        "The guest may not gather writes and flush once: each of them is a flush.",
        UNKNOWN_COST,
        '# in {vm}\'s file: [[disk]] cache = "none" (flushes are kept); then qsup restart {vm}',
        ("the VMs' plans",),
        _write_through,
    ),
    Rule(
        "disk.io-uring-unplaceable",
        "io_uring whose workers cannot be placed",
        "medium",
        "Before Linux 6.3 the kernel gives io_uring's workers a mask of their own and lets nobody change it.",
        UNKNOWN_COST,
        '# in {vm}\'s file: [[disk]] aio = "native" with cache = "none", then qsup restart {vm}; or a newer kernel',
        ("/proc/sys/kernel/osrelease", "the VMs' plans"),
        _unplaceable,
    ),
    Rule(
        "disk.chain-deep",
        "a disk on more than three images",
        "low",
        "What the upper images do not have is looked up in each one below.",
        UNKNOWN_COST,
        "qemu-img convert -O qcow2 {path} {path}.new   # with the VM off, then rename",
        ("the VMs' plans",),
        _deep_chain,
    ),
    Rule(
        "disk.cache-against-filesystem",
        "a direct cache mode on a file system that does not take it",
        "medium",
        "The cache mode does not do what was asked for, or the file system works against it.",
        UNKNOWN_COST,
        '# move the image to ext4, XFS or a volume (btrfs: chattr +C before it is written), or [[disk]] cache = "writeback"',
        ("/proc/self/mountinfo", "the VMs' plans"),
        _cache_filesystem,
    ),
    Rule(
        "disk.qcow2-not-preallocated",
        "a qcow2 image that grows while the guest writes",
        "low",
        "The first write to each cluster also writes tables, and the file system allocates under it.",
        Cost(
            "5 times slower than raw while it allocates, about equal where tables are preallocated",
            "ilsistemista.net, KVM I/O slowness on RHEL 6",
            80,
        ),
        "qemu-img convert -O qcow2 -o preallocation=falloc {path} {path}.new   # with the VM off, then rename",
        ("the image's header and length",),
        _not_allocated,
    ),
    Rule(
        "disk.qcow2-small-cache",
        "a qcow2 image larger than QEMU's cluster cache covers",
        "medium",
        "QEMU keeps at most 32 MiB of cluster tables: random access beyond them reads a table first.",
        Cost(
            "5,100 IOPS with a cache too small, 63,600 with one that covers the image (random reads)",
            "A. Garcia, Improving disk I/O performance in QEMU 2.5 with the qcow2 L2 cache, 2015",
            92,
        ),
        "qemu-img convert -O qcow2 -o cluster_size={cluster} {path} {path}.new   # with the VM off, then rename; or use raw",
        ("the image's header",),
        _small_cache,
    ),
    Rule(
        "disk.scheduler",
        "an I/O scheduler that thinks, on a solid-state disk",
        "low",
        "It holds requests back to sort them, for a disk that need not be spared.",
        UNKNOWN_COST,
        "echo none > {file}",
        ("/sys/dev/block/MAJOR:MINOR/queue/scheduler", "/sys/dev/block/MAJOR:MINOR/queue/rotational"),
        _scheduler,
        'a udev rule: ACTION=="add|change", KERNEL=="DEVICE", ATTR{queue/scheduler}="none"',
    ),
    Rule(
        "disk.far-node",
        "an image whose disk hangs on another node",
        "low",
        "Data and interrupts of the disk cross the link between the sockets.",
        UNKNOWN_COST,
        '# in the VM\'s file: [memory] host_nodes = "{node}", or another disk; then restart',
        ("/sys/dev/block/MAJOR:MINOR", "the VMs' plans"),
        _far,
    ),
)
