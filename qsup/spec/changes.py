"""What differs between two specs of one VM, and what each difference takes to come into force."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Effect = Literal["live", "hotplug", "guest-reset", "cold-restart", "none"]


@frozen
class Change:
    """One changed key, values rendered as in TOML ("absent" where there is none), its effect class and the reason for it."""

    key: str
    old: str
    new: str
    effect: Effect
    reason: str
