"""HostPolicy: the host-wide rules that every placement obeys, from the settings and the daemon's directories."""

from __future__ import annotations

from attrs import frozen

from qsup.bytesize import MIB


@frozen
class HostPolicy:
    """`housekeeping` None: chosen by the planner. Directories are absolute, without a trailing slash.

    `identity_seed` (the host's machine id, say) goes into derived uuids and MAC addresses, so that VMs of one name on two
    hosts differ.
    """

    run_dir: str = "/run/qsup"
    state_dir: str = "/var/lib/qsup"
    qemu: str = "qemu-system-x86_64"
    housekeeping: frozenset[int] | None = None
    reserved_memory_bytes: int = 512 * MIB
    grow_hugepages: bool = True
    uid_first: int = 7_000_000
    uid_count: int = 10_000
    create_bridges: bool = False
    identity_seed: str = ""
