"""[machine]: the board and the accelerator."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Accel = Literal["kvm", "tcg", "auto"]


@frozen
class MachineSpec:
    """What `[machine]` asks. `type` is an alias (q35, pc) or a versioned name (pc-q35-7.2)."""

    type: str = "q35"
    accel: Accel = "kvm"
