"""Real taps and bridges, each with a name of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

import pytest

from qsup.errors import KernelRefused
from qsup.host.link_table import read_links
from qsup.host.links import attach_tap, create_bridge, delete_bridge, is_bridge, link_mtu, tap_exists
from qsup.host.taps import open_tap
from qsup.host.vhost import VHOST_PATH, open_vhost
from qsup.truth.link_facts import LinkFacts


@contextmanager
def tap(name: str, queues: int = 1) -> Iterator[tuple[int, ...]]:
    fds = open_tap(name, queues)
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def link(name: str) -> LinkFacts:
    return next(link for link in read_links() if link.name == name)


@pytest.mark.root
@pytest.mark.parametrize("queues", [1, 4])
def test_a_tap_lives_as_long_as_its_descriptors(link_name: str, queues: int) -> None:
    with tap(link_name, queues) as fds:
        assert len(fds) == queues
        assert not any(os.get_inheritable(fd) for fd in fds)
        assert tap_exists(link_name)
        assert (link(link_name).kind, link(link_name).queues, link(link_name).up) == ("tun", queues, False)
    assert not tap_exists(link_name)


@pytest.mark.root
@pytest.mark.parametrize("queues", [1, 2])
def test_a_name_in_use_is_refused_and_not_joined(link_name: str, queues: int) -> None:
    with tap(link_name, queues):
        with pytest.raises(KernelRefused, match=f"a link called {link_name} exists already") as caught:
            open_tap(link_name, queues)
        assert caught.value.code == "host.tap-busy"
        assert link(link_name).queues == queues


@pytest.mark.parametrize("name", ["", "a" * 16, "ä" * 8])
def test_names_that_no_tap_can_have(name: str) -> None:
    with pytest.raises(KernelRefused, match="1 to 15 bytes are accepted") as caught:
        open_tap(name, 1)
    assert caught.value.code == "host.tap-name"


@pytest.mark.root
def test_names_that_the_kernel_refuses() -> None:
    with pytest.raises(KernelRefused, match="the kernel refused tap a/b") as caught:
        open_tap("a/b", 1)
    assert caught.value.code == "host.tap-refused"


@pytest.mark.root
@pytest.mark.parametrize("queues", [1, 2])
def test_a_tap_on_a_bridge(link_name: str, bridge_name: str, queues: int) -> None:
    assert create_bridge(bridge_name)
    mac = link(bridge_name).mac
    with tap(link_name, queues):
        attach_tap(link_name, bridge_name)
        attached = link(link_name)
        assert (attached.bridge, attached.up, attached.mtu) == (bridge_name, True, 1500)
        assert (attached.mac or "").startswith("fe:")
        ipv6 = Path(f"/proc/sys/net/ipv6/conf/{link_name}/disable_ipv6")
        assert not ipv6.exists() or ipv6.read_text() == "1\n"
        assert link(bridge_name).mac == mac
    assert not tap_exists(link_name)


@pytest.mark.root
def test_one_bridge_is_made_by_one_of_many_who_ask_at_once(bridge_name: str) -> None:
    for _ in range(20):
        together = Barrier(8)

        def make(together: Barrier = together) -> bool:
            together.wait()
            return create_bridge(bridge_name)

        with ThreadPoolExecutor(8) as threads:
            made = [asked.result() for asked in [threads.submit(make) for _ in range(8)]]
        assert made.count(True) == 1
        assert link(bridge_name).up
        assert delete_bridge(bridge_name)


@pytest.mark.root
def test_a_given_mtu_is_set_and_the_bridge_gives_the_default(link_name: str, bridge_name: str) -> None:
    create_bridge(bridge_name)
    with tap(link_name), tap(f"{link_name}b"):
        attach_tap(link_name, bridge_name, 9000)
        assert link_mtu(link_name) == link_mtu(bridge_name) == 9000  # a bridge follows its ports
        attach_tap(f"{link_name}b", bridge_name)
        assert link_mtu(f"{link_name}b") == 9000


@pytest.mark.root
def test_what_a_tap_cannot_join(link_name: str, bridge_name: str) -> None:
    with tap(link_name):
        for bridge, reason in ((bridge_name, "does not exist"), ("lo", "is no bridge")):
            with pytest.raises(KernelRefused, match=f"{link_name} cannot join {bridge}: it .*{reason}") as caught:
                attach_tap(link_name, bridge)
            assert caught.value.code == "host.bridge-missing"
        create_bridge(bridge_name)
        with pytest.raises(KernelRefused, match="cannot set the MTU to 1000000") as caught:
            attach_tap(link_name, bridge_name, 1_000_000)
        assert caught.value.code == "host.link-refused"
    with pytest.raises(KernelRefused) as caught:
        attach_tap(link_name, bridge_name)
    assert caught.value.code == "host.link-missing"


@pytest.mark.root
def test_bridges_are_made_once_and_removed_once(bridge_name: str) -> None:
    assert not is_bridge(bridge_name)
    assert create_bridge(bridge_name)
    assert not create_bridge(bridge_name)
    assert is_bridge(bridge_name)
    assert (link(bridge_name).kind, link(bridge_name).up) == ("bridge", True)
    assert delete_bridge(bridge_name)
    assert not delete_bridge(bridge_name)
    assert not tap_exists(bridge_name)


@pytest.mark.root
def test_a_bridge_cannot_take_the_name_of_another_link(link_name: str) -> None:
    with tap(link_name):
        with pytest.raises(KernelRefused, match="exists and is no bridge") as caught:
            create_bridge(link_name)
        assert caught.value.code == "host.link-name-taken"
        assert not delete_bridge(link_name)


@pytest.mark.parametrize("name", ["", "a" * 16])
def test_names_that_no_link_can_have(name: str) -> None:
    with pytest.raises(KernelRefused, match="1 to 15 bytes are accepted"):
        create_bridge(name)


def test_the_link_table_agrees_with_the_kernel() -> None:
    table = {link.name: link for link in read_links()}
    assert table["lo"].index == socket.if_nametoindex("lo")
    assert table["lo"].mtu == link_mtu("lo")


def test_vhost_is_opened_or_refused_by_name() -> None:
    if os.access(VHOST_PATH, os.R_OK | os.W_OK):
        fds = open_vhost(2)
        assert len(set(fds)) == 2
        for fd in fds:
            os.close(fd)
    else:
        with pytest.raises(KernelRefused, match="/dev/vhost-net cannot be opened") as caught:
            open_vhost(2)
        assert caught.value.code in ("host.vhost-missing", "host.vhost-refused")
    assert open_vhost(0) == ()
