"""supervisor: the tasks that run for ever; the only place where decisions meet effects.

Enters: the config directory, the hands (process, qmp, host), requests from the API.
Leaves: published state (`view.py`) and events.
May touch: everything, through qmp, process and host. Must not: hold arithmetic or policy (they live in the pure rooms).
Start reading at `vm_task.py` (observe → decide → execute), then `execute.py` (what each action does).
"""
