"""plan: where every thread and every page of a VM will sit on this host, or all the reasons why it cannot.

Enters: VmSpec (asked), HostFacts (the machine), HostPolicy (the rules), Ledger (who holds what), GuestRecord (what the
    guest has seen).
Leaves: VmPlan, or Refused with every failing constraint; `shared_repins` (repin.py): new masks for VMs that float.
May touch: nothing.
Must not: read the host, be random, know QEMU's flags, depend on the order in which files came.

Start at `place.py`, which names the sections in their order. `memory_search.py` decides the host node, `core_choice.py` the
cores, by the points of `cost.py`, `shared_pool.py` the floating masks, `housekeeping.py` everything that is not a vCPU;
`suggest.py` finds what would make a refused VM fit. One file per section of the TOML: machine, cpu, memory, disk, nic, boot,
console. Types that leave the room: vmplan, ledger, host_facts, policy, guest_record. docs/placement.md has the promises.
"""
