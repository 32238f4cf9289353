"""The truth table: of one VM, of all; and what mends memory."""

from __future__ import annotations

from qsup.api.bodies import NoBody, parse_body
from qsup.api.calls import Call, JsonReply
from qsup.api.verify_wire import all_verified_json, mended_json, verified_json


async def read_verified(call: Call) -> JsonReply:
    """GET /v1/vms/{name}/verify."""
    return JsonReply(verified_json(await call.registry.verify(call.name)))


async def read_all_verified(call: Call) -> JsonReply:
    """GET /v1/verify."""
    return JsonReply(all_verified_json(await call.registry.verify_all()))


async def repair_memory(call: Call) -> JsonReply:
    """POST /v1/vms/{name}/repair-memory."""
    parse_body(call.body, NoBody)
    return JsonReply(mended_json(await call.registry.repair_memory(call.name)))
