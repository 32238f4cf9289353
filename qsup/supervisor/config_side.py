"""What a VM file's news does to its VM: a good version comes into force, a bad one is reported, a removal is noted."""

from __future__ import annotations

from qsup.errors import InvalidInput
from qsup.spec.parse import parse_vm
from qsup.supervisor.confdir import ConfigFile
from qsup.supervisor.events import EventLog
from qsup.supervisor.vm_state import VmState


def take_config(events: EventLog, vm: VmState, file: ConfigFile) -> None:
    """Bring the VM's config side up to date with its file. The VM that runs is never touched by it."""
    config = vm.config
    if file.removed:
        config.state = "removed"
        config.problems = ()
        events.publish("config.removed", "its file was removed; what runs keeps running", vm.name)
        return
    was_removed = config.state == "removed"
    config.file = file.path
    problems = file.problems
    if file.text is not None:
        try:
            config.spec = parse_vm(file.text, file=file.path, name=vm.name)
            changed = config.text is not None and config.text != file.text
            # A VM that was taken over has the text that it was launched with: to read that again says nothing new.
            is_known = config.state == "absent" and config.text == file.text
            config.text, config.state, config.problems = file.text, "valid", ()
            if changed or was_removed:
                events.publish("config.changed", "a new version of its file is in force", vm.name)
            if not is_known:
                vm.past.fresh_chance()
            return
        except InvalidInput as invalid:
            problems = invalid.problems
    config.state, config.problems = "invalid", problems
    for problem in problems:
        kept = "; the last good version stays in force" if config.spec is not None else ""
        events.publish(problem.code, f"{problem.place or file.path}: {problem.message}{kept}", vm.name)
