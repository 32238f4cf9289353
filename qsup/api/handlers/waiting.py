"""Who waits for a pCPU, and for whom: as it was last sampled, or as it goes on."""

from __future__ import annotations

from qsup.api.calls import Call, JsonReply, ReportsReply
from qsup.api.wait_wire import wait_json, wait_line


async def read_wait(call: Call) -> JsonReply:
    """GET /v1/wait: the last span; of one VM with its last hour where the query names one."""
    vm = vm_asked(call)
    history = call.registry.wait_history(vm) if vm is not None else None
    return JsonReply(wait_json(call.registry.wait(), vm, history))


async def follow_wait(call: Call) -> ReportsReply:
    """GET /v1/wait/stream: every span from now on, one a second."""
    vm = vm_asked(call)
    return ReportsReply(lambda report: wait_line(report, vm))


def vm_asked(call: Call) -> str | None:
    """The VM that the query names.

    Raises:
        BadRequest: api.unknown-vm.
    """
    vm = call.query.get("vm")
    if vm is not None:
        call.registry.view(vm)  # a name that no VM has is an error, not an empty answer
    return vm
