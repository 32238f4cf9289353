"""[console]: the serial console and its log."""

from __future__ import annotations

from attrs import frozen

from qsup.bytesize import MIB


@frozen
class ConsoleSpec:
    """What `[console]` asks. `log_bytes` bounds the serial log and QEMU's stderr together."""

    serial: bool = True
    log_bytes: int = 1 * MIB
