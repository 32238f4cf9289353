"""Who waited, as JSON: the reply of `GET /v1/wait`, and the same as a line of its stream.

Strategy: a watched fleet makes a thousand rows a second, most of threads that did nothing. Rows are written out by hand, and
the text of an idle one is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from qsup.api.wire import Json, to_bytes
from qsup.supervisor.wait_watch import WaitReport
from qsup.truth.wait import BlameShare, ThreadWait, VmWait
from qsup.truth.wait_history import WaitMinute

_DIGITS = 5
_KEPT_ROWS = 8192


def wait_json(report: WaitReport | None, vm: str | None, history: Iterable[WaitMinute] | None) -> Json:
    """Who waited in one span: of one VM or all; `history` only where it is given. Without a report all is null or empty."""
    waits = report.interval.vms if report is not None else ()
    value: Json = {**_span_json(report), "vms": [_vm_wait_json(wait) for wait in waits if vm in (None, wait.vm)]}
    if history is not None:
        value["history"] = [_minute_json(minute) for minute in history]
    return value


def wait_line(report: WaitReport, vm: str | None) -> bytes:
    """The text of `wait_json` without history, on one line."""
    vms = b",".join(_vm_text(wait) for wait in report.interval.vms if vm in (None, wait.vm))
    return to_bytes(_span_json(report))[:-1] + b',"vms":[' + vms + b"]}"


def _vm_text(wait: VmWait) -> bytes:
    return to_bytes(_vm_shares(wait))[:-1] + b',"threads":[' + b",".join(map(_thread_text, wait.threads)) + b"]}"


def _thread_text(wait: ThreadWait) -> bytes:
    if wait.run_share or wait.ready_share or wait.involuntary is not None:
        return to_bytes(_thread_wait_json(wait))
    return _idle_text(wait)


@lru_cache(_KEPT_ROWS)
def _idle_text(wait: ThreadWait) -> bytes:
    return to_bytes(_thread_wait_json(wait))


def _span_json(report: WaitReport | None) -> Json:
    interval = report.interval if report is not None else None
    return {
        "at_s": round(report.at_s, 3) if report is not None else None,
        "span_s": round(interval.span_s, 3) if interval is not None else None,
        "blamed": interval.blamed if interval is not None else False,
        "exact": interval.exact if interval is not None else False,
        "steal_share": round(interval.steal_share, _DIGITS) if interval is not None else None,
    }


def _vm_wait_json(wait: VmWait) -> Json:
    return {**_vm_shares(wait), "threads": [_thread_wait_json(thread) for thread in wait.threads]}


def _vm_shares(wait: VmWait) -> Json:
    return {
        "vm": wait.vm,
        "ready_share": round(wait.ready_share, _DIGITS),
        "throttled_share": round(wait.throttled_share, _DIGITS),
        "skew_share": round(wait.skew_share, _DIGITS),
    }


def _thread_wait_json(wait: ThreadWait) -> Json:
    return {
        "role": wait.role,
        "thread_class": wait.thread_class,
        "tid": wait.tid,
        "pcpu": wait.pcpu,
        "run_share": round(wait.run_share, _DIGITS),
        "ready_share": round(wait.ready_share, _DIGITS),
        "throttled_share": round(wait.throttled_share, _DIGITS),
        "unknown_share": round(wait.unknown_share, _DIGITS),
        "unknown_why": wait.unknown_why,
        "blame": [_share_json(item) for item in wait.blame],
        "involuntary": wait.involuntary,
    }


def _share_json(item: BlameShare) -> Json:
    return {"who": item.who, "share": round(item.share, _DIGITS)}


def _minute_json(minute: WaitMinute) -> Json:
    return {
        "begins_at_s": minute.begins_at_s,
        "seen_s": round(minute.seen_s, _DIGITS),
        "ready_share": round(minute.ready_share, _DIGITS),
        "worst_share": round(minute.worst_share, _DIGITS),
        "throttled_share": round(minute.throttled_share, _DIGITS),
        "skew_share": round(minute.skew_share, _DIGITS),
        "blame": [_share_json(item) for item in minute.blame],
    }
