"""Exit codes. They are an interface (docs/codes.md): scripts and cluster agents act on them. Values as in sysexits.h."""

from __future__ import annotations

from qsup.api.client import AnswerLost, ClientError, DaemonAbsent, Json, NotPermitted, Rejected, SocketPathTooLong

DONE = 0
FAILED = 1
USAGE = 2
NOT_RUNNING = 3
UNKNOWN = 4
INVALID_FILE = 65
NO_SUCH = 66
REFUSED = 69
INTERNAL = 70
NO_DAEMON = 75
ANSWER_LOST = 76
NOT_PERMITTED = 77
INTERRUPTED = 130
BROKEN_PIPE = 141

_OF_CODE = {
    "api.unknown-vm": NO_SUCH,
    "cli.unknown-vm": NO_SUCH,
    "truth.no-such-rule": NO_SUCH,
    "cli.no-such-host": NO_SUCH,
    "cli.no-such-directory": NO_SUCH,
    "cli.contradiction": USAGE,
    "cli.bad-cpulist": USAGE,
    "api.not-permitted": NOT_PERMITTED,
    "api.too-many-connections": NO_DAEMON,
}
_OF_KIND = {
    "invalid-input": INVALID_FILE,
    "refused": REFUSED,
    "qmp-lost": ANSWER_LOST,
    "internal": INTERNAL,
}
_OF_CLASS = (
    (DaemonAbsent, NO_DAEMON),
    (NotPermitted, NOT_PERMITTED),
    (AnswerLost, ANSWER_LOST),
    (SocketPathTooLong, USAGE),
)


def of_error(error: Json) -> int:
    """The exit code for the API's `error` object."""
    by_kind = _OF_KIND.get(str(error.get("kind")), FAILED)
    return _OF_CODE.get(str(error.get("code")), by_kind)


def of_client_error(fault: ClientError) -> int:
    """The exit code for what ended a request."""
    if isinstance(fault, Rejected):
        return of_error(fault.error)
    return next((code for kind, code in _OF_CLASS if isinstance(fault, kind)), FAILED)
