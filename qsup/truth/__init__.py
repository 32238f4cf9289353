"""truth: is it so? What was seen, and what was planned held against it.

Enters: VmPlan, observations and samples (as types of this room).
Leaves: ObservedVm for `reconcile`, rows and drift for people and repairs.
May touch: nothing. Must not: read /proc itself, know a clock.
Start reading at `observed.py` (what is known of one VM), then `threads.py` (whose thread is where).
"""
