"""qsup topology: golden texts of recorded machines, the picture, the recording, and what is refused."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from qsup.api.client import Json
from qsup.api.topology_wire import map_json
from qsup.cli.render.topology_svg import topology_svg
from qsup.cli.render.topology_text import topology_text
from qsup.cli.terminal import PLAIN
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Ledger
from qsup.plan.whatif import Stage, plan_batch
from qsup.spec.cpu import CpuSpec
from qsup.spec.vmspec import VmSpec
from qsup.truth.host_map import map_of
from tests.api.memory_registry import MemoryRegistry
from tests.api.serving import serving
from tests.cli.running import qsup
from tests.host.synthesize import HOSTS_DIR
from tests.plan.asking import POLICY, dedicated, started, vm
from tests.plan.hosts import eight_nodes, laptop, two_sockets

GOLDEN = Path(__file__).parent / "golden_hosts"


def picture(name: str, facts: HostFacts, specs: list[VmSpec]) -> Json:
    ledger = plan_batch(specs, Stage(facts, POLICY, Ledger())).stage.ledger
    return {"host": name, **map_json(map_of(facts, POLICY, ledger)), "assumptions": [], "notes": []}


def full_two_sockets() -> Json:
    specs = [
        dedicated("db1", 6, threads=2),
        dedicated("web1", 3),
        vm("iso", cpu=CpuSpec(vcpus=2, placement="isolated")),
        vm("pin", cpu=CpuSpec(vcpus=2, placement="pinned", pin=(frozenset({30}), frozenset({31})))),
        *(vm(f"shared{number}") for number in range(20)),
    ]
    return picture("two sockets", two_sockets(), specs)


@cache
def full_256() -> Json:
    specs = [dedicated(f"db{number}", 8 + 2 * (number % 5), threads=2) for number in range(14)]
    specs += [dedicated(f"w{number}", 3) for number in range(12)] + [vm(f"sh{number}") for number in range(900)]
    return picture("eight nodes", eight_nodes(16), specs)


@cache
def full_100() -> Json:
    specs = [dedicated(f"db{number:02}", 2 + 2 * (number % 4), threads=2) for number in range(30)]
    specs += [dedicated(f"web{number:02}", 1 + number % 2) for number in range(20)]
    specs += [vm(f"batch{number:02}") for number in range(50)]
    return picture("eight nodes", eight_nodes(16), specs)


@pytest.mark.parametrize("name", ["epyc-nps4", "hybrid", "malformed", "epyc-256", "memory-only-node", "dies-devices"])
async def test_golden_topology(name: str, regenerate: bool) -> None:
    path = HOSTS_DIR / f"{name}.json"
    ran = await qsup("topology", "--host", str(path))
    text = ran.out.replace(str(path), f"{name}.json")
    golden = GOLDEN / f"topology-{name}.txt"
    if regenerate:
        golden.write_text(text)
    assert (ran.code, ran.err) == (0, "")
    assert text == golden.read_text()


@pytest.mark.parametrize("make", [full_two_sockets, full_100, full_256])
def test_golden_topology_with_vms(make: Any, regenerate: bool) -> None:
    text = topology_text(make(), PLAIN, 80) + "\n"
    golden = GOLDEN / f"{make.__name__}.txt"
    if regenerate:
        golden.write_text(text)
    assert text == golden.read_text()
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) < 140


@pytest.mark.parametrize("name", sorted(path.stem for path in HOSTS_DIR.glob("*.json")))
async def test_every_recorded_host_is_shown_and_drawn(name: str, tmp_path: Path) -> None:
    drawing = tmp_path / "host.svg"
    ran = await qsup("topology", "--host", str(HOSTS_DIR / f"{name}.json"), "--svg", str(drawing), "--json")
    assert (ran.code, ran.err) == (0, "")
    root = ElementTree.fromstring(drawing.read_text())
    tooltips = [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(tooltips) == ran.json["pcpus"]


def small() -> Json:
    return picture("laptop", laptop(), [dedicated("web1", 1), vm("db1"), vm("db2")])


@pytest.mark.parametrize("make", [full_two_sockets, full_100, full_256, small])
def test_boxes_of_a_picture_lie_within_it(make: Any) -> None:
    root = ElementTree.fromstring(topology_svg(make()))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for left, top, right, bottom in rectangles(root, 0.0, 0.0):
        assert -0.5 <= left <= right <= width + 0.5
        assert -0.5 <= top <= bottom <= height + 0.5


def words_of(root: ElementTree.Element) -> str:
    return " ".join(text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text"))


def test_a_picture_of_100_vms_names_each_and_paints_none_black() -> None:
    host = full_100()
    root = ElementTree.fromstring(topology_svg(host))
    cells = [rect for rect in root.iter("{http://www.w3.org/2000/svg}rect") if len(rect)]
    assert len(cells) == 256
    fills = [rect.attrib["fill"] for rect in cells]
    assert all(re.fullmatch("#[0-9a-f]{6}", fill) for fill in fills), "what SVG 1.1 does not know is painted black"
    assert len(set(fills)) >= 50, "each VM that has pCPUs has a colour of its own"
    words = words_of(root)
    assert [name for name in host["vms"] if name not in words] == []


def test_whoever_floats_stands_below_the_picture() -> None:
    root = ElementTree.fromstring(topology_svg(small()))
    assert "pool 0: 2 vCPUs of 2 VMs: db1, db2" in words_of(root)


def rectangles(node: ElementTree.Element, left: float, top: float) -> list[tuple[float, float, float, float]]:
    """All rectangles as they lie on the sheet."""
    if "transform" in node.attrib:
        across, down = node.attrib["transform"].removeprefix("translate(").rstrip(")").split()
        left, top = left + float(across), top + float(down)
    found = []
    if node.tag.endswith("rect"):
        x, y = left + float(node.attrib.get("x", 0)), top + float(node.attrib.get("y", 0))
        found.append((x, y, x + float(node.attrib["width"]), y + float(node.attrib["height"])))
    return found + [rectangle for child in node for rectangle in rectangles(child, left, top)]


def test_hostile_names_stay_text() -> None:
    document = picture('<a href="x">&\x1b[31m', laptop(), [])
    ElementTree.fromstring(topology_svg(document))
    assert "\x1b" not in topology_text(document, PLAIN, 80)


async def test_the_daemon_tells_who_sits_where(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    registry.held = started([dedicated("db1", 1)], laptop())[0]
    async with serving(tmp_path, registry=registry) as served:
        ran = await qsup("topology", "--json", served=served)
    assert ran.code == 0
    assert ran.json["basis"] == "the running daemon"
    assert ran.json["vms"] == ["db1"]


async def test_without_a_daemon(tmp_path: Path) -> None:
    ran = await qsup("topology", "--run-dir", str(tmp_path / "none"))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("this host: ")


async def test_a_recording_shows_the_same_machine(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded"
    ran = await qsup("topology", "--record", str(recorded))
    assert ran.code == 0
    ours = (await qsup("topology", "--json", "--run-dir", str(tmp_path))).json
    theirs = (await qsup("topology", "--json", "--host", str(recorded))).json
    assert (ours["pcpus"], ours["cores"], ours["threads"]) == (theirs["pcpus"], theirs["cores"], theirs["threads"])
    assert [node["memory_total_bytes"] for node in ours["nodes"]] == [node["memory_total_bytes"] for node in theirs["nodes"]]
    assert (await qsup("topology", "--record", str(tmp_path / "again"), "--json")).json["files"] > 5


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 66, "No such file"),
        ("", 65, "no recorded host"),
        ("{", 65, "no recorded host"),
        ("[]", 65, "JSON object"),
        ('{"/a": 1}', 65, "JSON object"),
        ('{"/../x": ""}', 65, "outside the tree"),
        ('{"/a": "", "/a/b": ""}', 65, "no recorded host"),
        ('{"/a\\u0000": ""}', 65, "no recorded host"),
        ('{"/a": "\\ud800"}', 65, "no recorded host"),
        ("{}", 65, "neither sys/ nor proc/"),
        ("[" * 100_000, 65, "no recorded host"),
        (b"\xff\xfe", 65, "no recorded host"),
    ],
)
async def test_what_is_no_recorded_host(content: str | bytes | None, code: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for verb in ("topology", "plan"):
        ran = await qsup(verb, "--host", str(path))
        assert (ran.code, ran.out) == (code, "")
        assert words in ran.err


@pytest.mark.parametrize("path", ["/sys/devices/system/cpu/online", "/proc/meminfo", "/sys/devices/system/node/online"])
@pytest.mark.parametrize("content", [None, "", "\n", "-1\n", "0-99999999\n", "\u0663\n", "x" * 5000])
async def test_broken_files_become_assumptions(path: str, content: str | None, tmp_path: Path) -> None:
    tree = json.loads((HOSTS_DIR / "two-sockets-smt.json").read_text())
    if content is None:
        del tree[path]
    else:
        tree[path] = content
    (tmp_path / "host.json").write_text(json.dumps(tree))
    ran = await qsup("topology", "--host", str(tmp_path / "host.json"))
    assert (ran.code, ran.err) == (0, "")
    assert "pCPU" in ran.out


async def test_an_empty_tree_is_one_pcpu_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    ran = await qsup("topology", "--host", str(tmp_path))
    assert ran.code == 0
    assert "1 pCPU, 1 core, 1 node" in ran.out
    assert "assumed: no list of pCPUs is told" in ran.out


async def test_contradictions_and_places_that_cannot_be_written(tmp_path: Path) -> None:
    assert (await qsup("topology", "--record", str(tmp_path), "--host", str(tmp_path))).code == 2
    assert (await qsup("topology", "--vms")).code == 2
    blocked = tmp_path / "file"
    blocked.write_text("")
    for words in (["--record", f"{blocked}/x"], ["--svg", f"{blocked}/x"]):
        ran = await qsup("topology", "--run-dir", str(tmp_path), *words)
        assert (ran.code, ran.out) == (1, "")
        assert "cannot be written" in ran.err


def test_an_empty_ledger_seats_nobody() -> None:
    assert map_of(laptop(), POLICY, Ledger()).vms == ()
