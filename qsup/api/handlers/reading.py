"""What is: the daemon, the VMs, one VM, its command line."""

from __future__ import annotations

from qsup.api.calls import Call, JsonReply
from qsup.api.ledger_wire import ledger_json
from qsup.api.wire import cmdline_json, vm_json, vms_json


async def read_host(call: Call) -> JsonReply:
    """GET /v1/host."""
    return JsonReply(dict(call.registry.host()))


async def read_ledger(call: Call) -> JsonReply:
    """GET /v1/ledger."""
    return JsonReply(ledger_json(await call.registry.ledger()))


async def read_vms(call: Call) -> JsonReply:
    """GET /v1/vms."""
    return JsonReply(vms_json(call.registry.views()))


async def read_vm(call: Call) -> JsonReply:
    """GET /v1/vms/{name}."""
    return JsonReply(vm_json(call.registry.view(call.name)))


async def read_cmdline(call: Call) -> JsonReply:
    """GET /v1/vms/{name}/cmdline."""
    return JsonReply(cmdline_json(call.registry.cmdline(call.name)))
