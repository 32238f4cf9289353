"""explain: the command line for a person, each argument with the key or rule behind it."""

from __future__ import annotations

from qsup.argv.option import Argv, FdNeed, Option

WIDEST_COLUMN = 60
_MODE_OF_KIND = {
    "listen": "listening socket",
    "image": "image",
    "blob": "read once",
    "tap": "tap of",
    "vhost": "vhost-net of",
    "log": "log, append-only",
}


def explain(argv: Argv) -> str:
    """Aligned lines, argument — why; an argument too long for the column has its reason on the next line.

    Returns: the binary, the options in order, then the descriptors that the arguments call `@fd:NAME@`. Ends with a
    newline.
    """
    rows = [(_argument(option), option.why) for option in argv.options]
    rows += [(f"@fd:{need.name}@", _meaning(need)) for need in argv.fds]
    width = max((len(argument) for argument, _ in rows if len(argument) <= WIDEST_COLUMN), default=0)
    lines = [argv.binary]
    for argument, why in rows:
        lines += _row(argument, why, width)
    return "\n".join(lines) + "\n"


def _row(argument: str, why: str, width: int) -> list[str]:
    if len(argument) <= width:
        return [f"  {argument:<{width}}  — {why}"]
    return [f"  {argument}", f"  {'':<{width}}  — {why}"]


def _argument(option: Option) -> str:
    return option.flag if option.value is None else f"{option.flag} {option.value}"


def _meaning(need: FdNeed) -> str:
    access = ""
    if need.kind == "image":
        access = ", read-only" if need.readonly else ", read-write"
    if need.kind in {"tap", "vhost"}:
        access = f", queue {need.queue}"
    return f"{_MODE_OF_KIND[need.kind]} {need.path}{access}"
