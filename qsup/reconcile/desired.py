"""Desired: what is wanted of one VM, and what its past allows."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from qsup.spec.vm import VmSectionSpec

Power = Literal["on", "paused", "off"]


@frozen
class Desired:
    """What is wanted.

    `force`: the operator does not want to wait for the guest. `removed`: the VM's file is gone. `startable`: there is a valid
    spec to start from. `not_before_s`: no start before this moment (back-off, or a refusal that may have healed by then).
    `given_up`: why it is not started again by itself after it failed; empty where it is.
    """

    power: Power
    rules: VmSectionSpec = field(factory=VmSectionSpec)
    force: bool = False
    removed: bool = False
    startable: bool = True
    not_before_s: float = 0.0
    given_up: str = ""
