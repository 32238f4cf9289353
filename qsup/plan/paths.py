"""Where the VM's files lie. Sockets must fit sockaddr_un (man 7 unix: 108 bytes with the terminating zero)."""

from __future__ import annotations

from qsup.plan.case import Case
from qsup.plan.vmplan import PathsPlan

_SOCKET_PATH_BYTES = 107


def plan_paths(case: Case) -> PathsPlan:
    """The paths; sockets that would be too long are noted."""
    run_dir = f"{case.policy.run_dir}/vms/{case.spec.name}"
    log_dir = f"{run_dir}/log"
    paths = PathsPlan(
        run_dir=run_dir,
        qmp_socket=f"{run_dir}/qmp.sock",
        telemetry_socket=f"{run_dir}/telemetry.sock",
        console_socket=f"{run_dir}/console.sock",
        launch_record=f"{run_dir}/launch.json",
        log_dir=log_dir,
        serial_log=f"{log_dir}/serial.log",
        stderr_log=f"{log_dir}/stderr.log",
        state_dir=f"{case.policy.state_dir}/vms/{case.spec.name}",
    )
    sockets = (paths.qmp_socket, paths.telemetry_socket, paths.console_socket)
    _check_socket(case, max(sockets, key=lambda path: len(path.encode())))
    return paths


def _check_socket(case: Case, path: str) -> None:
    length = len(path.encode())
    if length > _SOCKET_PATH_BYTES:
        case.notes.refuse(
            "plan.socket-path-too-long",
            f"the socket path {path} has {length} bytes; at most {_SOCKET_PATH_BYTES} are accepted",
            needed=f"{length} bytes",
            available=f"{_SOCKET_PATH_BYTES} bytes",
            hint=f"make the file's name or the run directory shorter by {length - _SOCKET_PATH_BYTES} bytes",
        )
