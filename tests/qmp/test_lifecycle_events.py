from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsup.qmp.lifecycle_events import (
    BlockIoError,
    DeviceDeleted,
    GuestPanicked,
    LifecycleEvent,
    MemoryFailure,
    NicRxFilterChanged,
    Powerdown,
    Reset,
    Resume,
    Shutdown,
    Stop,
    Suspend,
    Wakeup,
    Watchdog,
    lifecycle_event_of,
)
from qsup.qmp.messages import QmpEvent

BLOCK_IO_ERROR = {
    "device": "",
    "node-name": "d0",
    "operation": "write",
    "action": "stop",
    "nospace": True,
    "reason": "No space left on device",
}
CASES: list[tuple[str, dict[str, object], LifecycleEvent]] = [
    ("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"}, Shutdown(True, "guest-shutdown")),
    ("RESET", {"guest": False, "reason": "host-qmp-system-reset"}, Reset(False, "host-qmp-system-reset")),
    ("STOP", {}, Stop()),
    ("RESUME", {}, Resume()),
    ("POWERDOWN", {}, Powerdown()),
    ("SUSPEND", {}, Suspend()),
    ("WAKEUP", {}, Wakeup()),
    ("GUEST_PANICKED", {"action": "pause"}, GuestPanicked("pause", {})),
    ("GUEST_PANICKED", {"action": "pause", "info": {"type": "s390"}}, GuestPanicked("pause", {"type": "s390"})),
    ("WATCHDOG", {"action": "reset"}, Watchdog("reset")),
    (
        "BLOCK_IO_ERROR",
        {**BLOCK_IO_ERROR},
        BlockIoError("", "d0", "write", "stop", True, "No space left on device"),
    ),
    ("MEMORY_FAILURE", {"recipient": "guest", "action": "inject"}, MemoryFailure("guest", "inject")),
    ("DEVICE_DELETED", {"path": "/machine/peripheral/v0"}, DeviceDeleted("unknown", "/machine/peripheral/v0")),
    ("NIC_RX_FILTER_CHANGED", {"name": "n0", "path": "/machine/n0"}, NicRxFilterChanged("n0", "/machine/n0")),
    ("SHUTDOWN", {"guest": "yes", "reason": 3}, Shutdown(False, "unknown")),
    ("GUEST_PANICKED", {"info": []}, GuestPanicked("unknown", {})),
]


@pytest.mark.parametrize(("name", "data", "expected"), CASES)
def test_known_events_are_typed(name: str, data: dict[str, object], expected: LifecycleEvent) -> None:
    assert lifecycle_event_of(QmpEvent(name, data, None)) == expected


def test_other_events_are_none() -> None:
    assert lifecycle_event_of(QmpEvent("RTC_CHANGE", {"offset": 1}, None)) is None


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.none(), max_size=2)
keys = st.sampled_from([*BLOCK_IO_ERROR, "guest", "info", "recipient", "path", "name"])


@given(st.sampled_from([name for name, _, _ in CASES]), st.dictionaries(keys, scalars))
def test_wrong_details_never_hide_an_event(name: str, data: dict[str, object]) -> None:
    assert lifecycle_event_of(QmpEvent(name, data, None)) is not None


def test_a_long_text_is_cut() -> None:
    event = lifecycle_event_of(QmpEvent("WATCHDOG", {"action": "x" * 10_000}, None))
    assert event == Watchdog("x" * 1024)
