"""The host with everybody in their seats, and how a VM started: as it is, or again whenever it has changed."""

from __future__ import annotations

from qsup.api.calls import Call, JsonReply, RefreshReply
from qsup.api.topology_wire import Json, map_json
from qsup.api.wire import timeline_json

TOPOLOGY_INTERVAL_S = 5.0
TIMELINE_INTERVAL_S = 1.0


async def read_topology(call: Call) -> JsonReply:
    """GET /v1/topology."""
    return JsonReply(map_json(await call.registry.topology()))


async def follow_topology(call: Call) -> RefreshReply:
    """GET /v1/topology/stream."""

    async def ask() -> Json:
        return map_json(await call.registry.topology())

    return RefreshReply(await ask(), ask, TOPOLOGY_INTERVAL_S)


async def read_timeline(call: Call) -> JsonReply:
    """GET /v1/vms/{name}/timeline."""
    return JsonReply(timeline_json(call.registry.view(call.name)))


async def follow_timeline(call: Call) -> RefreshReply:
    """GET /v1/vms/{name}/timeline/stream."""

    async def ask() -> Json:
        return timeline_json(call.registry.view(call.name))

    return RefreshReply(await ask(), ask, TIMELINE_INTERVAL_S)
