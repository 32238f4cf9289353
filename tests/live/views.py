"""Waiting for what the API tells of a VM, and its errors by their code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

from tests.live.harness import Daemon, until

View = dict[str, Any]


def view_of(daemon: Daemon, name: str) -> View:
    """Everything about one VM, straight from the API."""
    view: View = daemon.client.get(f"/v1/vms/{name}")
    return view


def wait_view(daemon: Daemon, name: str, condition: Callable[[View], Any], what: str) -> View:
    """The first view of the VM that meets the condition."""

    def met() -> View | None:
        if name not in names_of(daemon):
            return None
        view = view_of(daemon, name)
        return view if condition(view) else None

    try:
        found: View = until(met, what)
    except AssertionError as error:
        view = view_of(daemon, name) if name in names_of(daemon) else "unknown"
        raise AssertionError(f"{error}\n{view}\n{daemon.tail()}") from None
    return found


def wait_known(daemon: Daemon, name: str) -> None:
    """Wait until the daemon has seen the VM's file."""
    until(lambda: name in names_of(daemon), f"{name} is known")


def names_of(daemon: Daemon) -> set[str]:
    """The VMs that the daemon knows."""
    return {vm["name"] for vm in daemon.client.get("/v1/vms")["vms"]}


def events_of(daemon: Daemon, name: str | None = None) -> list[View]:
    """The kept events, of one VM or all, oldest first."""
    query = f"?vm={name}" if name else ""
    events: list[View] = daemon.client.get(f"/v1/events{query}")["events"]
    return events


def codes_of(daemon: Daemon, name: str) -> list[str]:
    """The codes of a VM's events, oldest first."""
    return [event["code"] for event in events_of(daemon, name)]


def order(daemon: Daemon, verb: str, name: str, *words: str, check: int = 0) -> View:
    """A lifecycle verb with --json: its one answer, an outcome or `{"vm", "error"}`."""
    done: subprocess.CompletedProcess[str] = daemon.cli(verb, name, *words, "--json", check=check)
    answers = json.loads(done.stdout)
    assert [answer["vm"] for answer in answers] == [name]
    answer: View = answers[0]
    return answer
