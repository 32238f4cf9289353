"""Launch records: what is written is what is read, every released format stays readable, and damage is told."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from qsup.errors import KernelRefused
from qsup.plan.guest_record import GuestRecord
from qsup.process.identity import ProcessIdentity
from qsup.process.json_shape import document_of, structure, text_of
from qsup.process.record import FORMAT_VERSION, LaunchRecord, UnreadableRecord, read_record, record_of, write_record
from tests.process.conftest import small_tmpfs

RECORDS = Path(__file__).parent / "records"
RECORD = record_of("golden", (RECORDS / "v1.json").read_bytes())
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


def _golden() -> LaunchRecord:
    assert isinstance(RECORD, LaunchRecord), RECORD
    return RECORD


@given(st.from_type(LaunchRecord).map(lambda record: evolve(record, format_version=FORMAT_VERSION)))
@settings(max_examples=60)
def test_reading_is_the_inverse_of_writing(record: LaunchRecord) -> None:
    assert record_of("x", text_of(record).encode()) == record


@given(st.from_type(GuestRecord))
@settings(max_examples=60)
def test_guest_records_too(record: GuestRecord) -> None:
    assert structure(document_of(text_of(record)), GuestRecord) == record


def test_every_released_version_has_a_golden_record() -> None:
    assert sorted(path.stem for path in RECORDS.iterdir()) == [f"v{version}" for version in range(1, FORMAT_VERSION + 1)]


def test_the_golden_v1_record_is_read_in_full() -> None:
    record = _golden()
    assert record.name == "web1"
    assert record.identity == ProcessIdentity(4242, 123456, "2e738c86-cbb9-40ca-874b-addcb2ae736b")
    assert record.argv[0] == "qemu-system-x86_64"
    assert record.plan.vcpus[1].pin == frozenset({3})
    assert record.plan.guest_nodes[0].pages == ((0, 512),)
    assert record.plan.nics[0].worker_pin == frozenset({0, 1})
    assert record.plan.disks[0].chain[0].path == "/srv/vm/web1.qcow2"
    assert record.qemu_version == (7, 2, 22)
    assert record.stage == "running"


def test_a_record_that_is_written_and_read_again_is_the_same(tmp_path: Path) -> None:
    path = str(tmp_path / "launch.json")
    assert read_record(path) is None
    write_record(path, _golden())
    assert read_record(path) == _golden()
    assert os.listdir(tmp_path) == ["launch.json"]
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_later_writer_replaces_the_whole_record(tmp_path: Path) -> None:
    path = str(tmp_path / "launch.json")
    write_record(path, _golden())
    write_record(path, evolve(_golden(), stage="greeted", argv=()))
    read = read_record(path)
    assert isinstance(read, LaunchRecord)
    assert read.stage == "greeted"


def _with(**changes: object) -> bytes:
    return json.dumps({**json.loads((RECORDS / "v1.json").read_text()), **changes}).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "damaged"),
        (b"\xff", "damaged"),
        (b"[]", "not a JSON object"),
        (b"[" * 100_000, "damaged"),
        (b"{}", "no format_version"),
        (_with(format_version="1"), "no format_version"),
        (_with(format_version=2), "format version 2, this qsup reads 1"),
        (_with(surprise=1), "surprise"),
        (_with(name=5), "expected str @ $.name"),
        (_with(created_at_s="1"), "expected float @ $.created_at_s"),
        (_with(argv={}), "@ $.argv"),
        (_with(argv="qemu"), "@ $.argv"),
        (_with(qemu_version=[7, 2]), "@ $.qemu_version"),
        (_with(stage="flying"), "@ $.stage"),
        (_with(uid=True), "@ $.uid"),
        (_with(plan=None), "$.plan"),
        (_with(identity={"pid": 1.5, "start_ticks": 1, "boot_id": ""}), "expected int @ $.identity"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "launch.json"
    path.write_bytes(data)
    read = read_record(str(path))
    assert isinstance(read, UnreadableRecord)
    assert reason in read.reason
    assert read.path == str(path)


def test_the_version_of_a_newer_record_is_told() -> None:
    read = record_of("x", _with(format_version=7, surprise=1))
    assert isinstance(read, UnreadableRecord)
    assert read.format_version == 7


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_full_disk_leaves_the_old_record_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    with small_tmpfs(tmp_path / "full", 16 << 10) as full:
        path = str(full / "launch.json")
        write_record(path, _golden())
        with pytest.raises(KernelRefused, match="No space left") as caught:
            write_record(path, evolve(_golden(), spec_text="x" * 100_000))
        assert (caught.value.code, caught.value.errno) == ("process.disk-full", errno.ENOSPC)
        assert os.listdir(full) == ["launch.json"]
        assert read_record(path) == _golden()
