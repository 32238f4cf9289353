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
    found = []
    for key, written, known in (
        ("uefi_code", boot.uefi_code, facts.uefi_code),
        ("uefi_vars", boot.uefi_vars, facts.uefi_vars),
    ):
        if written is not None:
            _check_file(case, key, written)
        elif known is None:
            case.notes.refuse(
                "plan.uefi-absent",
                f"UEFI firmware was not found on this host, and boot.{key} is not written",
                needed=f"boot.{key}",
                available="none",
                hint=f"install the ovmf package, or set boot.{key} to the firmware's file",
            )
        found.append(written or known)
    return found[0], found[1]


def _check_file(case: Case, key: str, path: str) -> None:
    file = case.facts.files.get(path)
    problem = "it was not found" if file is None else file.problem
    if problem is not None:
        case.notes.refuse(
            "plan.file-unusable",
            f"boot.{key} {path} cannot be used: {problem}",
            needed=path,
            available=problem,
            hint=f"correct boot.{key}, or put the file there",
        )
