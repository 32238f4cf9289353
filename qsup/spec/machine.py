"""[machine]: the board and the accelerator."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from qsup.spec.readers import one_of
from qsup.spec.schema import AT_START, GUEST_HARDWARE, key
from qsup.spec.words import matching

Accel = Literal["kvm", "tcg", "auto"]


@frozen
class MachineSpec:
    """What `[machine]` asks. `type` is an alias (q35, pc) or a versioned name (pc-q35-7.2)."""

    type: str = field(
        default="q35",
        metadata=key(
            matching(
                r"q35|pc|pc-(q35|i440fx)-[a-z0-9][a-z0-9.-]{0,30}",
                '"q35", "pc" or a version of them like "pc-q35-7.2"',
                "bad-machine-type",
                "q35",
            ),
            doc="The board. An alias is resolved at the first start, and that version is kept from then on.",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    accel: Accel = field(
        default="kvm",
        metadata=key(
            one_of(Accel),
            doc="`kvm`; `tcg` emulates, slowly; `auto` takes KVM where it works, else TCG.",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
