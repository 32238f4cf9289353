"""The audit: the host and its VMs against the rules."""

from __future__ import annotations

import time

from qsup.api.audit_wire import audit_json
from qsup.api.calls import Call, JsonReply, RefreshReply
from qsup.api.wire import Json

INTERVAL_S = 60.0


async def read_audit(call: Call) -> JsonReply:
    """GET /v1/audit."""
    return JsonReply(await _audited(call))


async def follow_audit(call: Call) -> RefreshReply:
    """GET /v1/audit/stream: the same again and again."""
    return RefreshReply(await _audited(call), lambda: _audited(call), INTERVAL_S)


async def _audited(call: Call) -> Json:
    skip = frozenset(word for word in call.query.get("skip", "").split(",") if word)
    return audit_json(await call.registry.audit(skip), time.time())
