"""Orders: start, stop, restart, reset, pause, resume. Each answers with its Outcome."""

from __future__ import annotations

from qsup.api.bodies import StartBody, StopBody, WaitBody, parse_body
from qsup.api.calls import Call, JsonReply
from qsup.api.registry import Verb
from qsup.api.wire import outcome_json


async def start(call: Call) -> JsonReply:
    """POST /v1/vms/{name}/start."""
    body = parse_body(call.body, StartBody)
    outcome = await call.registry.act(call.name, "start", paused=body.paused, wait=body.wait)
    return JsonReply(outcome_json(outcome))


async def stop(call: Call) -> JsonReply:
    """POST /v1/vms/{name}/stop."""
    return await _act_forcibly(call, "stop")


async def restart(call: Call) -> JsonReply:
    """POST /v1/vms/{name}/restart."""
    return await _act_forcibly(call, "restart")


async def reset(call: Call) -> JsonReply:
    """POST /v1/vms/{name}/reset."""
    return await _act_plainly(call, "reset")


async def pause(call: Call) -> JsonReply:
    """POST /v1/vms/{name}/pause."""
    return await _act_plainly(call, "pause")


async def resume(call: Call) -> JsonReply:
    """POST /v1/vms/{name}/resume."""
    return await _act_plainly(call, "resume")


async def _act_forcibly(call: Call, verb: Verb) -> JsonReply:
    body = parse_body(call.body, StopBody)
    return JsonReply(outcome_json(await call.registry.act(call.name, verb, force=body.force, wait=body.wait)))


async def _act_plainly(call: Call, verb: Verb) -> JsonReply:
    body = parse_body(call.body, WaitBody)
    return JsonReply(outcome_json(await call.registry.act(call.name, verb, wait=body.wait)))
