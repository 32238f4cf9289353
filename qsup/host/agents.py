"""The host's agents that move threads, or may be told to: tuned with its active profile, numad, irqbalance.

Source: tuned's documentation (active_profile, sections of the type scheduler in tuned.conf, include=); profiles of the
operator come first.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping

from qsup.host.sysfs import list_dir, number_of, read_text
from qsup.truth.suspects import AgentFacts
from qsup.truth.tuned import TunedScheduler

KNOWN_AGENTS = frozenset({"tuned", "numad", "irqbalance", "ksmtuned"})
_PROFILE_DIRS = ("/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned")
_INCLUDES_MOST = 4
_GROUP_COLONS, _GROUP_AFFINITY = 4, 3
"""group.NAME = rule_prio:scheduler:priority:affinity:pattern"""


def read_agents(root: str = "/") -> AgentFacts:
    """The agents that run here. Reads one small file per process of the host: call it in a worker thread, and rarely.

    Touches:
        /proc/*/comm, /etc/tuned/active_profile, the profile's tuned.conf and those that it includes.
    """
    comms = (read_text(root, f"/proc/{pid}/comm") for pid in list_dir(root, "/proc") if number_of(pid) is not None)
    running = frozenset(comm.strip() for comm in comms if comm) & KNOWN_AGENTS
    profile = (read_text(root, "/etc/tuned/active_profile") or "").strip() or None
    return AgentFacts(running, profile, _scheduler_of(_options_of(profile.split(), root)) if profile else TunedScheduler())


def _scheduler_of(options: Mapping[str, str | None]) -> TunedScheduler:
    groups = [(value or "").split(":", _GROUP_COLONS) for key, value in options.items() if key.startswith("group.")]
    moving = [words for words in groups if len(words) > _GROUP_COLONS and words[_GROUP_AFFINITY].strip() not in ("*", "")]
    return TunedScheduler(
        isolates=bool(options.get("isolated_cores")),
        takes=_patterns(options.get("ps_whitelist")),
        spares=_patterns(options.get("ps_blacklist")),
        spares_cgroups=_patterns(options.get("cgroup_ps_blacklist")),
        groups=tuple(words[-1] for words in moving),
    )


def _patterns(value: str | None) -> tuple[str, ...]:
    return tuple(pattern for pattern in re.split(r"(?<!\\);", value or "") if pattern)


def _options_of(names: list[str], root: str, depth: int = 0) -> dict[str, str | None]:
    """The options of all sections of the scheduler's type: a later profile is above earlier ones, an including one above those
    that it includes."""
    options: dict[str, str | None] = {}
    for name in names[:_INCLUDES_MOST] if depth < _INCLUDES_MOST else ():
        parsed = _profile_of(name, root)
        if parsed is None:
            continue
        included = parsed.get("main", "include", fallback=None) or ""
        options |= _options_of([word.strip() for word in re.split("[,;]", included) if word.strip()], root, depth + 1)
        for section in parsed.sections():
            if (parsed.get(section, "type", fallback=None) or section) == "scheduler":
                options |= dict(parsed.items(section))
    return options


def _profile_of(name: str, root: str) -> configparser.ConfigParser | None:
    if "/" in name:
        return None
    for directory in _PROFILE_DIRS:
        text = read_text(root, f"{directory}/{name}/tuned.conf")
        if text is not None:
            return _parsed(text)
    return None


def _parsed(text: str) -> configparser.ConfigParser | None:
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return parser
