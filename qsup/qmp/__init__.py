"""One QMP connection on trio; typed verbs and events.

Enters: a connected stream (or the path of a Unix socket), commands with deadlines.
Leaves: typed results, typed events, or QmpRefused, QmpLost, KernelRefused.
May touch: the one stream it is given; `connect` opens the one socket it is told to.
Must not: spawn processes, read sysfs or /proc, decide anything, know VmPlan. QEMU is hostile input here: what it sends
may end its own connection, never its reader's task, and never costs more memory than the limits in `session.py`.

Start reading at `session.py`; `framing.py` and `messages.py` are its pure half, `wire.py` knows what a cancelled write
means, `verbs.py` is what the other rooms call. `docs/qmp.md` says what all this promises and what breaks it.
`messages.py` imports asyncio by way of the package `qemu.qmp` (9 to 15 ms after trio, 35 to 50 alone): nothing of this
room belongs in a client verb.
"""
