"""The errors of qsup, by who must act. The detail of each is a stable code, `room.kebab-what`.

    QsupError
    ├── InvalidInput    the file is wrong: every problem of it, with its place
    ├── Refused         no room here: every failing constraint
    ├── KernelRefused   the kernel said no: path or syscall, errno
    ├── QemuFailed      QEMU did not come up or died: exit status, its last words
    ├── QmpRefused      QEMU refused a command: command, class, description
    ├── QmpLost         QEMU was lost or silent: command, whether the outcome is known
    └── BadRequest      the request is wrong: unknown VM, verb not legal now

A message is one sentence that names the offending value; a hint is the next step, in the imperative.
"""

from __future__ import annotations

from attrs import field, frozen


@frozen
class Problem:
    """One thing that is wrong, with its place where it has one (line and column count from 1)."""

    code: str
    message: str
    hint: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None
    key: str | None = None

    @property
    def place(self) -> str:
        """`file:line:column` as far as known, else the empty string."""
        parts = [str(part) for part in (self.file, self.line, self.column) if part is not None]
        return ":".join(parts)


class QsupError(Exception):
    """Root of all errors that qsup raises on purpose."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class InvalidInput(QsupError):
    """A file cannot be used as it stands; `problems` holds all that is wrong with it, in file order, never empty."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        first = problems[0]
        super().__init__(first.code, "; ".join(problem.message for problem in problems), first.hint)
        self.problems = problems


@frozen
class Reason:
    """One constraint that fails: what was needed, what is available, and who holds the rest.

    `needed` and `available` are texts with their units; `held_by` names VMs (or "host", "foreign") with what each holds.
    """

    code: str
    message: str
    host_node: int | None = None
    needed: str | None = None
    available: str | None = None
    held_by: tuple[tuple[str, str], ...] = field(default=())
    hint: str | None = None


class Refused(QsupError):
    """This host cannot take the VM as asked; `reasons` holds every failing constraint, never empty.

    `suggestions` are changes, each enough by itself and found to fit by planning again; empty where none was sought or found.
    """

    def __init__(self, reasons: tuple[Reason, ...], suggestions: tuple[str, ...] = ()) -> None:
        first = reasons[0]
        super().__init__(first.code, "; ".join(reason.message for reason in reasons), first.hint)
        self.reasons = reasons
        self.suggestions = suggestions


class KernelRefused(QsupError):
    """The kernel refused: `where` is a path or a syscall, `errno` its number."""

    def __init__(self, code: str, where: str, errno: int, message: str, hint: str | None = None) -> None:
        super().__init__(code, message, hint)
        self.where = where
        self.errno = errno


class QemuFailed(QsupError):
    """QEMU did not come up, or died: `ending` says how as far as known, `last_words` is the tail of its stderr."""

    def __init__(self, code: str, message: str, ending: str, last_words: str, hint: str | None = None) -> None:
        super().__init__(code, message, hint)
        self.ending = ending
        self.last_words = last_words


class QmpRefused(QsupError):
    """QEMU answered a command with an error."""

    def __init__(self, command: str, error_class: str, description: str) -> None:
        super().__init__("qmp.refused", f"QEMU refused {command}: {description}")
        self.command = command
        self.error_class = error_class
        self.description = description


class QmpLost(QsupError):
    """No answer: the connection ended or the deadline passed. `outcome_known` is False when the command may have run."""

    def __init__(self, code: str, command: str | None, message: str, *, outcome_known: bool) -> None:
        super().__init__(code, message)
        self.command = command
        self.outcome_known = outcome_known


class BadRequest(QsupError):
    """The request cannot be served: an unknown VM or a verb that makes no sense now."""
