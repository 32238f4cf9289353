"""[cpu]: the model and the guest's topology. Where the vCPUs run is no option: their threads are pinned after the start."""

from __future__ import annotations

from qsup.argv.caps import QemuCaps
from qsup.argv.option import Option
from qsup.argv.syntax import key_values
from qsup.plan.vmplan import VmPlan


def options_of_cpu(plan: VmPlan, caps: QemuCaps) -> list[Option]:
    """-cpu (a model with its features, as QEMU writes them) and -smp."""
    count = len(plan.vcpus)
    topology = key_values(
        None,
        ("cpus", count),
        ("sockets", plan.sockets),
        ("dies", 1),
        ("cores", plan.cores),
        ("threads", plan.threads),
        ("maxcpus", count),
    )
    why = f"[cpu] vcpus = {count}; guest topology {plan.sockets} × {plan.cores} × {plan.threads} (sockets, cores, threads)"
    return [
        Option("-cpu", plan.cpu_model, "[cpu] model; rule: as in the guest record"),
        Option("-smp", topology, why),
    ]
