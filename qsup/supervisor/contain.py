"""contain: the one place where any exception is caught, so that one VM's trouble reaches no other and not the daemon."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

from qsup.errors import QsupError
from qsup.supervisor.events import EventLog
from qsup.supervisor.vm_state import VmState


async def contain(deed: str, work: Awaitable[object]) -> QsupError | None:
    """Await the work; what goes wrong comes back as an error. What no one foresaw is a `supervisor.bug`, its cause kept."""
    try:
        await work
    except QsupError as error:
        return error
    except Exception as error:
        return _bug(deed, error)
    return None


def contain_call(deed: str, work: Callable[[], object]) -> QsupError | None:
    """The same for work that awaits nothing."""
    try:
        work()
    except QsupError as error:
        return error
    except Exception as error:
        return _bug(deed, error)
    return None


def _bug(deed: str, error: Exception) -> QsupError:
    fault = QsupError("supervisor.bug", f"{deed} failed: {error!r}", "report it with the event's traceback")
    fault.__cause__ = error
    return fault


def note_trouble(events: EventLog, vm: VmState, error: QsupError) -> None:
    """Say it once: the same trouble again and again is one event and a count."""
    if vm.past.note_trouble(error):
        fields = {"hint": error.hint} if error.hint else {}
        if error.code == "supervisor.bug" and error.__cause__ is not None:
            fields["traceback"] = "".join(traceback.format_exception(error.__cause__))
        events.publish(error.code, error.message, vm.name, fields)
