"""Who may act, told by the kernel: real clients of other users."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from qsup.api.peers import Peer, authorize_operators
from tests.api.serving import Served, serving

NOBODY = 65534
GROUP = 54321


@pytest.mark.parametrize(
    ("peer", "group", "may"),
    [
        (Peer(1, 0, frozenset({0})), None, True),
        (Peer(1, 1000, frozenset({5})), None, True),
        (Peer(1, 1001, frozenset({5})), None, False),
        (Peer(1, 1001, frozenset({5})), 5, True),
        (Peer(1, 1001, frozenset({6})), 5, False),
    ],
)
def test_the_rule(peer: Peer, group: int | None, may: bool) -> None:
    assert authorize_operators(1000, group)(peer) is may


# Python is loaded as root: another user may not be able to execute this one.
CLIENT = """
import os, socket, sys
path, uid, gid, groups = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
os.setgroups([int(group) for group in groups.split(",") if group])
os.setgid(gid)
os.setuid(uid)
client = socket.socket(socket.AF_UNIX)
client.connect(path)
client.sendall(b"GET /v1/host HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
print(client.recv(15).decode())
"""


async def status_as(served: Served, uid: int, gid: int, groups: list[int]) -> int:
    words = [sys.executable, "-I", "-c", CLIENT, served.path, str(uid), str(gid), ",".join(map(str, groups))]
    done = await trio.run_process(words, capture_stdout=True)
    return int(done.stdout.split()[1])


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that every user may enter."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes other users")
async def test_other_users(open_dir: Path) -> None:
    authorize = authorize_operators(os.getuid(), GROUP)
    async with serving(open_dir, authorize=authorize) as served:
        os.chmod(served.path, 0o666)
        assert await status_as(served, 0, 0, []) == 200
        assert await status_as(served, NOBODY, NOBODY, []) == 403
        assert await status_as(served, NOBODY, NOBODY, [5, 6, 7]) == 403
        assert await status_as(served, NOBODY, GROUP, []) == 200
        assert await status_as(served, NOBODY, NOBODY, [5, GROUP]) == 200
        assert await status_as(served, NOBODY, NOBODY, [*range(2000, 2400), GROUP]) == 200
