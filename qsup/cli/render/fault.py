"""What went wrong, for stderr: one sentence, its details, the next step."""

from __future__ import annotations

from collections.abc import Sequence

from qsup.api.client import ClientError, Json, Rejected
from qsup.cli.render.problems import problem_lines, reason_lines, suggestion_lines
from qsup.cli.terminal import printable


def fault_text(fault: ClientError, subject: str | None = None) -> str:
    """The fault; `subject` is the VM that it is about."""
    start = f"qsup: {subject}: " if subject else "qsup: "
    if isinstance(fault, Rejected):
        return "\n".join(_rejection_lines(start, fault.error))
    return "\n".join([start + printable(fault.message), *_hint_of(fault.hint)])


def _rejection_lines(start: str, error: Json) -> list[str]:
    problems, reasons = error.get("problems") or (), error.get("reasons") or ()
    if problems:
        return [f"{start}{_what_is_wrong(problems)}", *problem_lines(problems)]
    if reasons:
        return [f"{start}refused", *reason_lines(reasons), *suggestion_lines(error.get("suggestions") or ())]
    code = f" [{error['code']}]" if error.get("code") else ""
    lines = [f"{start}{printable(str(error.get('message')))}{code}"]
    last_words = str(error.get("last_words") or "").strip()
    if last_words:
        lines.append("  its last words:")
        lines.extend(f"    {printable(line)}" for line in last_words.splitlines())
    return lines + _hint_of(error.get("hint"))


def _what_is_wrong(problems: Sequence[Json]) -> str:
    rooms = {str(problem["code"]).partition(".")[0] for problem in problems}
    if rooms == {"argv"}:
        return "this host's QEMU cannot do what the file asks"
    return "the request is not valid" if rooms == {"api"} else "the file is not valid"


def _hint_of(hint: str | None) -> list[str]:
    return [f"  hint: {printable(hint)}"] if hint else []
