"""[[nic]]: a virtio network device on a host bridge."""

from __future__ import annotations

from attrs import frozen


@frozen
class NicSpec:
    """What one `[[nic]]` asks.

    `mac` None: derived from the VM's name and the position. `tap` None: derived likewise. `vhost` None: used where the
    host has /dev/vhost-net. `mtu` None: the bridge's.
    """

    bridge: str
    mac: str | None = None
    queues: int = 1
    mtu: int | None = None
    vhost: bool | None = None
    tap: str | None = None
