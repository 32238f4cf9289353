"""Who ran where for how long, exactly: a BPF program of some forty instructions that runs at every context switch.

Strategy: at each switch the program adds the time since the last one on that pCPU to a row of (pcpu, thread id) in a map, with
the name that the thread has then; so threads that live for a moment, or move, are counted where they ran. Reading takes the
rows out. A process that is reaped on another pCPU before its last switch has no id any more: what it ran is nobody's. The
program is written down here instruction by instruction: no compiler and no library is needed, and no offset in the kernel's
structures, since the thread that is being switched away from is still the current one. It needs CAP_BPF and CAP_PERFMON (or
CAP_SYS_ADMIN) and Linux 5.6. Source: man 2 bpf; Documentation/bpf/standardization/instruction-set.rst;
include/uapi/linux/bpf.h for the numbers; kernel/sched/core.c, __schedule, for the tracepoint's place.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import platform
import struct
from collections.abc import Mapping

from qsup.errors import KernelRefused

MOST_ROWS = 16384
SwitchTimes = Mapping[tuple[int, int], tuple[str, int]]
"""(pcpu, tid) → (name of the thread, ns that it ran there)."""

_SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _PROG_LOAD, _RAW_TRACEPOINT_OPEN, _LOOKUP_AND_DELETE_BATCH = 0, 5, 17, 25
_HASH, _PERCPU_ARRAY, _RAW_TRACEPOINT = 1, 6, 17
_LOOKUP, _UPDATE, _KTIME, _PROCESSOR, _PID_TGID, _COMM = 1, 2, 5, 8, 14, 16  # helper functions
_KEY, _VALUE = struct.Struct("=II"), struct.Struct("=Q16s")
_BATCH = 4096
_ATTR_BYTES = 128

# Registers: r0 result, r1 to r4 arguments, r6 to r9 kept over calls, r10 frame.
_R0, _R1, _R2, _R3, _R4, _R7, _R8, _R9, _R10 = 0, 1, 2, 3, 4, 7, 8, 9, 10
_KEY_AT, _ZERO_AT, _VALUE_AT, _COMM_AT = -8, -12, -40, -32
_MOV, _MOV_IMM, _ADD_IMM, _SUB, _LSH_IMM, _RSH_IMM = 0xBF, 0xB7, 0x07, 0x1F, 0x67, 0x77
_LOAD64, _STORE64, _STORE32, _STORE32_IMM, _ATOMIC64, _LOAD_MAP = 0x79, 0x7B, 0x63, 0x62, 0xDB, 0x18
_CALL, _EXIT, _JUMP, _JUMP_IF_ZERO, _PSEUDO_MAP_FD = 0x85, 0x95, 0x05, 0x15, 1


def _op(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, target | source << 4, offset, value)


def _map(register: int, fd: int) -> bytes:
    """The address of a map takes two instructions."""
    return _op(_LOAD_MAP, register, _PSEUDO_MAP_FD, 0, fd) + _op(0)


def _stack(register: int, at: int) -> bytes:
    return _op(_MOV, register, _R10) + _op(_ADD_IMM, register, value=at)


def _call(helper: int) -> bytes:
    return _op(_CALL, value=helper)


def _unless_zero(register: int, body: bytes, otherwise: bytes = b"") -> bytes:
    """The body where the register is not zero, else the other."""
    if otherwise:
        body += _op(_JUMP, offset=len(otherwise) // 8)
    return _op(_JUMP_IF_ZERO, register, offset=len(body) // 8) + body + otherwise


def _program(last_fd: int, times_fd: int) -> bytes:
    add_to_row = (
        _op(_MOV, _R9, _R0)
        + _op(_ATOMIC64, _R9, _R7)
        + _op(_MOV, _R1, _R9)
        + _op(_ADD_IMM, _R1, value=8)
        + _op(_MOV_IMM, _R2, value=16)
        + _call(_COMM)
    )
    new_row = (
        _op(_STORE64, _R10, _R7, _VALUE_AT)
        + _stack(_R1, _COMM_AT)
        + _op(_MOV_IMM, _R2, value=16)
        + _call(_COMM)
        + _map(_R1, times_fd)
        + _stack(_R2, _KEY_AT)
        + _stack(_R3, _VALUE_AT)
        + _op(_MOV_IMM, _R4)
        + _call(_UPDATE)
    )
    count = (
        _op(_STORE32, _R10, _R9, _KEY_AT + 4)
        + _call(_PROCESSOR)
        + _op(_STORE32, _R10, _R0, _KEY_AT)
        + _map(_R1, times_fd)
        + _stack(_R2, _KEY_AT)
        + _call(_LOOKUP)
        + _unless_zero(_R0, add_to_row, new_row)
    )
    who = (
        _op(_SUB, _R7, _R8)
        + _call(_PID_TGID)
        + _op(_MOV, _R9, _R0)
        + _op(_LSH_IMM, _R9, value=32)
        + _op(_RSH_IMM, _R9, value=32)
        + _unless_zero(_R9, count)  # thread 0 is idleness
    )
    since_last = _op(_LOAD64, _R8, _R0) + _op(_STORE64, _R0, _R7) + _unless_zero(_R8, who)
    return (
        _call(_KTIME)
        + _op(_MOV, _R7, _R0)
        + _op(_STORE32_IMM, _R10, offset=_ZERO_AT)
        + _map(_R1, last_fd)
        + _stack(_R2, _ZERO_AT)
        + _call(_LOOKUP)
        + _unless_zero(_R0, since_last)
        + _op(_MOV_IMM, _R0)
        + _op(_EXIT)
    )


class SwitchCounter:
    """Counts from its opening to its closing. Each switch of the host costs some hundred nanoseconds more meanwhile."""

    def __init__(self) -> None:
        """Begin to count.

        Raises:
            KernelRefused: host.bpf-refused.

        Touches: bpf(2): two maps, one program on the tracepoint sched_switch.
        """
        self._fds: list[int] = []
        try:
            last_fd = self._keep(_make_map(_PERCPU_ARRAY, 4, 8, 1))
            self._times_fd = self._keep(_make_map(_HASH, _KEY.size, _VALUE.size, MOST_ROWS))
            program_fd = self._keep(_load(_program(last_fd, self._times_fd)))
            name = ctypes.create_string_buffer(b"sched_switch")
            self._keep(_bpf(_RAW_TRACEPOINT_OPEN, struct.pack("=QI", ctypes.addressof(name), program_fd)))
        except OSError as error:
            self.close()
            text = f"the kernel lets nobody count its context switches: {error.strerror}"
            raise KernelRefused("host.bpf-refused", "bpf", error.errno or 0, text) from None

    def _keep(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def take(self) -> SwitchTimes:
        """What ran since the last time. A thread that is on a pCPU right now is counted when it leaves it.

        Touches: bpf(2).
        """
        found: dict[tuple[int, int], tuple[str, int]] = {}
        keys, values = ctypes.create_string_buffer(_KEY.size * _BATCH), ctypes.create_string_buffer(_VALUE.size * _BATCH)
        place = ctypes.create_string_buffer(8)
        begun, ended = 0, False
        while not ended:
            count, ended = self._take_batch(place, begun, keys, values)
            begun = ctypes.addressof(place)
            rows = zip(_KEY.iter_unpack(keys.raw), _VALUE.iter_unpack(values.raw), strict=True)
            for (pcpu, tid), (ran_ns, name) in itertools.islice(rows, count):
                found[pcpu, tid] = (name.split(b"\0")[0].decode("utf-8", "replace"), ran_ns)
        return found

    def _take_batch(self, place: ctypes.Array[ctypes.c_char], begun: int, keys: object, values: object) -> tuple[int, bool]:
        """(rows that were taken, whether they were the last)."""
        addresses = (ctypes.addressof(place), ctypes.addressof(keys), ctypes.addressof(values))  # type: ignore[arg-type]
        attr = bytearray(struct.pack("=QQQQIIQQ", begun, *addresses, _BATCH, self._times_fd, 0, 0))
        ended = False
        try:
            _bpf(_LOOKUP_AND_DELETE_BATCH, attr)
        except OSError as error:
            if error.errno != errno.ENOENT:
                return 0, True
            ended = True
        return int(struct.unpack_from("=I", attr, 32)[0]), ended

    def close(self) -> None:
        """Stop counting; the program is gone with its last descriptor."""
        while self._fds:
            with contextlib.suppress(OSError):
                os.close(self._fds.pop())


def _make_map(kind: int, key_bytes: int, value_bytes: int, rows: int) -> int:
    return _bpf(_MAP_CREATE, struct.pack("=IIIII", kind, key_bytes, value_bytes, rows, 0))


def _load(program: bytes) -> int:
    code, license_text = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(b"Dual MIT/GPL")
    addresses = (ctypes.addressof(code), ctypes.addressof(license_text))
    return _bpf(_PROG_LOAD, struct.pack("=IIQQ", _RAW_TRACEPOINT, len(program) // 8, *addresses))


def _bpf(command: int, attr: bytes | bytearray) -> int:
    """bpf(2); a bytearray holds afterwards what the kernel wrote into it."""
    number = _SYSCALL_NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2) has no number here for {platform.machine()}")
    buffer = ctypes.create_string_buffer(bytes(attr), _ATTR_BYTES)
    result = ctypes.CDLL(None, use_errno=True).syscall(number, command, buffer, _ATTR_BYTES)
    if isinstance(attr, bytearray):
        attr[:] = buffer.raw[: len(attr)]
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)
