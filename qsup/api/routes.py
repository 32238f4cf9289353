"""Everything that can be asked: method, path, handler. docs/api.md lists the same rows; a test compares them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote

from attrs import frozen

from qsup.api.calls import Handler
from qsup.api.handlers.auditing import follow_audit, read_audit
from qsup.api.handlers.console import open_console
from qsup.api.handlers.events import follow_events, list_events
from qsup.api.handlers.lifecycle import pause, reset, restart, resume, start, stop
from qsup.api.handlers.metrics import read_metrics
from qsup.api.handlers.monitor import hmp, qmp
from qsup.api.handlers.pictures import follow_timeline, follow_topology, read_timeline, read_topology
from qsup.api.handlers.reading import read_cmdline, read_host, read_ledger, read_vm, read_vms
from qsup.api.handlers.top import follow_top, read_top
from qsup.api.handlers.verifying import follow_verified, read_all_verified, read_verified, repair_memory
from qsup.api.handlers.waiting import follow_wait, read_wait
from qsup.errors import BadRequest


@frozen
class Route:
    """One row. `{name}` in the path stands for a VM's name; `query` lists the keys that may follow the path."""

    method: str
    path: str
    handler: Handler
    query: frozenset[str] = frozenset()


_EVENT_QUERY = frozenset({"after", "vm"})
_VM_QUERY = frozenset({"vm"})
_AUDIT_QUERY = frozenset({"skip"})

ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/host", read_host),
    Route("GET", "/v1/ledger", read_ledger),
    Route("GET", "/v1/vms", read_vms),
    Route("GET", "/v1/vms/{name}", read_vm),
    Route("GET", "/v1/vms/{name}/cmdline", read_cmdline),
    Route("GET", "/v1/vms/{name}/timeline", read_timeline),
    Route("GET", "/v1/vms/{name}/timeline/stream", follow_timeline),
    Route("GET", "/v1/vms/{name}/verify", read_verified),
    Route("GET", "/v1/verify", read_all_verified),
    Route("GET", "/v1/verify/stream", follow_verified, _VM_QUERY),
    Route("GET", "/v1/audit", read_audit, _AUDIT_QUERY),
    Route("GET", "/v1/audit/stream", follow_audit, _AUDIT_QUERY),
    Route("POST", "/v1/vms/{name}/repair-memory", repair_memory),
    Route("POST", "/v1/vms/{name}/start", start),
    Route("POST", "/v1/vms/{name}/stop", stop),
    Route("POST", "/v1/vms/{name}/restart", restart),
    Route("POST", "/v1/vms/{name}/reset", reset),
    Route("POST", "/v1/vms/{name}/pause", pause),
    Route("POST", "/v1/vms/{name}/resume", resume),
    Route("POST", "/v1/vms/{name}/qmp", qmp),
    Route("POST", "/v1/vms/{name}/hmp", hmp),
    Route("GET", "/v1/vms/{name}/console", open_console),
    Route("GET", "/v1/events", list_events, _EVENT_QUERY),
    Route("GET", "/v1/events/stream", follow_events, _EVENT_QUERY),
    Route("GET", "/v1/wait", read_wait, _VM_QUERY),
    Route("GET", "/v1/wait/stream", follow_wait, _VM_QUERY),
    Route("GET", "/v1/top", read_top, _VM_QUERY),
    Route("GET", "/v1/top/stream", follow_top, _VM_QUERY),
    Route("GET", "/v1/topology", read_topology),
    Route("GET", "/v1/topology/stream", follow_topology),
    Route("GET", "/metrics", read_metrics),
)


@frozen
class Match:
    """A route with what stood in the target: the VM's name (or the empty text) and the query."""

    route: Route
    name: str
    query: Mapping[str, str]


def route_of(method: str, target: str) -> Match:
    """The route for a request target like `/v1/events?after=3`.

    Raises:
        BadRequest: api.no-such-path, api.wrong-method, api.bad-query.
    """
    path, _, query_text = target.partition("?")
    found = [(route, name) for route in ROUTES if (name := _name_in(route.path, path)) is not None]
    if not found:
        raise BadRequest("api.no-such-path", f"there is nothing at {path!r}", "see docs/api.md for the paths")
    for route, name in found:
        if route.method == method:
            return Match(route, name, _query_of(query_text, route))
    methods = ", ".join(route.method for route, _ in found)
    raise BadRequest("api.wrong-method", f"{path!r} does not take {method}", f"use {methods}")


def _name_in(pattern: str, path: str) -> str | None:
    """The text at `{name}`, the empty text where the pattern has none, or None where the path does not match."""
    wanted, given = pattern.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    name = ""
    for want, part in zip(wanted, given, strict=True):
        if want == "{name}" and part:
            name = unquote(part)
        elif want != part:
            return None
    return name


def _query_of(text: str, route: Route) -> Mapping[str, str]:
    try:
        query = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=8, errors="strict"))
    except ValueError:
        raise BadRequest("api.bad-query", "the query cannot be read", "see docs/api.md") from None
    unknown = sorted(set(query) - route.query)
    if unknown:
        known = ", ".join(sorted(route.query)) or "none"
        raise BadRequest("api.bad-query", f"the query key {unknown[0]!r} is unknown here", f"known keys: {known}")
    return query
