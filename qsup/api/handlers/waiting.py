"""Who waits for a pCPU, and for whom: as it was last sampled, or as it goes on."""

from __future__ import annotations

from qsup.api.calls import Call, JsonReply, ReportsReply
from qsup.api.wait_wire import wait_json


async def read_wait(call: Call) -> JsonReply:
    """GET /v1/wait: the last span; of one VM with its last hour where the query names one."""
    vm = _vm_of(call)
    history = call.registry.wait_history(vm) if vm is not None else None
    return JsonReply(wait_json(call.registry.wait(), vm, history))


async def follow_wait(call: Call) -> ReportsReply:
    """GET /v1/wait/stream: every span from now on, one a second."""
    return ReportsReply(_vm_of(call))


def _vm_of(call: Call) -> str | None:
    vm = call.query.get("vm")
    if vm is not None:
        call.registry.view(vm)  # a name that no VM has is an error, not an empty answer
    return vm
