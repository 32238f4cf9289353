"""What is different on the golden host when NAME.toml of tests/golden/refusals is refused: one function a file.

A world is what stands around the file: the host, the settings, the VMs that hold something already, what QEMU can do. Most
files meet the host of host.py as it is, with everything there that they name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from qsup.argv.caps import QemuCaps
from qsup.bytesize import GIB, MIB
from qsup.plan.host_facts import BridgeFacts, FileFacts, HostFacts, HostNodeFacts, ImageFacts, PcpuFacts, PoolFacts
from qsup.plan.ledger import Holding, Ledger
from qsup.plan.place import place
from qsup.plan.policy import HostPolicy
from qsup.spec.parse import parse_vm
from qsup.spec.vmspec import VmSpec
from tests.argv.plans import CAPS
from tests.golden.host import host_for

Change = Callable[["World"], "World"]


@frozen
class World:
    """What stands around a file."""

    facts: HostFacts
    policy: HostPolicy = field(factory=HostPolicy)
    ledger: Ledger = field(factory=Ledger)
    caps: QemuCaps = CAPS

    def host(self, **facts: Any) -> World:
        """The same with other facts."""
        return evolve(self, facts=evolve(self.facts, **facts))

    def settings(self, **policy: Any) -> World:
        """The same under other settings."""
        return evolve(self, policy=evolve(self.policy, **policy))

    def running(self, name: str, text: str) -> World:
        """The same with a VM of this file running beside it, its hugepages taken."""
        spec = parse_vm(text, file=f"{name}.toml", name=name)
        there = host_for(spec)
        facts = evolve(self.facts, bridges=there.bridges, images=there.images)
        plan = place(spec, facts, self.policy, self.ledger, None, self.caps.machine_aliases)
        return evolve(self, ledger=self.ledger.reserved(Holding(plan)))

    def node(self, change: Callable[[HostNodeFacts], HostNodeFacts]) -> World:
        """The same with every host node changed."""
        return self.host(nodes=tuple(change(node) for node in self.facts.nodes))

    def pcpus(self, numbers: set[int], change: Callable[[PcpuFacts], PcpuFacts]) -> World:
        """The same with some pCPUs changed."""
        return self.host(pcpus=tuple(change(fact) if fact.pcpu in numbers else fact for fact in self.facts.pcpus))

    def image(self, path: str, **facts: Any) -> World:
        """The same with another image at this path."""
        return self.host(images={**self.facts.images, path: evolve(self.facts.images[path], **facts)})


def world_of(name: str, spec: VmSpec) -> World:
    """The world in which the file of this name is refused."""
    world = World(host_for(spec))
    return WORLDS[name](world) if name in WORLDS else world


def pools(pages: int) -> Change:
    """Pools of this many free pages of 2 MiB on each node, and no other size."""
    return lambda world: world.node(lambda node: evolve(node, pools=(PoolFacts(2 * MIB, total=pages, free=pages),)))


def _vm(vcpus: int, placement: str = "dedicated", more: str = "", memory: str = 'size = "1GiB"') -> str:
    return f'[cpu]\nvcpus = {vcpus}\nplacement = "{placement}"\n{more}\n[memory]\n{memory}\n'


def _isolated(numbers: set[int]) -> Change:
    return lambda world: world.pcpus(numbers, lambda fact: evolve(fact, isolated=True))


def _host_full_of_small_vms(world: World) -> World:
    for number in range(14):
        world = world.running(f"small{number}", _vm(2))
    return world


def _pages_taken(world: World) -> World:
    huge = 'size = "{}GiB"\nhugepages = "2MiB"\nhost_nodes = "{}"'
    world = world.running("db1", _vm(1, "shared", memory=huge.format(12, 0)))
    world = world.running("db2", _vm(1, "shared", memory=huge.format(3, 0)))
    world = world.running("db3", _vm(1, "shared", memory=huge.format(15, 1)))
    return world.node(lambda node: evolve(node, memory_free_bytes=GIB))


def _read_only_pools(world: World) -> World:
    return pools(1024)(world).settings(grow_hugepages=False)


def _no_right_to_grow(world: World) -> World:
    return pools(1024)(world).host(may_grow_pools=False)


def _base_memory_taken(world: World) -> World:
    world = world.running("db1", _vm(1, "shared", memory='size = "48GiB"\nhost_nodes = "0"'))
    return world.running("db2", _vm(1, "shared", memory='size = "40GiB"\nhost_nodes = "1"'))


def _nothing_for_qemu_itself(world: World) -> World:
    return world.node(lambda node: evolve(node, memory_free_bytes=256 * MIB))


def _far_away_images(count: int) -> Change:
    paths = [f"/srv/vm/layer{number}.qcow2" for number in range(count)]
    chain = {
        path: ImageFacts(path, "qcow2", GIB, GIB, backing=paths[(at + 1) % count], backing_format="qcow2", file_id=path)
        for at, path in enumerate(paths)
    }
    return lambda world: world.host(images={**world.facts.images, **chain})


def _lacks(*, cpu_models: bool = False, types: frozenset[str] = frozenset(), aio: bool = False) -> Change:
    def change(world: World) -> World:
        caps = world.caps
        return evolve(
            world,
            caps=evolve(
                caps,
                cpu_models=frozenset({"max", "qemu64"}) if cpu_models else caps.cpu_models,
                object_types=caps.object_types - types,
                aio_modes=frozenset({"threads"}) if aio else caps.aio_modes,
            ),
        )

    return change


WORLDS: Mapping[str, Change] = {
    # pins
    "pin-offline": lambda world: world.pcpus({5, 21}, lambda fact: evolve(fact, online=False)),
    "pin-dedicated": lambda world: world.running("db1", _vm(4)),
    "pin-isolated": _isolated({4, 5, 6, 7}),
    "emulator-dedicated": lambda world: world.running("db1", _vm(4)).running("db2", _vm(4)),
    "emulator-isolated": _isolated({4, 5, 6, 7}),
    # pCPUs
    "pcpus-held": lambda world: world.running("db1", _vm(14)).running("db2", _vm(12)),
    "pcpus-held-by-many": _host_full_of_small_vms,
    "pcpus-whole-cores": lambda world: world.running("db1", _vm(14)),
    "shared-pool-empty": lambda world: world.running("db1", _vm(14)).running("db2", _vm(16)),
    # memory
    "hugepage-size-absent": pools(8192),
    "hugepage-none": lambda world: world.node(lambda node: evolve(node, pools=())),
    "hugepages-short": _pages_taken,
    "hugepages-not-grown": _read_only_pools,
    "hugepages-no-right-to-grow": _no_right_to_grow,
    "host-node-empty": lambda world: world.node(
        lambda node: evolve(node, memory_total_bytes=0, memory_free_bytes=0, pools=()) if node.host_node == 1 else node
    ),
    "memory-short": _base_memory_taken,
    "memory-short-for-qemu": _nothing_for_qemu_itself,
    "memory-not-bindable": lambda world: world.host(may_bind_memory=False),
    "guest-node-pages-short": lambda world: world.node(lambda node: evolve(node, memory_free_bytes=2 * GIB)),
    "guest-node-short": lambda world: world.running("db1", _vm(1, "shared", memory='size = "56GiB"\nhost_nodes = "1"')),
    # disks
    "image-read-only": lambda world: world.image("/srv/vm/web1.qcow2", writable=False),
    "image-held": lambda world: world.running("db1", _vm(1, "shared") + '[[disk]]\npath = "/srv/vm/shared.qcow2"\n'),
    "image-base-written": lambda world: world.running("db1", _vm(1, "shared") + '[[disk]]\npath = "/srv/vm/base.qcow2"\n'),
    "image-loop": _far_away_images(3),
    "image-backing-format-strange": lambda world: world.image(
        "/srv/vm/web1.qcow2", backing="/srv/vm/golden.vmdk", backing_format="vmdk"
    ),
    "image-one-file": lambda world: world.image("/srv/vm/link-to-web1.qcow2", file_id="/srv/vm/web1.qcow2"),
    # nics
    "bridge-absent": lambda world: world.host(bridges={"br0": BridgeFacts("br0", 1500), "br-lan": BridgeFacts("br-lan", 9000)}),
    "bridge-no-bridge": lambda world: world.host(bridges={}, links=frozenset({"eth0", "lo"})),
    "tap-held": lambda world: world.running("db1", _vm(1, "shared") + '[[nic]]\nbridge = "br0"\ntap = "tap-db"\n'),
    "tap-is-a-link": lambda world: world.host(links=frozenset({"eth0", "br0"})),
    "mac-held": lambda world: world.running("db1", _vm(1, "shared") + '[[nic]]\nbridge = "br0"\nmac = "52:54:00:00:00:01"\n'),
    "vhost-absent": lambda world: world.host(vhost_net=False),
    "taps-not-permitted": lambda world: world.host(may_network=False),
    # boot
    "boot-file-missing": lambda world: world.host(
        files={
            "/boot/vmlinuz": FileFacts("/boot/vmlinuz", "/boot/vmlinuz does not exist"),
            "/boot/initrd.img": FileFacts("/boot/initrd.img", "/boot/initrd.img may not be read by uid 1000"),
        }
    ),
    "uefi-absent": lambda world: world.host(uefi_code=None, uefi_vars=None),
    # identity and paths
    "uids-exhausted": lambda world: world.settings(uid_count=2).running("db1", _vm(1)).running("db2", _vm(1)),
    "socket-path-too-long": lambda world: world.settings(run_dir="/srv/machines/rack-17/" + "run-directory/" * 5 + "qsup"),
    # QEMU
    "qemu-lacks-cpu-model": _lacks(cpu_models=True),
    "qemu-lacks-device": _lacks(types=frozenset({"virtio-net-pci"})),
    "qemu-lacks-aio": _lacks(aio=True),
    "qemu-lacks-many": _lacks(
        cpu_models=True, types=frozenset({"virtio-blk-pci", "thread-context", "memory-backend-memfd"}), aio=True
    ),
}
