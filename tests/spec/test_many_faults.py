"""All problems of a file come at once: faults put in independently are all reported, each at its own line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsup.errors import InvalidInput, Problem
from qsup.spec.parse import parse_vm

SOUND = """\
[vm]
autostart = true
restart = "always"
start_limit = 3
[machine]
type = "q35"
accel = "auto"
[cpu]
vcpus = 4
threads = 2
placement = "shared"
emulator = "0-1"
[memory]
size = "8GiB"
hugepages = "2MiB"
prealloc = true
policy = "bind"
[[disk]]
path = "/srv/vm/web1.qcow2"
cache = "none"
aio = "native"
serial = "root"
[[disk]]
path = "/srv/vm/data.raw"
readonly = true
[[nic]]
bridge = "br0"
mac = "52:54:00:00:00:01"
queues = 2
[[nic]]
bridge = "br1"
mtu = 1500
[boot]
uefi = true
[console]
serial = true
log_size = "1MiB"
"""

LINES = SOUND.splitlines()

# Each fault replaces one line; none of them hides another.
FAULTS = {
    "autostart = true": ('autostart = "true"', "spec.wrong-type"),
    'restart = "always"': ('restart = "sometimes"', "spec.not-a-choice"),
    "start_limit = 3": ("start_limit = 0", "spec.out-of-range"),
    'type = "q35"': ('type = "virt"', "spec.bad-machine-type"),
    'accel = "auto"': ('acel = "auto"', "spec.unknown-key"),
    "vcpus = 4": ("vcpus = 4.0", "spec.wrong-type"),
    "threads = 2": ("threads = 9", "spec.out-of-range"),
    'placement = "shared"': ("placement = 1", "spec.wrong-type"),
    'emulator = "0-1"': ('emulator = "1-0"', "spec.bad-cpulist"),
    'size = "8GiB"': ('size = "8 gigabytes"', "spec.bad-size"),
    'hugepages = "2MiB"': ('hugepages = "2 MiB"', "spec.not-a-choice"),
    "prealloc = true": ("prealloc = 1", "spec.wrong-type"),
    'policy = "bind"': ('policy = "strict"', "spec.not-a-choice"),
    'path = "/srv/vm/web1.qcow2"': ('path = "web1.qcow2"', "spec.bad-path"),
    'cache = "none"': ('cache = "writeback"', "spec.aio-needs-direct"),
    'serial = "root"': ('serial = "root disk"', "spec.bad-serial"),
    'path = "/srv/vm/data.raw"': ('path = "/srv/vm/data"', "spec.format-unknown"),
    "readonly = true": ('read_only = "yes"', "spec.unknown-key"),
    'bridge = "br0"': ('bridge = "br/0"', "spec.bad-interface-name"),
    'mac = "52:54:00:00:00:01"': ('mac = "53:54:00:00:00:01"', "spec.bad-mac"),
    "queues = 2": ("queues = -2", "spec.out-of-range"),
    'bridge = "br1"': ("", "spec.missing-key"),
    "mtu = 1500": ("mtu = 15000000", "spec.out-of-range"),
    "uefi = true": ('uefi_code = "/usr/share/OVMF/OVMF_CODE.fd"', "spec.uefi-files-without-uefi"),
    'log_size = "1MiB"': ('log_size = "1KiB"', "spec.out-of-range"),
}


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInput) as caught:
        parse_vm(text, file="web1.toml", name="web1")
    return caught.value.problems


def test_the_sound_file_is_sound() -> None:
    assert parse_vm(SOUND, file="web1.toml", name="web1").cpu.vcpus == 4
    assert all(LINES.count(line) == 1 for line in FAULTS)


@given(st.sets(st.sampled_from(sorted(FAULTS)), min_size=1))
@settings(max_examples=150)
def test_every_fault_is_reported(faulty: set[str]) -> None:
    text = "\n".join(FAULTS[line][0] if line in faulty else line for line in LINES)
    found = [problem.code for problem in problems_of(text)]
    expected = [FAULTS[line][1] for line in faulty]
    assert all(found.count(code) >= expected.count(code) for code in expected), (found, expected)


@pytest.mark.parametrize("line", FAULTS)
def test_fault_is_reported_alone_and_in_its_line(line: str) -> None:
    written, code = FAULTS[line]
    (problem,) = problems_of(SOUND.replace(line, written))
    assert problem.code == code
    assert problem.hint
    at_its_header = code in ("spec.missing-key", "spec.format-unknown")
    at_the_other_key = code == "spec.aio-needs-direct"
    assert problem.line == LINES.index(line) + 1 - at_its_header + at_the_other_key


def test_problems_come_in_file_order() -> None:
    problems = problems_of("\n".join(FAULTS.get(line, (line,))[0] for line in LINES))
    places = [(problem.line or 0, problem.column or 0) for problem in problems]
    assert places == sorted(places)
    assert len(places) >= len(FAULTS)


def test_most_problems_are_counted_only() -> None:
    lines = [f"key{number} = {number}" for number in range(300)]
    problems = problems_of("\n".join(lines))
    assert len(problems) == 201
    assert [problem.line for problem in problems[2:200]] == list(range(1, 199))
    assert problems[-1].message == "102 more problems are not shown: at most 200 are"
    assert all(problem.hint for problem in problems)


def test_every_problem_has_a_hint_and_a_key() -> None:
    for problem in problems_of("\n".join(FAULTS.get(line, (line,))[0] for line in LINES)):
        assert problem.hint
        assert problem.key
