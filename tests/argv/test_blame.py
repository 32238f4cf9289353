"""QEMU's complaints, as QEMU 7.2 wrote them, led back to the options that they are about."""

from __future__ import annotations

import pytest

from qsup.argv.blame import blamed_option
from qsup.argv.build import build
from qsup.argv.option import Argv, Option
from tests.argv.plans import CAPS, rich_plan

DEVICE = '{"driver":"virtio-blk-pci","drive":"nope"}'
OPTIONS = (
    Option("-S", None, "held"),
    Option("-accel", "kvm", "[machine] accel = kvm"),
    Option("-cpu", "qemu64,no-such=on", "[cpu] model"),
    Option("-smp", "3,sockets=2", "[cpu] vcpus = 3"),
    Option("-object", '{"qom-type":"memory-backend-ram","id":"m"}', "[memory] guest node 0"),
    Option("-netdev", '{"type":"tap","id":"n","fds":"@fd:tap0@"}', "[[nic]] 0"),
    Option("-bios", "/proc/self/fd/7", "[boot] bios = /srv/rom.bin"),
    Option("-device", DEVICE, "[[disk]] 0"),
)
WORDS = tuple(word.replace("@fd:tap0@", "44") for word in Argv("qemu", OPTIONS, ()).words())


@pytest.mark.parametrize(
    ("said", "flag"),
    [
        (f"qemu-system-x86_64: -device {DEVICE}: Property 'virtio-blk-device.drive' can't find value 'nope'", "-device"),
        ('qemu: -netdev {"type":"tap","id":"n","fds":"44"}: n: Can\'t use file descriptor 44: Bad file descriptor', "-netdev"),
        ("qemu: can't apply global qemu64-x86_64-cpu.no-such=on: Property 'qemu64-x86_64-cpu.no-such' not found", "-cpu"),
        ("qemu-system-x86_64: Invalid CPU topology: product of the hierarchy must match maxcpus", "-smp"),
        ("qemu-system-x86_64: cannot bind memory to host NUMA nodes: Invalid argument", "-object"),
        ("qemu: could not load PC BIOS '/proc/self/fd/7'", "-bios"),
        ("qemu: could not load PC BIOS '/srv/rom.bin'", "-bios"),
        ("kvm.c:3183: kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed.", "-accel"),
        ("Segmentation fault", None),
        ("", None),
        ("'/'", None),
    ],
)
def test_the_option_is_found(said: str, flag: str | None) -> None:
    blamed = blamed_option(f"a line before\n{said}\n", WORDS, OPTIONS)
    assert (blamed.flag if blamed is not None else None) == flag


def test_every_option_of_a_real_command_line_is_found_where_qemu_names_it() -> None:
    argv = build(rich_plan(), CAPS)
    numbers = {name: number for number, name in enumerate(sorted(argv.fd_names()), 30)}
    words = argv.words(numbers)
    position = 1
    for option in argv.options:
        text = " ".join(words[position : position + (1 if option.value is None else 2)])
        position += 1 if option.value is None else 2
        blamed = blamed_option(f"qemu-system-x86_64: {text}: it does not work", words, argv.options)
        assert blamed == option


def test_a_record_that_lost_its_words_blames_nobody() -> None:
    assert blamed_option("qemu: -cpu qemu64,no-such=on: no", (), OPTIONS) is None
