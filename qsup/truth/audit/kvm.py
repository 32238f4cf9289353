"""KVM itself: its modules, what the processor gives it, and its parameters."""

from __future__ import annotations

from qsup.truth.audit.facts import AuditFacts, Told
from qsup.truth.audit.rule import HOST, UNKNOWN_COST, Answer, Cost, Evidence, Found, Irrelevant, Rule, not_told, of_one, told

_PARAMETERS = "/sys/module/kvm/parameters"
_MODULE_OF_VENDOR = {"GenuineIntel": "kvm_intel", "AuthenticAMD": "kvm_amd", "HygonGenuine": "kvm_amd"}
_FLAG_OF_VENDOR = {"GenuineIntel": "vmx", "AuthenticAMD": "svm", "HygonGenuine": "svm"}
_LATENCY = ("dedicated", "isolated")
_NO_MODULE = Irrelevant("neither kvm_intel nor kvm_amd is loaded")


def _unusable(facts: AuditFacts) -> Answer:
    if facts.host.kvm_problem is None:
        return ()
    module = _MODULE_OF_VENDOR.get(facts.processor.vendor, "kvm_intel || modprobe kvm_amd")
    return (Found(HOST, facts.host.kvm_problem, (Evidence("/dev/kvm", "not usable"),), {"module": module}),)


def _no_extension(facts: AuditFacts) -> Answer:
    flag = _FLAG_OF_VENDOR.get(facts.processor.vendor)
    if flag is None:
        return Irrelevant("the processor is neither Intel's nor AMD's")
    if facts.processor.flags is None:
        return not_told(Told("/proc/cpuinfo"))
    if flag in facts.processor.flags:
        return ()
    how = "guests are emulated" if facts.host.kvm_problem else "KVM here works without it, by other means"
    return (Found(HOST, f"the processor shows no {flag}: {how}", (Evidence("/proc/cpuinfo", f"flags: no {flag}"),)),)


def _no_paging(facts: AuditFacts) -> Answer:
    if not facts.kvm.module:
        return _NO_MODULE
    paging = facts.kvm.paging
    name = paging.file.rpartition("/")[2]
    off = None if paging.is_on is None else not paging.is_on
    return of_one(paging, off, f"{name} is off: KVM keeps shadow page tables", module=facts.kvm.module, parameter=name)


def _nested(facts: AuditFacts) -> Answer:
    if not facts.kvm.module:
        return _NO_MODULE
    nested, flag = facts.kvm.nested, "vmx" if facts.kvm.module == "kvm_intel" else "svm"
    if nested.is_on is None:
        return of_one(nested, None, "")
    passing = [plan for plan in facts.plans if plan.accel == "kvm" and _passes(plan.cpu_model, flag)] if nested.is_on else []
    if not passing:
        return ()
    names = ", ".join(plan.name for plan in passing[:4]) + (f" and {len(passing) - 4} more" if len(passing) > 4 else "")
    what = f"the guests of {names} may run VMs of their own"
    models = tuple(Evidence(f"{plan.name}: cpu.model", plan.cpu_model) for plan in passing[:4])
    return (Found(HOST, what, (*told(nested), *models), {"module": facts.kvm.module, "flag": flag}),)


def _passes(model: str, flag: str) -> bool:
    name, *features = model.split(",")
    written = {f"+{flag}", f"{flag}=on"} & set(features)
    hidden = {f"-{flag}", f"{flag}=off"} & set(features)
    return bool(written) or (name in ("host", "max") and not hidden)


def _no_polling(facts: AuditFacts) -> Answer:
    quiet = [plan.name for plan in facts.plans if plan.placement in _LATENCY]
    if not quiet:
        return Irrelevant("no VM has pCPUs of its own")
    number = facts.kvm.halt_poll_ns.number
    what = f"a vCPU that idles gives its pCPU up at once, though nobody else may use it ({', '.join(quiet[:4])})"
    return of_one(facts.kvm.halt_poll_ns, None if number is None else number == 0, what)


def _polling_crowded(facts: AuditFacts) -> Answer:
    floating = [vcpu for plan in facts.plans for vcpu in plan.vcpus if vcpu.vcpu_index in plan.floating]
    pool = frozenset[int]().union(*(vcpu.pin for vcpu in floating))
    vcpus = len(floating)
    if not pool or vcpus <= len(pool):
        return Irrelevant("the shared pool has a pCPU for each of its vCPUs")
    poll = facts.kvm.halt_poll_ns
    if poll.number is None:
        return of_one(poll, None, "")
    what = f"{vcpus} vCPUs share {len(pool)} pCPUs, and each that idles polls there for up to {poll.number // 1000} µs"
    return of_one(poll, poll.number > 50_000, what)


def _nx_needless(facts: AuditFacts) -> Answer:
    nx, multihit = facts.kvm.nx_huge_pages, facts.processor.vulnerability("itlb_multihit")
    if nx.is_on is None or multihit.text is None:
        return not_told(nx, multihit) if nx.text is None or multihit.text is None else of_one(nx, None, "")
    if not (nx.is_on and multihit.text.startswith("Not affected")):
        return ()
    what = "executable guest pages are split to 4 KiB on a processor that does not need it"
    return (Found(HOST, what, told(nx, multihit)),)


def _nx_recovery(facts: AuditFacts) -> Answer:
    nx, ratio = facts.kvm.nx_huge_pages, facts.kvm.nx_recovery_ratio
    quiet = [plan.name for plan in facts.plans if plan.placement == "isolated"]
    if not quiet:
        return Irrelevant("no VM is isolated")
    if nx.is_on is None or ratio.number is None:
        return not_told(nx, ratio) if nx.text is None or ratio.text is None else of_one(nx, None, "")
    if not nx.is_on or not ratio.number:
        return ()
    what = f"a kernel thread gives split pages of {', '.join(quiet[:4])} back again and again, stopping its vCPUs meanwhile"
    return (Found(HOST, what, told(nx, ratio)),)


def _no_apicv(facts: AuditFacts) -> Answer:
    if not facts.kvm.module:
        return _NO_MODULE
    apicv = facts.kvm.apicv
    name = apicv.file.rpartition("/")[2]
    off = None if apicv.is_on is None else not apicv.is_on
    what = f"{name} is off: each interrupt of a guest stops its vCPU"
    return of_one(apicv, off, what, module=facts.kvm.module, parameter=name)


def _l1d_flush(facts: AuditFacts) -> Answer:
    if facts.kvm.module != "kvm_intel":
        return Irrelevant("kvm_intel is not loaded")
    flush, l1tf = facts.kvm.l1d_flush, facts.processor.vulnerability("l1tf")
    if flush.text is None:
        return not_told(flush)
    if flush.word != "always":
        return ()
    return (Found(HOST, "the L1 data cache is flushed at every entry into a guest", told(flush, l1tf)),)


def _no_tdp_mmu(facts: AuditFacts) -> Answer:
    if not facts.kvm.module or facts.kvm.paging.is_on is False:
        return _NO_MODULE if not facts.kvm.module else Irrelevant("nested paging is off")
    on = facts.kvm.tdp_mmu.is_on
    what = "vCPUs that touch new memory wait for one lock of the VM"
    return of_one(facts.kvm.tdp_mmu, None if on is None else not on, what, module=facts.kvm.module)


RULES = (
    Rule(
        "kvm.unusable",
        "KVM cannot be used",
        "high",
        "Without KVM every guest instruction is translated by QEMU in software.",
        UNKNOWN_COST,
        "modprobe {module}",
        ("/dev/kvm",),
        _unusable,
        "enable virtualization in the firmware; the module loads by itself then",
    ),
    Rule(
        "kvm.no-extension",
        "the processor shows no virtualization extension",
        "high",
        "KVM needs vmx or svm; a firmware that has it switched off, or a hypervisor below this host, hides it.",
        UNKNOWN_COST,
        "grep -cE 'vmx|svm' /proc/cpuinfo   # then enable VT-x or SVM in the firmware, or nesting below this host",
        ("/proc/cpuinfo",),
        _no_extension,
    ),
    Rule(
        "kvm.no-nested-paging",
        "KVM without EPT or NPT",
        "high",
        "KVM then shadows the guest's page tables, and every change of one stops the vCPU.",
        Cost("up to 48 % in MMU-intensive benchmarks", "VMware, Performance Evaluation of Intel EPT Hardware Assist, 2009", 48),
        "modprobe -r {module} && modprobe {module} {parameter}=1   # with all VMs off",
        ("/sys/module/kvm_intel/parameters/ept", "/sys/module/kvm_amd/parameters/npt"),
        _no_paging,
        "no options line for it in /etc/modprobe.d, no {module}.{parameter}=0 on the kernel command line",
    ),
    Rule(
        "kvm.nested-passed",
        "guests can run VMs of their own",
        "low",
        "Nesting lets a guest reach the most intricate code of KVM; where nobody needs it, it is an open door.",
        UNKNOWN_COST,
        '# in each VM\'s file: [cpu] model = "host,-{flag}"; or for all: modprobe -r {module} && modprobe {module} nested=0',
        ("/sys/module/kvm_intel/parameters/nested", "/sys/module/kvm_amd/parameters/nested"),
        _nested,
        "options {module} nested=0 in /etc/modprobe.d/qsup.conf",
    ),
    Rule(
        "kvm.no-halt-polling",
        "no halt polling where VMs own their pCPUs",
        "medium",
        "A vCPU that halts goes through the scheduler and wakes up late, though its pCPU is kept for it anyway.",
        Cost(
            "27 µs instead of 34 µs a TCP round trip with polling",
            "Linux commit aca6ff29c406, KVM: dynamic halt-polling (TCP_RR)",
            21,
        ),
        "echo 200000 > /sys/module/kvm/parameters/halt_poll_ns",
        (f"{_PARAMETERS}/halt_poll_ns",),
        _no_polling,
        "options kvm halt_poll_ns=200000 in /etc/modprobe.d/qsup.conf",
    ),
    Rule(
        "kvm.halt-polling-crowded",
        "halt polling on an overcommitted pool",
        "low",
        "A vCPU that polls burns time that a neighbour on the same pCPU could use.",
        Cost(
            "an idle vCPU with a 250 Hz tick takes 1.2 % of a pCPU instead of 1.1; 4.6 to 14 % if the window never shrinks",
            "Linux commit aca6ff29c406, KVM: dynamic halt-polling",
            None,
        ),
        "echo 50000 > /sys/module/kvm/parameters/halt_poll_ns",
        (f"{_PARAMETERS}/halt_poll_ns",),
        _polling_crowded,
        "options kvm halt_poll_ns=50000 in /etc/modprobe.d/qsup.conf",
    ),
    Rule(
        "kvm.nx-huge-pages-needless",
        "nx_huge_pages on a processor that is not affected",
        "medium",
        "KVM maps executable memory of guests in 4 KiB pages to survive iTLB multihit: hugepages are lost for code.",
        UNKNOWN_COST,
        "echo auto > /sys/module/kvm/parameters/nx_huge_pages",
        (f"{_PARAMETERS}/nx_huge_pages", "/sys/devices/system/cpu/vulnerabilities/itlb_multihit"),
        _nx_needless,
        "no kvm.nx_huge_pages=force on the kernel command line",
    ),
    Rule(
        "kvm.nx-recovery",
        "recovery of split hugepages under isolated VMs",
        "low",
        "The recovery thread drops mappings while the VM's vCPUs wait; a guest that must answer in time sees it as a pause.",
        UNKNOWN_COST,
        "echo 0 > /sys/module/kvm/parameters/nx_huge_pages_recovery_ratio",
        (f"{_PARAMETERS}/nx_huge_pages", f"{_PARAMETERS}/nx_huge_pages_recovery_ratio"),
        _nx_recovery,
        "options kvm nx_huge_pages_recovery_ratio=0 in /etc/modprobe.d/qsup.conf",
    ),
    Rule(
        "kvm.no-apicv",
        "interrupts of guests without APICv or AVIC",
        "medium",
        "Without it an interrupt for a running vCPU makes it leave the guest, twice with its end-of-interrupt.",
        UNKNOWN_COST,
        "modprobe -r {module} && modprobe {module} {parameter}=1   # with all VMs off",
        ("/sys/module/kvm_intel/parameters/enable_apicv", "/sys/module/kvm_amd/parameters/avic"),
        _no_apicv,
        "options {module} {parameter}=1 in /etc/modprobe.d/qsup.conf",
    ),
    Rule(
        "kvm.l1d-flush-always",
        "the L1 cache is flushed at every guest entry",
        "medium",
        "`cond` flushes only after code that may have brought secrets into the cache; `always` does it at each entry.",
        UNKNOWN_COST,
        "echo cond > /sys/module/kvm_intel/parameters/vmentry_l1d_flush",
        ("/sys/module/kvm_intel/parameters/vmentry_l1d_flush", "/sys/devices/system/cpu/vulnerabilities/l1tf"),
        _l1d_flush,
        "no l1tf=full,force and no kvm-intel.vmentry_l1d_flush=always on the kernel command line",
    ),
    Rule(
        "kvm.no-tdp-mmu",
        "guest memory is mapped under one lock",
        "low",
        "The older MMU takes one lock for writing at each fault; VMs with many vCPUs then start and migrate slowly.",
        UNKNOWN_COST,
        "modprobe -r {module} kvm && modprobe kvm tdp_mmu=1 && modprobe {module}   # with all VMs off",
        (f"{_PARAMETERS}/tdp_mmu",),
        _no_tdp_mmu,
        "no kvm.tdp_mmu=0 on the kernel command line",
    ),
)
