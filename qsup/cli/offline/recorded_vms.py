"""Who runs on a recorded host: the ledger that `qsup topology --record DIR --vms` lays beside the kernel's files."""

from __future__ import annotations

import json
import os

from qsup.api.ledger_wire import ledger_json, ledger_of
from qsup.cli.offline.current import Current
from qsup.cli.offline.hosts import Host, no_recording
from qsup.plan.ledger import Ledger

_LEDGER_FILE = "qsup/ledger.json"


def record_vms(directory: str, ledger: Ledger) -> None:
    """Lay the VMs beside the kernel's files.

    Raises:
        OSError: it cannot be written.
    """
    path = os.path.join(directory, _LEDGER_FILE)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(ledger_json(ledger), indent=1) + "\n")


def current_of_recording(host: Host) -> Current:
    """The VMs that were recorded with the host; none where they were not.

    Raises:
        InvalidInput: cli.not-a-recording.
    """
    try:
        with open(os.path.join(host.root, _LEDGER_FILE), encoding="utf-8") as file:
            ledger = ledger_of(json.load(file))
    except FileNotFoundError:
        return Current()
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise no_recording(host.name, f"its {_LEDGER_FILE} is not what --vms writes: {error}") from None
    return Current(ledger, "VMs recorded with the host") if ledger.holdings else Current()
