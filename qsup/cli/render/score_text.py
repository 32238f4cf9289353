"""Why a score is below 100, in words: one line a VM."""

from __future__ import annotations

from collections.abc import Iterable

from qsup.api.client import Json
from qsup.cli.render.amounts import counted

_LOCAL_DISTANCE = 10


def shortfalls(vms: Iterable[Json]) -> list[str]:
    """Each VM whose scores are not all 100, with what takes from them."""
    told = ((vm["name"], [*_of_seats(vm["score"]), *_of_devices(vm["score"])]) for vm in vms if vm.get("score"))
    return [f"{name}: {'; '.join(reasons)}" for name, reasons in told if reasons]


def _of_seats(score: Json) -> Iterable[str]:
    if score["neighbours"]:
        yield f"SMT {score['smt']}, it shares host cores with {', '.join(score['neighbours'])}"
    if score["split_cores"] and score["smt"] is not None:
        yield f"threads of {counted(score['split_cores'], 'guest core')} lie on different host cores"
    if score["l3"] is not None and score["l3"] < 100:
        yield f"L3 {score['l3']}, its vCPUs lie in {score['l3_groups']} L3 groups where {score['l3_least']} could hold them"
    if score["remote_vcpus"]:
        yield f"NODE {score['node']}, {counted(score['remote_vcpus'], 'vCPU')} away from their memory"


def _of_devices(score: Json) -> Iterable[str]:
    far = [device for device in score["devices"] if device["distance"] > _LOCAL_DISTANCE]
    if far:
        where = (f"{device['device']} on node {device['host_node']}, distance {device['distance']}" for device in far)
        yield f"DEV {score['device']}, {', '.join(where)}"
