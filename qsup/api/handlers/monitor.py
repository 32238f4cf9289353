"""Straight to QEMU's monitor."""

from __future__ import annotations

from qsup.api.bodies import HmpBody, QmpBody, parse_body
from qsup.api.calls import Call, JsonReply


async def qmp(call: Call) -> JsonReply:
    """POST /v1/vms/{name}/qmp: {"result": QEMU's return value}."""
    body = parse_body(call.body, QmpBody)
    return JsonReply({"result": await call.registry.qmp(call.name, body.command, body.arguments)})


async def hmp(call: Call) -> JsonReply:
    """POST /v1/vms/{name}/hmp: {"result": what the monitor printed}."""
    body = parse_body(call.body, HmpBody)
    return JsonReply({"result": await call.registry.hmp(call.name, body.text)})
