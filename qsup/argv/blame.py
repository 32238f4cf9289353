"""blame: which option QEMU complains about, so that its words can be led back to the key behind that option.

Strategy: QEMU names the option before most of its complaints (util/qemu-error.c, loc_print), word for word as it was given.
Where it does not, the file that it quotes stands in one option, or the complaint is of a known kind. Else nobody is blamed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from qsup.argv.option import Option

_QUOTED = re.compile(r"'(/[^']+)'")
# Run against QEMU 7.2 and 10.0.
_KINDS = (
    (re.compile(r"can't apply global \S+-cpu\."), "-cpu"),
    (re.compile(r"Invalid CPU topology|Invalid SMP CPUs"), "-smp"),
    (re.compile(r"Property '\S+-machine\.|-machine: unsupported machine type"), "-machine"),
    (re.compile(r"cannot bind memory to host NUMA nodes|unable to map backing store"), "-object"),
    (re.compile(r"cannot set up guest memory"), "-m"),
    (re.compile(r"failed to initialize kvm|Could not access KVM kernel module|kvm_buf_set_msrs"), "-accel"),
)


def blamed_option(last_words: str, words: Sequence[str], options: Sequence[Option]) -> Option | None:
    """The first option that QEMU's last words are about; None where none can be told.

    Args:
        words: the command line as it ran, the binary first.
        options: those that the words were made of, in the same order.
    """
    given = tuple(_given(words, options))
    for text, option in given:
        if f" {text}: " in last_words:
            return option
    for path in _QUOTED.findall(last_words):
        for text, option in given:
            if path in text or path in option.why:
                return option
    for kind, flag in _KINDS:
        if kind.search(last_words):
            return next((option for option in options if option.flag == flag), None)
    return None


def _given(words: Sequence[str], options: Sequence[Option]) -> Iterator[tuple[str, Option]]:
    """Each option as it was given: its flag, and the value with the numbers of its descriptors."""
    rest = iter(words[1:])
    for option in options:
        flag = next(rest, "")
        yield flag if option.value is None else f"{flag} {next(rest, '')}", option
