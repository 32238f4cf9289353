"""`make demo`: the main job, shown for real on directories, a bridge and a daemon of its own.

Start reading at `story.py`: one function per scene. `__main__.py` sets up and tears down; `guest.py` builds the little Linux
that runs; `kvm_probe.py` finds out whether KVM executes here; `kernel_view.py` asks the kernel what became of a VM;
`leftovers.py` proves that nothing is left.
"""
