"""Who may have moved a thread: what is known of the host's other agents, held against the mask that the thread got.

Source: tuned's plugin_scheduler.py (ps_whitelist, ps_blacklist, isolated_cores), man 8 numad, man 1 irqbalance,
Documentation/admin-guide/cgroup-v2.rst (cpuset), man 7 cpuset (a change rewrites masks).
"""

from __future__ import annotations

from attrs import field, frozen

from qsup.cpuset import format_cpulist
from qsup.truth.threads import ThreadRow
from qsup.truth.tuned import QEMU, TunedScheduler


@frozen
class AgentFacts:
    """The agents of this host that move threads or may be told to.

    `running`: those of "tuned", "numad", "irqbalance", "ksmtuned" … that have a process. `tuned_profile`: its active profile;
    `tuned`: what that does to threads.
    """

    running: frozenset[str] = frozenset()
    tuned_profile: str | None = None
    tuned: TunedScheduler = field(factory=TunedScheduler)


@frozen
class Scene:
    """What was so when the thread was found elsewhere; cpusets are those of its cgroup (None: unknown or none)."""

    online: frozenset[int]
    online_before: frozenset[int]
    cpuset: frozenset[int] | None
    cpuset_before: frozenset[int] | None


def suspects_of(row: ThreadRow, scene: Scene, agents: AgentFacts) -> tuple[str, ...]:
    """Sentences, the likeliest first, never empty."""
    if row.is_demoted and not row.is_elsewhere:
        return ("somebody's chrt or sched_setscheduler, or an agent that sets priorities (groups of tuned's [scheduler])",)
    found = [*_kernel_causes(row, scene), *_agents_of(row, agents)]
    return tuple(found) or ("somebody's taskset or sched_setaffinity: no agent that is known to move threads runs here",)


def _kernel_causes(row: ThreadRow, scene: Scene) -> list[str]:
    causes = []
    if scene.online != scene.online_before:
        gone = scene.online_before - scene.online
        back = scene.online - scene.online_before
        parts = [f"{format_cpulist(gone)} went offline" if gone else "", f"{format_cpulist(back)} came online" if back else ""]
        causes.append(f"CPU hotplug: pCPUs {' and '.join(part for part in parts if part)}")
    if scene.cpuset is not None and not row.pin & scene.online <= scene.cpuset:
        causes.append(f"its cgroup's cpuset: it allows pCPUs {format_cpulist(scene.cpuset)} only")
    elif scene.cpuset and scene.cpuset_before and scene.cpuset != scene.cpuset_before:
        causes.append(f"a change of its cgroup's cpuset, now {format_cpulist(scene.cpuset)}: that rewrites masks")
    return causes


def _agents_of(row: ThreadRow, agents: AgentFacts) -> list[str]:
    found = []
    if "tuned" in agents.running and _tuned_moves(row, agents.tuned):
        found.append(f"tuned: its profile {agents.tuned_profile} moves threads called {row.name}")
    if "numad" in agents.running:
        found.append("numad: it binds processes to nodes")
    if "tuned" in agents.running and not agents.tuned.moves_any and agents.tuned_profile:
        found.append(f"perhaps tuned: its profile is {agents.tuned_profile}")
    if "irqbalance" in agents.running and row.thread_class in ("kernel", "vhost"):
        found.append("perhaps irqbalance: it moves interrupts, and what its policy script says")
    return found


def _tuned_moves(row: ThreadRow, tuned: TunedScheduler) -> bool:
    """A vhost worker is a kernel thread before Linux 6.4, and one of QEMU's threads since."""
    processes = {"kernel": (row.name,), "vhost": (row.name, QEMU)}.get(row.thread_class, (QEMU,))
    return any(tuned.moves(row.name, process) for process in processes)
