"""What `qsup top` shows: all VMs in a row each, or one with its threads."""

from __future__ import annotations

from qsup.api.calls import Call, JsonReply, ReportsReply
from qsup.api.handlers.waiting import vm_asked
from qsup.api.top_wire import top_json
from qsup.api.wire import to_bytes


async def read_top(call: Call) -> JsonReply:
    """GET /v1/top: as it was last sampled; what QEMUs tell is there as long as somebody watches."""
    return JsonReply(top_json(call.registry.top(call.registry.wait(), vm_asked(call))))


async def follow_top(call: Call) -> ReportsReply:
    """GET /v1/top/stream: every second from now on."""
    vm, registry = vm_asked(call), call.registry
    return ReportsReply(lambda report: to_bytes(top_json(registry.top(report, vm))))
