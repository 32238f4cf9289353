"""The metrics, in the Prometheus text format."""

from __future__ import annotations

from qsup.api.calls import Call, TextReply
from qsup.api.metrics_text import CONTENT_TYPE, text_of


async def read_metrics(call: Call) -> TextReply:
    """GET /metrics."""
    return TextReply(text_of(call.registry.metrics()), CONTENT_TYPE)
