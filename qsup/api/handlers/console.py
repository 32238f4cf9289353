"""The serial console: the connection becomes a raw byte stream."""

from __future__ import annotations

from qsup.api.calls import Call, UpgradeReply
from qsup.errors import BadRequest

PROTOCOL = "qsup-console"


async def open_console(call: Call) -> UpgradeReply:
    """GET /v1/vms/{name}/console with `Upgrade: qsup-console`.

    Raises:
        BadRequest: api.needs-upgrade, and whatever the registry refuses.
    """
    asked = [part.strip().lower() for part in call.headers.get("upgrade", "").split(",")]
    if PROTOCOL not in asked:
        message = "the console needs an upgraded connection"
        raise BadRequest("api.needs-upgrade", message, f"send `Connection: Upgrade` and `Upgrade: {PROTOCOL}`")
    return UpgradeReply(PROTOCOL, await call.registry.open_console(call.name))
