"""[[nic]]: a virtio network device on a host bridge."""

from __future__ import annotations

from attrs import field, frozen

from qsup.spec.readers import true_or_false, whole_number
from qsup.spec.schema import AT_START, GUEST_HARDWARE, key
from qsup.spec.words import interface_name, mac_address

MADE_WITH_TAP = "the tap is made for QEMU when it starts, and belongs to it"


@frozen
class NicSpec:
    """What one `[[nic]]` asks.

    `mac` None: derived from the VM's name and the position. `tap` None: derived likewise. `vhost` None: used where the
    host has /dev/vhost-net. `mtu` None: the bridge's.
    """

    bridge: str = field(
        metadata=key(
            interface_name("br0"),
            doc="The host bridge to which the tap is attached.",
            effect="cold-restart",
            reason=MADE_WITH_TAP,
        ),
    )
    mac: str | None = field(
        default=None,
        metadata=key(
            mac_address(),
            doc="The MAC address that the guest sees.",
            absent="derived from the VM's name and the nic's position; always the same",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    queues: int = field(
        default=1,
        metadata=key(
            whole_number(1, 256, 4),
            doc="Pairs of queues (multiqueue); best not above the number of vCPUs.",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    mtu: int | None = field(
        default=None,
        metadata=key(
            whole_number(68, 65535, 9000),
            doc="The MTU of the tap, told to the guest.",
            absent="the bridge's",
            effect="cold-restart",
            reason=GUEST_HARDWARE,
        ),
    )
    vhost: bool | None = field(
        default=None,
        metadata=key(
            true_or_false(),
            doc="Move packets in the kernel (vhost-net) instead of in QEMU.",
            absent="true where the host has /dev/vhost-net",
            effect="cold-restart",
            reason=AT_START,
        ),
    )
    tap: str | None = field(
        default=None,
        metadata=key(
            interface_name("web1-0"),
            doc="The name of the tap on the host.",
            absent="derived from the VM's name and the nic's position",
            effect="cold-restart",
            reason=MADE_WITH_TAP,
        ),
    )
