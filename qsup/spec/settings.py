"""The host settings (settings.toml): what the operator asks of the daemon and of every placement."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from qsup.bytesize import MIB

OnRemoved = Literal["keep", "shutdown"]


@frozen
class SettingsSpec:
    """All keys of the settings file, flat here; in TOML they stand in sections:

    [daemon]  qemu, on_removed, max_parallel_starts, scopes ("auto" | true | false), api_group
    [place]   housekeeping (cpulist; None = pCPU 0's core on hosts of more than 2 cores), reserved_memory_bytes (per host node),
              grow_hugepages
    [user]    uid_first, uid_count: each VM gets a uid of its own from this range where the daemon is root
    [network] create_bridges
    """

    qemu: str = "qemu-system-x86_64"
    on_removed: OnRemoved = "keep"
    max_parallel_starts: int = 8
    scopes: bool | None = None
    api_group: str = "qsup"
    housekeeping: frozenset[int] | None = None
    reserved_memory_bytes: int = 512 * MIB
    grow_hugepages: bool = True
    uid_first: int = 7_000_000
    uid_count: int = 10_000
    create_bridges: bool = False
