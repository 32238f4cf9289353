"""The host's agents that move threads, or may be told to: tuned with its active profile, numad, irqbalance.

Source: tuned's documentation (active_profile, [scheduler] of tuned.conf, include=); profiles of the operator come first.
"""

from __future__ import annotations

import configparser

from qsup.host.sysfs import list_dir, number_of, read_text
from qsup.truth.suspects import AgentFacts

KNOWN_AGENTS = frozenset({"tuned", "numad", "irqbalance", "ksmtuned"})
_PROFILE_DIRS = ("/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned")
_INCLUDES_MOST = 8
_MOVING_KEYS = ("isolated_cores", "ps_whitelist")


def read_agents(root: str = "/") -> AgentFacts:
    """The agents that run here. Reads one small file per process of the host: call it in a worker thread, and rarely.

    Touches:
        /proc/*/comm, /etc/tuned/active_profile, the profile's tuned.conf and those that it includes.
    """
    comms = (read_text(root, f"/proc/{pid}/comm") for pid in list_dir(root, "/proc") if number_of(pid) is not None)
    running = frozenset(comm.strip() for comm in comms if comm) & KNOWN_AGENTS
    profile = (read_text(root, "/etc/tuned/active_profile") or "").strip() or None
    options = _scheduler_options(profile, root) if profile else {}
    spares = tuple(pattern for pattern in options.get("ps_blacklist", "").split(";") if pattern)
    return AgentFacts(running, profile, any(options.get(key) for key in _MOVING_KEYS), spares)


def _scheduler_options(profile: str, root: str) -> dict[str, str]:
    """The options of [scheduler], those of the including profile above those of the included ones."""
    options: dict[str, str] = {}
    waiting = profile.split()
    for _ in range(_INCLUDES_MOST):
        if not waiting:
            break
        parsed = _profile_of(waiting.pop(0), root)
        if parsed is None:
            continue
        if parsed.has_section("scheduler"):
            options = {**dict(parsed.items("scheduler")), **options}
        include = parsed.get("main", "include", fallback="")
        waiting += [name.strip() for name in include.split(",") if name.strip()]
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
