"""QemuCaps: what this QEMU binary can do, as far as argv depends on it. Asked once per binary by a `-machine none` QEMU."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class QemuCaps:
    """`machine_aliases` maps an alias (q35) to its versioned machine (pc-q35-7.2); `machines` holds the versioned names.

    `object_types` are QOM types (devices and objects) that the binary knows; `aio_modes` what -blockdev's file driver takes.
    """

    version: tuple[int, int, int]
    machines: frozenset[str] = frozenset()
    machine_aliases: Mapping[str, str] = field(factory=dict)
    object_types: frozenset[str] = frozenset()
    aio_modes: frozenset[str] = frozenset({"threads", "native", "io_uring"})
    cpu_models: frozenset[str] = frozenset()

    @property
    def disk_queue_threads(self) -> bool:
        """Whether virtio-blk's queues can be shared out over several iothreads (iothread-vq-mapping, QEMU 9.0)."""
        return self.version >= (9, 0, 0)
