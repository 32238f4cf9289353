"""Frames as a daemon sends them: the golden one with three VMs, and crowds that are made of it, always the same ones."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from random import Random
from typing import Any

WIRE = Path(__file__).parents[2] / "api" / "golden"
_BRIDGES = ("br0", "br1", "storage")


def three() -> dict[str, Any]:
    """One VM waits for a pCPU, one is silent, one is off."""
    frame: dict[str, Any] = json.loads((WIRE / "top.json").read_text())
    return frame


def of_one() -> dict[str, Any]:
    """The one that waits, with its threads."""
    frame: dict[str, Any] = json.loads((WIRE / "top-of-one.json").read_text())
    return frame


def crowd(count: int, seconds: int = 0) -> dict[str, Any]:
    """So many VMs at this second; in each second a few of them do something else than before."""
    frame = three()
    models = {vm["name"]: vm for vm in frame["vms"]}
    vms = [_vm(models["web1"], number, seconds) for number in range(count)]
    for model, step in (("off1", 17), ("db1", 53)):
        for number in range(step - 1, count, step):
            vms[number] = {**copy.deepcopy(models[model]), "name": _name(number)}
    frame["vms"] = vms
    frame["at_s"] = frame["at_s"] + seconds
    waiting = [{"vm": vm["name"], **vm["worst"]} for vm in vms if vm["worst"] is not None]
    frame["waiting"] = sorted(waiting, key=lambda row: -row["ready_share"])[:100]
    return frame


def _name(number: int) -> str:
    return f"{('web', 'db', 'cache', 'build')[number % 4]}{number:03}"


def _vm(model: dict[str, Any], number: int, seconds: int) -> dict[str, Any]:
    steady, moving = Random(number), Random(number * 1000 + seconds)
    vm = copy.deepcopy(model)
    vm.update(name=_name(number), pid=10_000 + number, vcpus=steady.choice((1, 2, 4, 8)))
    vm["memory_bytes"] = steady.choice((1, 4, 8, 64)) << 30
    vm["run_share"] = round(vm["vcpus"] * steady.random() * (0.9 + 0.1 * moving.random()), 5)
    waits = steady.random() < 0.3
    vm["ready_share"] = round(steady.random() * 0.3 * (0.8 + 0.2 * moving.random()), 5) if waits else 0.0
    vm["worst"] = _worst(vm["ready_share"], steady) if vm["ready_share"] >= 0.005 else None
    vm["drifting"] = int(steady.random() < 0.03)
    if steady.random() < 0.05:
        vm["misplaced_bytes"], vm["local_percent"] = 1 << 28, 93.7
    for nic in vm["nics"]:
        nic["bridge"] = steady.choice(_BRIDGES)
        nic.update(sent_bytes=round(moving.random() * 1e7), received_bytes=round(moving.random() * 1e6))
    if vm["qemu"] is not None and seconds % 10 == number % 10:
        vm["qemu"]["exits"] = {name: round(moving.random() * 50_000) for name in vm["qemu"]["exits"]}
    return vm


def _worst(share: float, steady: Random) -> dict[str, Any]:
    named = round(share * 0.9, 5)
    return {
        "role": f"vcpu {steady.randrange(4)}", "thread_class": "vcpu", "tid": steady.randrange(1000, 30_000),
        "pcpu": steady.randrange(128), "run_share": 0.4, "ready_share": share, "throttled_share": 0.0,
        "unknown_share": round(share - named, 5), "unknown_why": "short-lived or moving threads",
        "blame": [{"who": f"{_name(steady.randrange(100))} vCPU {steady.randrange(4)}", "share": named}],
        "involuntary": steady.randrange(500),
    }  # fmt: skip
