"""Records what an audit reads of a machine, on top of what `host/record.py` keeps: settings, interrupts, processes of VMs.

Images stay where they are: rules that look into them cannot be told of a recording. Lists of mounts, processes and settings are
cut down to what is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from qsup.host.agents import KNOWN_AGENTS
from qsup.host.cgroup import cgroup_dirs_of
from qsup.host.offloads import format_offloads, read_offloads
from qsup.host.record import matching_files, tree_of_host
from qsup.host.sysfs import NET_DIR, is_dir, list_dir, number_of, read_text

_CPUS = "/sys/devices/system/cpu"
_FILES = (
    "/sys/module/kvm/parameters/*",
    "/sys/module/kvm_intel/parameters/*",
    "/sys/module/kvm_amd/parameters/*",
    f"{_CPUS}/vulnerabilities/*",
    f"{_CPUS}/cpu[0-9]*/cpufreq/scaling_governor",
    f"{_CPUS}/cpu[0-9]*/cpufreq/scaling_driver",
    f"{_CPUS}/cpu[0-9]*/cpufreq/energy_performance_preference",
    f"{_CPUS}/cpu[0-9]*/cpufreq/base_frequency",
    f"{_CPUS}/cpu[0-9]*/cpuidle/state*/name",
    f"{_CPUS}/cpu[0-9]*/cpuidle/state*/latency",
    f"{_CPUS}/cpu[0-9]*/cpuidle/state*/disable",
    f"{_CPUS}/intel_pstate/no_turbo",
    f"{_CPUS}/cpufreq/boost",
    "/sys/devices/system/clocksource/clocksource0/*_clocksource",
    "/sys/devices/virtual/workqueue/cpumask",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/mm/transparent_hugepage/defrag",
    "/sys/kernel/mm/ksm/run",
    "/sys/kernel/mm/ksm/merge_across_nodes",
    "/sys/class/net/*/bridge/stp_state",
    "/sys/class/net/*/bridge/forward_delay",
    "/sys/class/net/*/tun_flags",
    "/proc/interrupts",
    "/proc/irq/[0-9]*/effective_affinity_list",
    "/proc/irq/[0-9]*/smp_affinity_list",
    "/proc/irq/default_smp_affinity",
    "/proc/swaps",
    "/proc/buddyinfo",
    "/proc/sys/kernel/numa_balancing",
    "/proc/sys/kernel/nmi_watchdog",
    "/proc/sys/fs/aio-nr",
    "/proc/sys/fs/aio-max-nr",
    "/proc/sys/vm/zone_reclaim_mode",
    "/proc/sys/vm/swappiness",
    "/proc/sys/net/bridge/bridge-nf-call-*",
    "/etc/tuned/active_profile",
    "/etc/tuned/*/tuned.conf",
    "/etc/tuned/profiles/*/tuned.conf",
    "/usr/lib/tuned/*/tuned.conf",
    "/usr/lib/tuned/profiles/*/tuned.conf",
)
_CUT_FILES: tuple[tuple[str, str], ...] = (
    ("/etc/default/irqbalance", r"IRQBALANCE_BANNED"),
    ("/etc/sysconfig/irqbalance", r"IRQBALANCE_BANNED"),
    ("/etc/sysctl.conf", r"hugepages"),
    ("/*/sysctl.d/*.conf", r"hugepages"),
    ("/usr/lib/sysctl.d/*.conf", r"hugepages"),
    ("/*/tmpfiles.d/*.conf", r"hugepages"),
    ("/usr/lib/tmpfiles.d/*.conf", r"hugepages"),
)
_CGROUP_FILES = ("memory.max", "cpu.max", "pids.max", "cpuset.cpus.effective")
_HUGE = re.compile(r"((?: N[0-9]+=[0-9]+)+).* kernelpagesize_kB=(?!4$)([0-9]+)$", re.ASCII | re.MULTILINE)
_MOUNT = re.compile(r"^(\S+ \S+ \S+) (\S+) (\S+) .* - (\S+) \S+ (\S+)$", re.ASCII | re.MULTILINE)


def audit_tree(pids: Mapping[str, int], files: Mapping[str, str], root: str = "/") -> dict[str, str]:
    """The machine's tree with all that an audit reads: path → content, ascending by path.

    Args:
        pids: the processes of VMs, by name.
        files: the VMs' files, name → text; they go into etc/qsup/vms.d.
    """
    tree = tree_of_host(root)
    tree.update(_readable(root, matching_files(root, _FILES)))
    for pattern, word in _CUT_FILES:
        for path, text in _readable(root, matching_files(root, (pattern,))).items():
            tree[path] = _lines_with(text, re.compile(word).search)
    tree["/proc/cpuinfo"] = _cpuinfo(read_text(root, "/proc/cpuinfo") or "")
    tree["/proc/self/mountinfo"] = _mounts(read_text(root, "/proc/self/mountinfo") or "")
    tree.update(_links(root))
    tree.update(_agents(root))
    for name, pid in pids.items():
        tree.update(_process(root, name, pid))
    tree.update({f"/etc/qsup/vms.d/{name}.toml": text for name, text in files.items()})
    return dict(sorted(tree.items()))


def _readable(root: str, paths: Iterable[str]) -> dict[str, str]:
    texts = ((path, read_text(root, path)) for path in paths)
    return {path: text for path, text in texts if text is not None}


def _lines_with(text: str, wanted: Callable[[str], object]) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if wanted(line))


def _cpuinfo(text: str) -> str:
    """Numbers, maker and microcode of every pCPU, flags of the first one."""
    head, _, rest = text.partition("\nflags")
    flags, _, rest = rest.partition("\n")
    start = ("processor", "vendor_id", "microcode")
    lines = [*head.splitlines(), *([f"flags{flags}"] if flags else []), *rest.splitlines()]
    return "".join(f"{line}\n" for line in lines if line.startswith((*start, f"flags{flags}" if flags else "processor")))


def _mounts(text: str) -> str:
    """Mount points with their types; what is mounted there is left out."""
    return "".join(map(_mount, _MOUNT.finditer(text)))


def _mount(match: re.Match[str]) -> str:
    numbers, top, point, kind, options = match.groups()
    is_cgroup = kind.startswith("cgroup")
    return f"{numbers} {top if is_cgroup else '/'} {point} rw - {kind} none {options if is_cgroup else 'rw'}\n"


def _links(root: str) -> Iterator[tuple[str, str]]:
    """Of NICs their queues, interrupts and offloads."""
    for name in list_dir(root, NET_DIR):
        top = f"{NET_DIR}/{name}"
        if not is_dir(root, f"{top}/device"):
            continue
        yield f"{top}/device/", ""
        irqs = list_dir(root, f"{top}/device/msi_irqs") or list_dir(root, f"{top}/device/../msi_irqs")
        yield from ((f"{top}/device/msi_irqs/{irq}", "") for irq in irqs)
        yield from ((f"{top}/queues/{queue}/", "") for queue in list_dir(root, f"{top}/queues"))
        offloads = read_offloads(name, root)
        if offloads is not None:
            yield f"/ethtool/{name}", format_offloads(offloads)


def _agents(root: str) -> Iterator[tuple[str, str]]:
    for entry in list_dir(root, "/proc"):
        comm = (read_text(root, f"/proc/{entry}/comm") or "").strip() if number_of(entry) is not None else ""
        if comm in KNOWN_AGENTS:
            yield f"/proc/{entry}/comm", f"{comm}\n"


def _process(root: str, name: str, pid: int) -> dict[str, str]:
    files = {file: read_text(root, f"/proc/{pid}/{file}") for file in ("limits", "status", "cgroup", "numa_maps")}
    tree = {f"/proc/{pid}/cmdline": f"qemu-system-x86_64\0-name\0guest={name},\0"}
    for file, wanted in (("limits", r"^Max (open files|locked memory) "), ("status", r"^VmSwap:"), ("cgroup", "")):
        text = files[file]
        if text is not None:
            tree[f"/proc/{pid}/{file}"] = _lines_with(text, re.compile(wanted).search)
    pages = (match.groups() for match in _HUGE.finditer(files["numa_maps"] or ""))
    tree[f"/proc/{pid}/numa_maps"] = "".join(f"0 default{counts} kernelpagesize_kB={size}\n" for counts, size in pages)
    directories = cgroup_dirs_of(pid, "", root)
    tree.update(_readable(root, (f"{directory}/{file}" for directory in directories for file in _CGROUP_FILES)))
    return tree
