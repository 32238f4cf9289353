"""[console]: the serial console and its log."""

from __future__ import annotations

from attrs import field, frozen

from qsup.bytesize import GIB, KIB, MIB
from qsup.spec.readers import byte_size, true_or_false
from qsup.spec.schema import GUEST_HARDWARE, key


@frozen
class ConsoleSpec:
    """What `[console]` asks. `log_bytes` bounds the serial log and QEMU's stderr together."""

    serial: bool = field(
        default=True,
        metadata=key(
            true_or_false(),
            doc="The guest has a serial port, for `qsup console` and the log.",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    log_bytes: int = field(
        default=1 * MIB,
        metadata=key(
            byte_size(at_least=64 * KIB, at_most=GIB, example="1MiB"),
            toml="log_size",
            doc="How much of the serial log and of QEMU's messages is kept, together.",
            effect="cold-restart",
            reason="the limit is kept in the launch record",
        ),
    )
