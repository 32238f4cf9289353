"""The errors carry what must be acted on."""

from __future__ import annotations

import errno

import pytest

from qsup import errors
from qsup.errors import InvalidInput, KernelRefused, Problem, QmpLost, QmpRefused, QsupError, Reason, Refused


@pytest.mark.parametrize(
    ("problem", "place"),
    [
        (Problem("spec.x", "m"), ""),
        (Problem("spec.x", "m", file="a.toml"), "a.toml"),
        (Problem("spec.x", "m", file="a.toml", line=3), "a.toml:3"),
        (Problem("spec.x", "m", file="a.toml", line=3, column=7), "a.toml:3:7"),
    ],
)
def test_place_is_as_long_as_what_is_known(problem: Problem, place: str) -> None:
    assert problem.place == place


def test_invalid_input_speaks_for_all_of_its_problems() -> None:
    problems = (Problem("spec.first", "one is wrong", "mend it"), Problem("spec.second", "two is wrong"))
    error = InvalidInput(problems)
    assert (error.code, error.hint, error.problems) == ("spec.first", "mend it", problems)
    assert str(error) == "one is wrong; two is wrong"


def test_refusal_speaks_for_all_of_its_reasons() -> None:
    reasons = (Reason("plan.first", "no pCPU"), Reason("plan.second", "no page", host_node=1))
    error = Refused(reasons)
    assert (error.code, error.reasons) == ("plan.first", reasons)
    assert error.message == "no pCPU; no page"


def test_kernel_refusal_keeps_its_place_and_number() -> None:
    error = KernelRefused("host.tap", "/dev/net/tun", errno.EPERM, "no", "run as root")
    assert (error.where, error.errno, error.hint) == ("/dev/net/tun", errno.EPERM, "run as root")


def test_qmp_errors_name_the_command() -> None:
    refused = QmpRefused("quit", "GenericError", "not now")
    assert (refused.code, refused.message) == ("qmp.refused", "QEMU refused quit: not now")
    lost = QmpLost("qmp.deadline", "stop", "no answer", outcome_known=False)
    assert (lost.command, lost.outcome_known) == ("stop", False)


def test_there_are_at_most_ten_classes_under_one_root() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert all(issubclass(value, QsupError) for value in classes)
    assert len(classes) <= 10
