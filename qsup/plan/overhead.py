"""What QEMU itself takes besides guest memory: budgeted apart, so that it never eats into the host's reserve.

The budget, and why each term stands there:

    64 MiB                    the binary, its libraries, heap and the main thread; a bare q35 guest measures 45–60 MiB
    8 MiB a vCPU              its stack, KVM's per-vCPU state and the pages of run structures
    8 MiB an iothread         its stack and the request queues
    1 MiB a nic queue         rings and vhost's translation table
    up to 32 MiB a qcow2 file its L2 table cache: 1/8192 of the virtual size at 64 KiB clusters, 32 MiB at most
                              (QEMU docs/qcow2-cache.txt)
    guest memory / 512        the process' page tables: 8 bytes for each 4 KiB page; with hugepages 8 bytes a page
    the same again with KVM   the second-stage tables (EPT, NPT) of the guest
    64 MiB with TCG           translated code (its buffer is filled as needed)
"""

from __future__ import annotations

from qsup.bytesize import MIB
from qsup.plan.case import Case
from qsup.spec.memory import hugepages_by_size

_QCOW2_CACHE_MAX_BYTES = 32 * MIB
_TABLE_ENTRY_BYTES = 8


def overhead_bytes_of(case: Case, accel: str) -> int:
    """QEMU's own memory for this VM, in bytes, a multiple of the host's page."""
    spec = case.spec
    pages = (size // (page or case.facts.page_size_bytes) for page, size in hugepages_by_size(spec.memory).items())
    tables = sum(pages) * _TABLE_ENTRY_BYTES
    total = (
        64 * MIB
        + 8 * MIB * spec.cpu.vcpus
        + 8 * MIB * sum(1 for disk in spec.disks if disk.iothread)
        + 1 * MIB * sum(nic.queues for nic in spec.nics)
        + sum(_image_cache_bytes(case, disk.path) for disk in spec.disks if disk.format == "qcow2")
        + (2 * tables if accel == "kvm" else tables + 64 * MIB)
    )
    return -(-total // case.facts.page_size_bytes) * case.facts.page_size_bytes


def _image_cache_bytes(case: Case, path: str) -> int:
    image = case.facts.images.get(path)
    virtual_bytes = image.virtual_size_bytes if image else 0
    return min(_QCOW2_CACHE_MAX_BYTES, virtual_bytes // 8192)
