"""The daemon itself."""

from __future__ import annotations

from collections.abc import Mapping

from qsup.api.client import Json
from qsup.cli.render.amounts import age
from qsup.cli.render.sizes import short_size


def host_text(host: Json) -> str:
    """Version, age, directories, and how many VMs are in which phase."""
    lines = [f"qsup {host['version']}  pid {host['pid']}  up {age(host['uptime_s'])}"]
    directories = (("run_dir", "run dir"), ("state_dir", "state dir"))
    lines += [f"  {label.ljust(11)}{host[key]}" for key, label in directories if host.get(key)]
    lines.append(f"  {'takes'.ljust(11)}{short_size(host['resident_bytes'])} of memory, {host['cpu_s']:.1f} s of CPU time")
    phases: Mapping[str, int] = host["vms"]
    counts = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())) or "none"
    return "\n".join([*lines, f"  {'VMs'.ljust(11)}{counts}"])
