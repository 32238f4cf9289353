"""The room of QEMU processes: how one is launched, found again, watched and ended, and the files that belong to it.

Enters: a command line with the descriptors it needs (argv), a VmPlan to record, the paths of a VM, its first mask.
Leaves: a Stub that waits, then a QemuProcess; launch records; what was found in a run directory.
May touch: fork and exec, the stub's mask, signals, pidfds, D-Bus scope jobs, /proc/PID, the ACL of /dev/kvm, the run and state
directories and the log mounts in them.
Must not: speak QMP or netlink, decide about restarts or placement.

Start reading at `stub.py` (what happens between fork and QEMU), then `handle.py`, `record.py`, `run_dir.py`, `adopt.py`.
`offline.py`, `procfs.py` and `locks.py` need the standard library only: `qsup status --offline` runs on them.
"""
