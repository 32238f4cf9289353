"""Files of a recorded machine vanish, are empty or hold junk: a machine is read all the same, and can be planned for and shown.

What is read is a machine on which the planner's own promises hold, judged by the independent checker of tests/plan.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qsup.api.topology_wire import map_json
from qsup.bytesize import GIB, MIB
from qsup.cli.render.topology_svg import topology_svg
from qsup.cli.render.topology_text import topology_text
from qsup.cli.terminal import PLAIN
from qsup.host.assumptions import assumptions_of
from qsup.host.boot_settings import read_boot_settings
from qsup.host.facts import read_host_facts
from qsup.host.record import tree_of_host, write_tree
from qsup.plan.host_facts import HostFacts
from qsup.plan.ledger import Ledger
from qsup.plan.score import score_of
from qsup.plan.whatif import Stage, largest_memory, plan_batch
from qsup.spec.cpu import CpuSpec
from qsup.spec.memory import MemorySpec
from qsup.spec.nic import NicSpec
from qsup.spec.vmspec import VmSpec
from qsup.truth.host_map import map_of
from tests.host.machines import HOSTS
from tests.host.recorded import MEMORY_DIR, tree_of_recording
from tests.host.synthesize import HOSTS_DIR
from tests.plan.asking import POLICY, dedicated, vm
from tests.plan.checker import faults_of

SMALL_HOSTS = sorted({path.stem for path in HOSTS_DIR.glob("*.json")} - {"epyc-256", "epyc-nps4", "eight-sockets"})

# None: the file is gone.
JUNK = st.one_of(
    st.none(),
    st.just(""),
    st.text(max_size=30),
    st.from_regex(r"[0-9,:\- ]{0,20}", fullmatch=True),
    st.sampled_from(
        [
            "\n",
            "-1\n",
            "0\n",
            "1\n",
            "0-1\n",
            "3,5-9\n",
            "0-8191\n",
            "1023\n",
            "9999999999999999999\n",
            "4294967295",
            "(null)",
            "\x00\x00",
            "10 10 10\n",
            "0 0\n",
            "255 1\n",
            "Node 0 MemTotal: 5 kB",
            "MemTotal: 999999999999999 kB\nMemFree: 999999999999999 kB\n",
        ]
    ),
)


@cache
def whole(name: str) -> tuple[Path, Mapping[str, str]]:
    """The machine unpacked, once a run; `damaged` mends what it breaks."""
    tree = tree_of_recording(name)
    root = Path(tempfile.mkdtemp(prefix=f"qsup-fuzz-{name}.", dir=MEMORY_DIR))
    write_tree(tree, str(root))
    return root, tree


@pytest.fixture(scope="module", autouse=True)
def _removed_at_the_end() -> Iterator[None]:
    yield
    for name in SMALL_HOSTS:
        shutil.rmtree(whole(name)[0], ignore_errors=True)
    whole.cache_clear()


@contextmanager
def damaged(name: str, changes: Mapping[str, str | None]) -> Iterator[str]:
    """The machine's root with these files replaced or, where None, removed."""
    root, tree = whole(name)
    try:
        for path, text in changes.items():
            file = root / path.lstrip("/")
            if text is None:
                file.unlink()
            else:
                file.write_bytes(text.encode("utf-8", "replace"))
        yield str(root)
    finally:
        for path in changes:
            (root / path.lstrip("/")).write_text(tree[path], encoding="utf-8", newline="")


def batch(facts: HostFacts) -> list[VmSpec]:
    huge = MemorySpec(size_bytes=GIB, hugepages_bytes=2 * MIB)
    nics = tuple(NicSpec(bridge=name) for name in sorted(facts.bridges)[:1])
    return [
        vm("pair", cpu=CpuSpec(vcpus=2, threads=2, placement="dedicated"), memory=huge, nics=nics),
        dedicated("wide", 6, memory=MemorySpec(size_bytes=GIB)),
        vm("iso", cpu=CpuSpec(vcpus=1, placement="isolated")),
        vm("web", cpu=CpuSpec(vcpus=2)),
        vm("spread", memory=MemorySpec(size_bytes=GIB, policy="interleave")),
    ]


def judged(root: str) -> None:
    """Everything that looks at a machine, and the rules that what is planned there keeps."""
    facts = read_host_facts(root=root, bridges=["br0"])
    assert all(isinstance(sentence, str) for sentence in assumptions_of(root))
    read_boot_settings(root)
    tree_of_host(root)
    outcome = plan_batch(batch(facts), Stage(facts, POLICY, Ledger()))
    plans = [holding.plan for holding in outcome.stage.ledger.holdings.values()]
    assert faults_of(facts, POLICY, plans) == []
    for plan in plans:
        score_of(plan, facts, outcome.stage.ledger)
    largest_memory(outcome.stage)
    picture = {"host": "x", **map_json(map_of(facts, POLICY, outcome.stage.ledger)), "assumptions": [], "notes": []}
    assert topology_text(picture, PLAIN, 80)
    assert topology_svg(picture)


@pytest.mark.parametrize("name", SMALL_HOSTS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_files_may_be_missing_empty_or_junk(name: str, data: st.DataObject) -> None:
    files = sorted(path for path in whole(name)[1] if not path.endswith("/"))
    with damaged(name, data.draw(st.dictionaries(st.sampled_from(files), JUNK, max_size=8))) as root:
        judged(root)


@pytest.mark.parametrize("content", [None, "", "junk"])
@pytest.mark.parametrize("kind", ["topology", "cache", "node", "hugepages", "cpu/", "/proc", "/sys"])
def test_a_whole_kind_of_file_may_be_missing_empty_or_junk(kind: str, content: str | None) -> None:
    name = "two-sockets-smt"
    assert name in HOSTS
    changes = {path: content for path in whole(name)[1] if kind in path and not path.endswith("/")}
    assert changes
    with damaged(name, changes) as root:
        judged(root)
