"""The audit: the host and its VMs against the rules."""

from __future__ import annotations

import time

from qsup.api.audit_wire import audit_json
from qsup.api.calls import Call, JsonReply


async def read_audit(call: Call) -> JsonReply:
    """GET /v1/audit."""
    skip = frozenset(word for word in call.query.get("skip", "").split(",") if word)
    return JsonReply(audit_json(await call.registry.audit(skip), time.time()))
