"""KVM's modules and their parameters."""

from __future__ import annotations

from qsup.host.audit.settings import told
from qsup.host.sysfs import is_dir
from qsup.truth.audit.facts import KvmFacts

_MODULES = (("kvm_intel", "ept", "enable_apicv"), ("kvm_amd", "npt", "avic"))


def read_kvm(root: str) -> KvmFacts:
    """Touches: /sys/module/{kvm,kvm_intel,kvm_amd}/parameters."""
    there = (names for names in _MODULES if is_dir(root, f"/sys/module/{names[0]}"))
    module, paging, apicv = next(there, ("", "", ""))
    common = "/sys/module/kvm/parameters"
    facts = KvmFacts(
        module=module,
        halt_poll_ns=told(root, f"{common}/halt_poll_ns"),
        nx_huge_pages=told(root, f"{common}/nx_huge_pages"),
        nx_recovery_ratio=told(root, f"{common}/nx_huge_pages_recovery_ratio"),
        tdp_mmu=told(root, f"{common}/tdp_mmu"),
    )
    if not module:
        return facts
    own = f"/sys/module/{module}/parameters"
    return KvmFacts(
        module=module,
        halt_poll_ns=facts.halt_poll_ns,
        nx_huge_pages=facts.nx_huge_pages,
        nx_recovery_ratio=facts.nx_recovery_ratio,
        tdp_mmu=facts.tdp_mmu,
        nested=told(root, f"{own}/nested"),
        paging=told(root, f"{own}/{paging}"),
        apicv=told(root, f"{own}/{apicv}"),
        l1d_flush=told(root, f"{own}/vmentry_l1d_flush"),
    )
