"""Room host: hands on the kernel. It reads the machine, and does to it the one thing it is told.

Enters: names, numbers and plan values (pCPUs, host nodes, tap and bridge names, image paths).
Leaves: HostFacts, ThreadFacts, LinkFacts, pages counted, file descriptors of taps; or KernelRefused with path and errno.
May touch: /sys, /proc, cgroupfs (reading), /dev/kvm, /dev/vhost-net, /dev/net/tun, ioctl and netlink, sched_setaffinity.
Must not: speak QMP, create processes, decide anything, write what it was not told to write.
Start reading: `facts.py` (the whole machine in one look), then `topology.py`; `hugepages.py`, `affinity.py`, `taps.py` and
`links.py` are the hands. All functions are synchronous; those that can block say so and belong in a worker thread.
"""
