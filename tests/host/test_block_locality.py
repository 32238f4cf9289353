"""Where the hardware under a path sits, on machines that are recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qsup.host.block_locality import node_of_path, recorded_locality
from qsup.host.facts import read_host_facts
from qsup.host.record import write_tree
from qsup.plan.host_facts import PoolFacts

MOUNTS = """21 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
22 21 0:5 / /proc rw - proc proc rw
23 21 259:7 / /srv/vm\\040images rw master:1 - xfs /dev/nvme1n1 rw
24 21 8:1 / /srv rw - ext4 /dev/sda1 rw
cut
"""
TREE = {
    "/proc/self/mountinfo": MOUNTS,
    "/sys/dev/block/259:2/numa_node": "0\n",
    "/sys/dev/block/259:7/numa_node": "1\n",
    "/sys/dev/block/8:1/numa_node": "-1\n",
    "/sys/class/block/nvme1n1/dev": "259:7\n",
    "/sys/class/block/sda1/dev": "8:1\n",
    "/sys/class/block/odd/dev": "no\n",
}


@pytest.mark.parametrize(
    ("path", "node"),
    [
        ("/var/lib/a.raw", 0),
        ("/srv/vm images/a.qcow2", 1),
        ("/srv/vm images", 1),
        ("/srv/vm imagesque/a.qcow2", None),
        ("/srv/a.raw", None),
        ("/dev/nvme1n1", 1),
        ("/dev/sda1", None),
        ("/dev/odd", None),
        ("/dev/none", None),
    ],
)
def test_a_path_is_as_near_as_the_deepest_mount_above_it(path: str, node: int | None, tmp_path: Path) -> None:
    write_tree(TREE, str(tmp_path))
    assert node_of_path(path, str(tmp_path)) == node


def test_a_recording_tells_the_same_and_no_more(tmp_path: Path) -> None:
    write_tree(TREE, str(tmp_path / "host"))
    kept = recorded_locality(str(tmp_path / "host"))
    write_tree(kept, str(tmp_path / "copy"))
    for path in ("/var/lib/a.raw", "/srv/vm images/a.qcow2", "/dev/nvme1n1"):
        assert node_of_path(path, str(tmp_path / "copy")) == node_of_path(path, str(tmp_path / "host"))
    assert "ext4" not in str(kept)
    assert "sda1" not in str(kept)
    assert recorded_locality(str(tmp_path / "copy")) == kept


def test_nothing_is_told(tmp_path: Path) -> None:
    assert node_of_path("/srv/a.raw", str(tmp_path)) is None
    assert recorded_locality(str(tmp_path)) == {}


def test_a_machine_with_dies_a_partition_devices_and_foreign_pages(host_root: Callable[[str], str]) -> None:
    root = host_root("dies-devices")
    facts = read_host_facts(root=root, bridges=["br0"])
    assert {(pcpu.socket, pcpu.die): pcpu.l3 for pcpu in facts.pcpus} == {(0, 0): 0, (0, 1): 1, (1, 0): 2, (1, 1): 3}
    assert [pcpu.pcpu for pcpu in facts.pcpus if pcpu.isolated] == [14, 15]
    assert [pcpu.pcpu for pcpu in facts.pcpus if pcpu.nohz_full] == [15]
    assert (facts.bridges["br0"].host_node, facts.bridges["br0"].mtu) == (1, 9000)
    assert node_of_path("/srv/vm/web1.qcow2", root) == node_of_path("/dev/nvme0n1", root) == 0
    assert [node.pools for node in facts.nodes] == [(PoolFacts(2 << 20, 2048, 1024),), (PoolFacts(2 << 20, 2048, 2048),)]
