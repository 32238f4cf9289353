"""What happened, and what happens."""

from __future__ import annotations

from qsup.api.calls import Call, EventsReply, JsonReply
from qsup.api.wire import events_json
from qsup.errors import BadRequest


async def list_events(call: Call) -> JsonReply:
    """GET /v1/events: the kept history, after a number and of one VM where the query says so."""
    after_seq = _number_of(call.query.get("after"), "after")
    wanted = call.query.get("vm")
    last_seq = _last_seq(call)
    events = call.registry.events(_within(after_seq, last_seq))
    return JsonReply(events_json([event for event in events if wanted in (None, event.vm)], last_seq))


async def follow_events(call: Call) -> EventsReply:
    """GET /v1/events/stream: where to go on is the header Last-Event-ID (a reconnect), else `after`, else now."""
    header = call.headers.get("last-event-id")
    after_seq = _number_of(header, "Last-Event-ID") if header else _number_of(call.query.get("after"), "after")
    return EventsReply(_within(after_seq, _last_seq(call)), call.query.get("vm"))


def _last_seq(call: Call) -> int:
    history = call.registry.events(None)
    return history[-1].seq if history else 0


def _within(after_seq: int | None, last_seq: int) -> int | None:
    # Numbers start anew with each daemon: one from the future was counted by a daemon that is gone.
    return 0 if after_seq is not None and after_seq > last_seq else after_seq


def _number_of(text: str | None, key: str) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadRequest("api.bad-query", f"{key} is {text!r}, not a whole number", "give the `seq` of an event")
    return int(text)
