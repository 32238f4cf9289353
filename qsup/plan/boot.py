"""[boot] planned: firmware or kernel, each file there and readable."""

from __future__ import annotations

from qsup.plan.case import Case
from qsup.plan.vmplan import BootPlan, PathsPlan


def plan_boot(case: Case, paths: PathsPlan) -> BootPlan:
    """The boot files; those that cannot be used are noted, each by name."""
    boot = case.spec.boot
    for key, path in (("bios", boot.bios), ("kernel", boot.kernel), ("initrd", boot.initrd)):
        if path is not None:
            _check_file(case, key, path)
    code, template = _firmware(case) if boot.uefi else (None, None)
    return BootPlan(
        bios=boot.bios,
        uefi_code=code,
        uefi_vars=f"{paths.state_dir}/uefi-vars.fd" if template else None,
        uefi_vars_template=template,
        kernel=boot.kernel,
        initrd=boot.initrd,
        cmdline=boot.cmdline,
    )


def _firmware(case: Case) -> tuple[str | None, str | None]:
    boot, facts = case.spec.boot, case.facts
    found = {"uefi_code": boot.uefi_code or facts.uefi_code, "uefi_vars": boot.uefi_vars or facts.uefi_vars}
    for key, written in (("uefi_code", boot.uefi_code), ("uefi_vars", boot.uefi_vars)):
        if written is not None:
            _check_file(case, key, written)
    absent = [f"boot.{key}" for key, path in found.items() if path is None]
    if absent:
        keys = " and ".join(absent)
        case.notes.refuse(
            "plan.uefi-absent",
            f"UEFI firmware was not found on this host, and {keys} {'are' if len(absent) > 1 else 'is'} not written",
            hint=f"install the firmware (Debian: ovmf), or set {keys} to its files",
        )
    return found["uefi_code"], found["uefi_vars"]


def _check_file(case: Case, key: str, path: str) -> None:
    file = case.facts.files.get(path)
    problem = "it was not found" if file is None else file.problem
    if problem is not None:
        case.notes.refuse(
            "plan.file-unusable",
            f"boot.{key} cannot be used: {problem if path in problem else f'{path}: {problem}'}",
            hint=f"correct boot.{key}, or put a file there that the daemon's user may read",
        )
