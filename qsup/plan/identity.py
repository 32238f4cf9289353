"""What identifies a VM to its guest, to the network and to the kernel: uuid, MAC addresses, tap names, the uid.

Strategy: all of it is derived from the VM's name (and the host's seed) by hashing, so it needs no registry; the record
wins, since a guest that has seen an address must see it again; another VM's claim is never taken.
"""

from __future__ import annotations

import hashlib
import re
from uuid import UUID, uuid5

from qsup.plan.case import Case

_QSUP_NAMESPACE = UUID("6f1d9f04-5c1e-5a0b-9d3e-71b0a2c4e8f6")
_TAP_CHARS = 15  # IFNAMSIZ - 1
_TAP_HASH_CHARS = 7


def plan_uuid(case: Case) -> str:
    """The record's uuid, else one derived from the name."""
    if case.record is not None:
        return case.record.uuid
    return str(uuid5(_QSUP_NAMESPACE, f"{case.policy.identity_seed}\0{case.spec.name}"))


def plan_uid(case: Case) -> int | None:
    """The record's uid where nobody else has it, else the lowest free one; None where the daemon cannot change uids."""
    if not case.facts.may_change_uid:
        return None
    first, count = case.policy.uid_first, case.policy.uid_count
    recorded = case.record.uid if case.record else None
    if recorded is not None and first <= recorded < first + count and recorded not in case.others.uids:
        return recorded
    free = next((uid for uid in range(first, first + count) if uid not in case.others.uids), None)
    if free is None:
        case.notes.refuse(
            "plan.uids-exhausted",
            f"all {count} uids from {first} to {first + count - 1} are taken by other VMs",
            needed="1 uid",
            available="0 uids",
            hint="raise user.uid_count in the settings and restart the daemon (the VMs keep running)",
        )
    return free


def derived_mac(case: Case, position: int) -> str:
    """A locally administered unicast address, from the name and the position; another one where somebody has it."""
    for attempt in range(1 << 16):
        digest = _digest(f"mac\0{case.policy.identity_seed}\0{case.spec.name}\0{position}\0{attempt}")
        octets = bytes([digest[0] & 0xFC | 0x02]) + digest[1:6]
        mac = ":".join(f"{octet:02x}" for octet in octets)
        if mac not in case.others.macs:
            break
    return mac


def derived_tap(case: Case, position: int) -> str:
    """A tap name of at most 15 characters: "q", a readable part of the VM's name, a hash; free in the ledger."""
    taken = foreign_links(case)
    readable = re.sub(r"[^A-Za-z0-9]", "", case.spec.name)[: _TAP_CHARS - _TAP_HASH_CHARS - 2]
    for attempt in range(1 << 16):
        digest = _digest(f"tap\0{case.spec.name}\0{position}\0{attempt}")
        tap = f"q{readable}-{digest.hex()[:_TAP_HASH_CHARS]}"
        if tap not in case.others.taps and tap not in taken:
            break
    return tap


def foreign_links(case: Case) -> frozenset[str]:
    """Link names on the host that are not taps of this VM itself."""
    own = case.own.plan.nics if case.own else ()
    return case.facts.links - {nic.tap for nic in own}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
