"""What a thread is scheduled by, in words. Source: man 7 sched."""

from __future__ import annotations

POLICIES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline", 7: "ext"}


def policy_name(policy: int) -> str:
    """The kernel's number of a policy as its name."""
    return POLICIES.get(policy, str(policy))


def scheduler_name(policy: int, rt_priority: int) -> str:
    """The policy, with its priority where it has one: "other", "fifo 3"."""
    name = policy_name(policy)
    return f"{name} {rt_priority}" if rt_priority else name
