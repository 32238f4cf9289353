"""reconcile: what to do next.

Enters: Desired (what is wanted), ObservedVm (what is seen), now.
Leaves: one Decision: an action of a closed set, and when to look again.
May touch: nothing. Must not: sleep, read a clock, log.
Start reading at `decide.py`: its table is the whole behaviour of a VM's life.
"""
