"""Asking a real QEMU what it can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsup.errors import QemuFailed
from qsup.supervisor.caps import CapsCache, aio_modes_in, probe_caps


@pytest.mark.live
async def test_a_real_qemu_tells_its_capabilities() -> None:
    caps = await CapsCache().caps_of("qemu-system-x86_64")
    assert caps.version >= (7, 2, 0)
    assert caps.machine_aliases["q35"] in caps.machines
    assert {"virtio-net-pci", "memory-backend-memfd", "thread-context"} <= caps.object_types
    assert {"threads", "native"} <= caps.aio_modes
    assert "qemu64" in caps.cpu_models


async def test_a_missing_binary_is_named() -> None:
    with pytest.raises(QemuFailed, match="no executable 'qemu-system-nowhere'") as caught:
        await CapsCache().caps_of("qemu-system-nowhere")
    assert caught.value.code == "supervisor.qemu-missing"


def fake_qemu(directory: Path, script: str) -> str:
    """A program that behaves otherwise than QEMU."""
    binary = directory / "qemu"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    return str(binary)


async def test_a_binary_that_dies_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(QemuFailed) as caught:
        await probe_caps(fake_qemu(tmp_path, "echo it is broken >&2; exit 3"))
    assert caught.value.code == "supervisor.qemu-probe"
    assert caught.value.last_words == "it is broken"


async def test_a_binary_that_is_silent_is_ended(tmp_path: Path, autojump_clock: object) -> None:
    with pytest.raises(QemuFailed, match="did not say"):
        await probe_caps(fake_qemu(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 1000"))


def test_a_schema_of_another_shape_claims_nothing() -> None:
    assert aio_modes_in([]) == frozenset()
    assert aio_modes_in([{"name": "blockdev-add", "arg-type": 7}, 3, {"name": 4}]) == frozenset()
