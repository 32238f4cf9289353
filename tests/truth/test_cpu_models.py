"""What a CPU model shows of the host; the table is held against this machine's QEMU."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess

import pytest

from qsup.truth.audit.cpu_models import FAST_FLAGS, fast_flags_of

ALL = frozenset(FAST_FLAGS)


@pytest.mark.parametrize(
    ("model", "host", "seen"),
    [
        ("host", {"aes", "avx", "sse2"}, {"aes", "avx"}),
        ("host,-avx", {"aes", "avx"}, {"aes"}),
        ("qemu64", {"aes"}, set()),
        ("qemu64,+aes,sha-ni=on", {"aes", "sha_ni", "avx"}, {"aes", "sha_ni"}),
        ("Haswell-noTSX-IBRS", ALL, {"aes", "avx", "avx2", "pclmulqdq", "bmi2", "fsgsbase"}),
        ("Westmere-v2,aes=off", ALL, {"pclmulqdq"}),
        ("Icelake-Server-v4", {"aes"}, {"aes"}),
        ("EPYC-Rome, +vaes", ALL, ALL - {"avx512f"}),
    ],
)
def test_what_a_guest_sees(model: str, host: set[str], seen: set[str]) -> None:
    assert fast_flags_of(model, frozenset(host)) == frozenset(seen)


def test_a_model_that_is_not_known_is_said_to_be_so() -> None:
    assert fast_flags_of("Zhaoxin-v9,+aes", ALL) is None


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs QEMU")
def test_the_table_says_of_no_model_less_than_qemu_does() -> None:
    for model, flags in models_of_qemu().items():
        seen = fast_flags_of(model, ALL)
        assert seen is None or flags <= seen, model


def models_of_qemu() -> dict[str, frozenset[str]]:
    """Each model with its fast instructions, also with those that this machine does not have."""
    ours, theirs = socket.socketpair()
    monitor = ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
    words = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-nodefaults", "-display", "none", "-S", *monitor]
    with ours, subprocess.Popen(words, pass_fds=(theirs.fileno(),)) as qemu, ours.makefile("rw") as lines:
        theirs.close()
        lines.readline()

        def ask(command: str, **arguments: object) -> object:
            lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            lines.flush()
            while "return" not in (reply := json.loads(lines.readline())):
                assert "error" not in reply, reply
            return reply["return"]

        ask("qmp_capabilities")
        found = {}
        definitions = ask("query-cpu-definitions")
        assert isinstance(definitions, list)
        for definition in definitions:
            name, lacking = definition["name"], definition.get("unavailable-features", [])
            if name in ("host", "max", "base"):
                continue
            expanded = ask("query-cpu-model-expansion", type="full", model={"name": name})
            assert isinstance(expanded, dict)
            props = expanded["model"]["props"]
            words = [flag for flag in FAST_FLAGS if props.get(flag.replace("_", "-")) or flag.replace("_", "-") in lacking]
            found[name] = frozenset(words)
        ask("quit")
        qemu.wait(30)
    assert found
    return found
