"""The events that matter to a VM's life, typed.

Strategy: an event is a reason to look again, its details are for the report. So a known event with details of the wrong
shape is still that event: a wrong text reads "unknown", a wrong flag False. Nothing here raises.
Source: QEMU qapi/run-state.json, block-core.json, net.json, qdev.json (7.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from qsup.qmp.messages import QmpEvent

UNKNOWN = "unknown"
_TEXT_LIMIT = 1024


@frozen
class Shutdown:
    """QEMU stops the machine for good; `guest` when the guest asked, `reason` such as "guest-shutdown", "host-qmp-quit"."""

    guest: bool
    reason: str


@frozen
class Reset:
    """The machine was reset; `guest` when the guest asked."""

    guest: bool
    reason: str


@frozen
class Stop:
    """The vCPUs were stopped, by whatever cause: ask query-status."""


@frozen
class Resume:
    """The vCPUs run again."""


@frozen
class Powerdown:
    """The guest's power button was pressed."""


@frozen
class Suspend:
    """The guest went to sleep (S3)."""


@frozen
class Wakeup:
    """The guest woke up."""


@frozen
class GuestPanicked:
    """The guest's kernel panicked; `action` is "pause", "poweroff" or "run", `info` what the guest left, as sent."""

    action: str
    info: Mapping[str, object]


@frozen
class Watchdog:
    """The guest's watchdog fired; `action` is what QEMU does about it."""

    action: str


@frozen
class BlockIoError:
    """A disk's operation failed; `action` is "ignore", "report" or "stop"; `nospace` when the host ran out of space."""

    device: str
    node_name: str
    operation: str
    action: str
    nospace: bool
    reason: str


@frozen
class MemoryFailure:
    """The host found broken memory under the guest; `recipient` is "hypervisor" or "guest"."""

    recipient: str
    action: str


@frozen
class DeviceDeleted:
    """The guest released a device that was unplugged; `device` is its id where it had one."""

    device: str
    path: str


@frozen
class NicRxFilterChanged:
    """The guest changed a NIC's address or filters; QEMU is silent about this NIC until it is queried."""

    name: str
    path: str


LifecycleEvent = (
    Shutdown
    | Reset
    | Stop
    | Resume
    | Powerdown
    | Suspend
    | Wakeup
    | GuestPanicked
    | Watchdog
    | BlockIoError
    | MemoryFailure
    | DeviceDeleted
    | NicRxFilterChanged
)


def lifecycle_event_of(event: QmpEvent) -> LifecycleEvent | None:
    """The typed view of an event; None for events that no decision rests on."""
    reader = _READERS.get(event.name)
    return None if reader is None else reader(event.data)


def _text(data: Mapping[str, object], key: str) -> str:
    value = data.get(key)
    return value[:_TEXT_LIMIT] if isinstance(value, str) else UNKNOWN


def _guest_panicked(data: Mapping[str, object]) -> GuestPanicked:
    info = data.get("info")
    return GuestPanicked(_text(data, "action"), info if isinstance(info, dict) else {})


def _block_io_error(data: Mapping[str, object]) -> BlockIoError:
    return BlockIoError(
        device=_text(data, "device"),
        node_name=_text(data, "node-name"),
        operation=_text(data, "operation"),
        action=_text(data, "action"),
        nospace=data.get("nospace") is True,
        reason=_text(data, "reason"),
    )


_READERS: Mapping[str, Callable[[Mapping[str, object]], LifecycleEvent]] = {
    "SHUTDOWN": lambda data: Shutdown(data.get("guest") is True, _text(data, "reason")),
    "RESET": lambda data: Reset(data.get("guest") is True, _text(data, "reason")),
    "STOP": lambda _: Stop(),
    "RESUME": lambda _: Resume(),
    "POWERDOWN": lambda _: Powerdown(),
    "SUSPEND": lambda _: Suspend(),
    "WAKEUP": lambda _: Wakeup(),
    "GUEST_PANICKED": _guest_panicked,
    "WATCHDOG": lambda data: Watchdog(_text(data, "action")),
    "BLOCK_IO_ERROR": _block_io_error,
    "MEMORY_FAILURE": lambda data: MemoryFailure(_text(data, "recipient"), _text(data, "action")),
    "DEVICE_DELETED": lambda data: DeviceDeleted(_text(data, "device"), _text(data, "path")),
    "NIC_RX_FILTER_CHANGED": lambda data: NicRxFilterChanged(_text(data, "name"), _text(data, "path")),
}
