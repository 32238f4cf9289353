"""The truth table: of one VM, of all; and what mends memory."""

from __future__ import annotations

from qsup.api.bodies import NoBody, parse_body
from qsup.api.calls import Call, JsonReply, RefreshReply
from qsup.api.handlers.waiting import vm_asked
from qsup.api.verify_wire import Json, all_verified_json, mended_json, verified_json

INTERVAL_S = 5.0


async def read_verified(call: Call) -> JsonReply:
    """GET /v1/vms/{name}/verify."""
    return JsonReply(verified_json(await call.registry.verify(call.name)))


async def read_all_verified(call: Call) -> JsonReply:
    """GET /v1/verify."""
    return JsonReply(all_verified_json(await call.registry.verify_all()))


async def follow_verified(call: Call) -> RefreshReply:
    """GET /v1/verify/stream: the same again and again, of all VMs or of one; pages as they were counted last."""
    vm = vm_asked(call)

    async def ask() -> Json:
        tables = await call.registry.verify_all(vm)
        return all_verified_json(tables)

    return RefreshReply(await ask(), ask, INTERVAL_S)


async def repair_memory(call: Call) -> JsonReply:
    """POST /v1/vms/{name}/repair-memory."""
    parse_body(call.body, NoBody)
    return JsonReply(mended_json(await call.registry.repair_memory(call.name)))
