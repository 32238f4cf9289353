"""The daemon's settings, from the file and the words of the command line."""

from __future__ import annotations

import errno
import os

from qsup.errors import KernelRefused
from qsup.plan.policy import HostPolicy
from qsup.spec.document import decode
from qsup.spec.settings import SettingsSpec, parse_settings

DEFAULT_SETTINGS = "/etc/qsup/settings.toml"


def read_settings(path: str | None) -> SettingsSpec:
    """The settings file; the defaults where none is named and none stands at /etc/qsup/settings.toml.

    Raises:
        InvalidInput: every problem of the file. KernelRefused: `daemon.settings-unreadable`.
    """
    try:
        with open(path or DEFAULT_SETTINGS, "rb") as file:
            raw = file.read()
    except OSError as error:
        if path is None and error.errno == errno.ENOENT:
            return SettingsSpec()
        name = path or DEFAULT_SETTINGS
        raise KernelRefused(
            "daemon.settings-unreadable", name, error.errno or errno.EIO, f"{name} cannot be read: {error.strerror}"
        ) from error
    name = path or DEFAULT_SETTINGS
    return parse_settings(decode(raw, file=name), file=name)


def policy_of(settings: SettingsSpec, run_dir: str, state_dir: str) -> HostPolicy:
    """The planner's rules; directories become absolute."""
    return HostPolicy(
        run_dir=os.path.abspath(run_dir),
        state_dir=os.path.abspath(state_dir),
        qemu=settings.qemu,
        housekeeping=settings.housekeeping,
        reserved_memory_bytes=settings.reserved_memory_bytes,
        host_nodes=settings.host_nodes,
        strategy=settings.strategy,
        overcommit=settings.overcommit,
        reserved_2mib_pages=settings.reserved_2mib_pages,
        reserved_1gib_pages=settings.reserved_1gib_pages,
        grow_hugepages=settings.grow_hugepages,
        uid_first=settings.uid_first,
        uid_count=settings.uid_count,
        create_bridges=settings.create_bridges,
        identity_seed=_machine_id(),
    )


def _machine_id() -> str:
    """This host's own id (man 5 machine-id); empty where it has none."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return file.read(64).strip()
    except (OSError, ValueError):
        return ""
