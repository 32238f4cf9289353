"""What this binary lacks for this plan, each with the key that asks for it; found before anything is started."""

from __future__ import annotations

from collections.abc import Iterator

from qsup.argv.board import power_controller_of
from qsup.argv.caps import QemuCaps
from qsup.argv.memory import backend_type, uses_thread_context
from qsup.errors import Problem
from qsup.plan.vmplan import VmPlan


def missing_capabilities(plan: VmPlan, caps: QemuCaps) -> tuple[Problem, ...]:
    """Everything that the plan needs and the binary lacks; empty when the command line will be understood.

    Codes: `argv.no-machine`, `argv.no-cpu-model`, `argv.no-device`, `argv.no-aio`. How old a binary may be is no question
    here: one that is too old is not asked further.
    """
    return (
        *_machine_problems(plan, caps),
        *_cpu_problems(plan, caps),
        *_type_problems(plan, caps),
        *_aio_problems(plan, caps),
    )


def _machine_problems(plan: VmPlan, caps: QemuCaps) -> Iterator[Problem]:
    if plan.machine not in caps.machines and plan.machine not in caps.machine_aliases:
        yield Problem(
            code="argv.no-machine",
            message=f"machine.type needs the machine {plan.machine}, which {_binary(plan, caps)} does not have",
            hint=f"set machine.type to one that `{plan.qemu} -machine help` lists, or install the QEMU that has it",
            key="machine.type",
        )


def _cpu_problems(plan: VmPlan, caps: QemuCaps) -> Iterator[Problem]:
    model = plan.cpu_model.partition(",")[0]
    if model not in caps.cpu_models:
        yield Problem(
            code="argv.no-cpu-model",
            message=f"cpu.model needs the CPU model {model}, which {_binary(plan, caps)} does not have",
            hint=f"set cpu.model to one that `{plan.qemu} -cpu help` lists",
            key="cpu.model",
        )


def _type_problems(plan: VmPlan, caps: QemuCaps) -> Iterator[Problem]:
    for qom_type, key in _needed_types(plan):
        if qom_type not in caps.object_types:
            yield Problem(
                code="argv.no-device",
                message=f"{key} needs {qom_type}, which {_binary(plan, caps)} was built without",
                hint=f"install the full qemu-system-x86, or do without {key}",
                key=key,
            )


def _needed_types(plan: VmPlan) -> Iterator[tuple[str, str]]:
    """Pairs of QOM type and key, each type once, in the order of the file's sections."""
    needs = [(f"{plan.accel}-accel", "machine.accel"), (power_controller_of(plan.machine), "machine.type")]
    for node in plan.guest_nodes:
        needs.append((backend_type(node), "memory.hugepages" if node.hugepages else "memory.size"))
        if uses_thread_context(node):
            needs.append(("thread-context", "memory.prealloc"))
    for position, disk in enumerate(plan.disks):
        needs.append(("virtio-blk-pci", f"disk[{position}].path"))
        if disk.iothread_id is not None:
            needs.append(("iothread", f"disk[{position}].iothread"))
    needs += [("virtio-net-pci", f"nic[{position}].bridge") for position in range(len(plan.nics))]
    if plan.serial:
        needs.append(("isa-serial", "console.serial"))
    seen: set[str] = set()
    for qom_type, key in needs:
        if qom_type not in seen:
            seen.add(qom_type)
            yield qom_type, key


def _aio_problems(plan: VmPlan, caps: QemuCaps) -> Iterator[Problem]:
    for position, disk in enumerate(plan.disks):
        if disk.aio not in caps.aio_modes:
            yield Problem(
                code="argv.no-aio",
                message=f"disk[{position}].aio needs {disk.aio}, which {_binary(plan, caps)} was built without",
                hint=f"set disk.aio to {' or '.join(sorted(caps.aio_modes)) or 'another'}, or install a QEMU that has it",
                key=f"disk[{position}].aio",
            )


def _binary(plan: VmPlan, caps: QemuCaps) -> str:
    return f"{plan.qemu} (QEMU {'.'.join(map(str, caps.version))})"
