"""The closed set of things that qsup does to a VM, and the decision that carries one of them."""

from __future__ import annotations

from attrs import frozen


@frozen
class Prepare:
    """Plan and reserve; make the run directory and the log."""


@frozen
class Launch:
    """Make taps and sockets, spawn the stub, grow the pools, write the launch record, join the scope, mask, release."""


@frozen
class Handshake:
    """Connect to the monitor and wait for its greeting; no deadline while the process lives."""


@frozen
class PlaceThreads:
    """Pin every thread as recorded and read back."""


@frozen
class Resume:
    """Let the vCPUs run (QMP cont)."""


@frozen
class Pause:
    """Stop the vCPUs (QMP stop)."""


@frozen
class ResetGuest:
    """Reset the guest as its policy says after a panic or an I/O error, and let it run."""


@frozen
class PowerDown:
    """Press the guest's power button (ACPI); a paused guest runs first."""


@frozen
class Quit:
    """End QEMU by QMP quit."""


@frozen
class Terminate:
    """Send SIGTERM."""


@frozen
class Kill:
    """Send SIGKILL."""


@frozen
class Release:
    """Take away what the VM had: pages that qsup added, log, run directory, reservation; report how it ended."""


@frozen
class AcceptPowerOff:
    """The guest powered itself off and its policy does not start it again: from now on it is wanted off."""


@frozen
class Forget:
    """Its file is gone and nothing of it is left: drop the VM."""


@frozen
class Nothing:
    """All is as wanted, or only time or an event can change it."""


Action = (
    Prepare
    | Launch
    | Handshake
    | PlaceThreads
    | Resume
    | Pause
    | ResetGuest
    | PowerDown
    | Quit
    | Terminate
    | Kill
    | Release
    | AcceptPowerOff
    | Forget
    | Nothing
)


@frozen
class Decision:
    """What to do now; `look_again_at_s` (monotonic) is when time alone may change the answer, None where it cannot."""

    action: Action
    look_again_at_s: float | None = None
    reason: str = ""
