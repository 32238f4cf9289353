"""One event as one line."""

from __future__ import annotations

from qsup.api.client import Json
from qsup.cli.render.amounts import precise_moment
from qsup.cli.terminal import Style, printable


def event_line(event: Json, style: Style) -> str:
    """Time, VM, message, code."""
    subject = f"{event['vm']}: " if event["vm"] else ""
    message = printable(event["message"]).replace("\n", " ")
    when = style.colour("dim", precise_moment(event["time_s"]))
    return f"{when}  {style.colour('bold', subject)}{message} {style.colour('dim', '[' + event['code'] + ']')}"
