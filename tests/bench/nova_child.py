"""Runs in Nova's environment: places workloads with Nova's own functions. Standard library and Nova only.

A line of JSON in, a line of JSON out. In: {"pack", "cells", "requests"}. Out: {"placed": one {"nodes", "pins"} for each request
before the first refusal, "ns"}. `ns` is the CPU time of all fits and of the usage that they leave, without what comes before.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

config = importlib.import_module("nova.conf")
objects = importlib.import_module("nova.objects")
objects.register_all()
hardware = importlib.import_module("nova.virt.hardware")


def host_topology(cells: list[dict[str, Any]]) -> Any:
    """The host as Nova's libvirt driver would report it, all pCPUs given to pinned instances and nothing reserved."""
    return objects.NUMATopology(
        cells=[
            objects.NUMACell(
                id=cell["id"],
                cpuset=set(cell["pcpus"]),
                pcpuset=set(cell["pcpus"]),
                memory=cell["memory_mib"],
                socket=cell["socket"],
                cpu_usage=0,
                memory_usage=0,
                pinned_cpus=set(),
                siblings=[set(core) for core in cell["cores"]],
                mempages=[
                    objects.NUMAPagesTopology(size_kb=size_kib, total=total, used=0, reserved=0)
                    for size_kib, total in cell["pages"]
                ],
            )
            for cell in cells
        ]
    )


def instance_topology(request: dict[str, Any]) -> Any:
    """The instance as `hw:numa_nodes`, `hw:cpu_policy = dedicated`, `hw:cpu_thread_policy` and `hw:mem_page_size` make it."""
    count = request["vcpus"] // request["nodes"]
    return objects.InstanceNUMATopology(
        cells=[
            objects.InstanceNUMACell(
                id=node,
                cpuset=set(),
                pcpuset=set(range(node * count, (node + 1) * count)),
                memory=request["memory_mib"] // request["nodes"],
                pagesize=request["page_kib"],
                cpu_policy="dedicated",
                cpu_thread_policy=request["thread_policy"],
            )
            for node in range(request["nodes"])
        ]
    )


def answer(work: dict[str, Any]) -> dict[str, Any]:
    """The placements of one workload."""
    config.CONF.set_override("packing_host_numa_cells_allocation_strategy", work["pack"], group="compute")
    host = host_topology(work["cells"])
    instances = [instance_topology(request) for request in work["requests"]]
    fits = []
    began_ns = time.process_time_ns()
    for instance in instances:
        fit = hardware.numa_fit_instance_to_host(host, instance, None)
        if fit is None:
            break
        host = hardware.numa_usage_from_instance_numa(host, fit)
        fits.append(fit)
    taken_ns = time.process_time_ns() - began_ns
    return {"placed": [seat_of(fit) for fit in fits], "ns": taken_ns}


def seat_of(fit: Any) -> dict[str, Any]:
    """Where an instance sits: the host cells, and the pCPU of each vCPU."""
    pins = {vcpu: pcpu for cell in fit.cells for vcpu, pcpu in cell.cpu_pinning.items()}
    return {"nodes": [cell.id for cell in fit.cells], "pins": [pins[vcpu] for vcpu in sorted(pins)]}


def main() -> None:
    """Answer until the other side closes."""
    config.CONF([], project="nova", version="", default_config_files=[])
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
