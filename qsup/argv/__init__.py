"""argv: how QEMU is told. Plan → command line, each option with its reason.

Enters: VmPlan, QemuCaps.
Leaves: Argv (Options with `why`, and the file descriptors that they refer to), or Problems that name the key which this
QEMU cannot serve.
May touch: nothing.
Must not: decide placement, invent values, read the host.

One file per section of the config: `machine`, `cpu`, `memory`, `disk`, `nic`, `boot`, `console`; what every VM gets
whatever its file says: `identity`, `startup`, `power`, `clock`, `rng`, `monitor`, `sandbox`.

Start reading at `build.build`: it is the order of the command line. A new key in `[memory]` goes into `memory.py`.
"""
