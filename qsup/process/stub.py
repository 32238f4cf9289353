"""The stub: the process that will be QEMU, held back until everything about it is in force.

Strategy: `unshare` and `setpriv` (util-linux) confine the process, then a shell blocks on its standard input, a pipe. While it
waits, the launch record is written, its scope is joined and its mask is set from outside; nothing of that can race with QEMU's
own threads, since there is one thread. A line on the pipe releases it: the shell puts /dev/null on its standard input (which
closes the pipe) and execs QEMU; pid and start time stay. A daemon that dies first closes the pipe: the shell reads end-of-file
and exits, and QEMU never runs. The words are given at the spawn, since the descriptors that they name must exist by then;
pages may be moved, and anything else done, while the stub waits.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Collection, Sequence

import trio
from attrs import field, frozen, validators

from qsup.cpuset import format_cpulist
from qsup.errors import KernelRefused, QemuFailed
from qsup.process.handle import QemuProcess
from qsup.process.identity import ProcessIdentity, read_identity
from qsup.process.log_dir import tail
from qsup.process.refusals import refusal_of

SCRIPT = 'IFS= read -r go && [ "$go" = go ] || exit 125; exec "$@" </dev/null'
STUB_NAME = "qsup-stub"
LAST_WORDS_BYTES = 4096
_RELEASE = b"go\n"
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@frozen
class Confinement:
    """The rights that QEMU keeps: its uid (which is its gid too) and its supplementary groups.

    Raises:
        ValueError: uid 0, or the number that means "leave it as it is" to setresuid(2): QEMU would stay root.
    """

    uid: int = field(validator=[validators.ge(1), validators.lt(2**32 - 1)])
    groups: tuple[int, ...] = ()


def stub_words(words: Sequence[str], confinement: Confinement | None) -> tuple[str, ...]:
    """The whole command of the stub. Without a confinement QEMU stays the daemon's own user and in its namespaces.

    Propagation stays the host's: an unmount there reaches QEMU's mounts too, so that no running VM pins another's log or disk
    (QEMU itself may not mount). unshare(1) changes it only where / is a mount point, and in a chroot it is none.
    """
    shell = ("sh", "-c", SCRIPT, STUB_NAME, *words)
    if confinement is None:
        return ("setpriv", "--no-new-privs", "--", *shell)
    groups = ",".join(str(gid) for gid in confinement.groups)
    return (
        *("unshare", "--net", "--mount", "--ipc", "--propagation", "unchanged", "--"),
        *("setpriv", "--reuid", str(confinement.uid), "--regid", str(confinement.uid)),
        *(("--groups", groups) if groups else ("--clear-groups",)),
        *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--"),
        *shell,
    )


class Stub:
    """A process that waits to become QEMU."""

    def __init__(self, process: QemuProcess, release_fd: int, stderr_log: str) -> None:
        """Take over the process' handle and the writing end of its pipe."""
        self.process = process
        self._release_fd = release_fd
        self._stderr_log = stderr_log

    @property
    def identity(self) -> ProcessIdentity:
        """Its identity, which will be QEMU's."""
        return self.process.identity

    @property
    def pid(self) -> int:
        """Its process id, which will be QEMU's."""
        return self.process.pid

    def set_mask(self, pcpus: Collection[int]) -> None:
        """Give the stub its mask and read it back: QEMU and all its threads start with it.

        Raises:
            KernelRefused: process.mask-refused, process.mask-not-in-force (a cpuset clamps it).

        Touches: sched_setaffinity, sched_getaffinity.
        """
        planned = frozenset(pcpus)
        try:
            os.sched_setaffinity(self.pid, planned)
            real = os.sched_getaffinity(self.pid)
        except OSError as error:
            deed = f"pin QEMU to pCPUs {format_cpulist(planned)} by"
            raise refusal_of(error, "process.mask-refused", "sched_setaffinity", deed) from error
        if real != planned:
            message = f"asked for pCPUs {format_cpulist(planned)}, the kernel gave {format_cpulist(real)}"
            hint = "widen the cpuset of the cgroup that the VM is in"
            raise KernelRefused("process.mask-not-in-force", "sched_getaffinity", 0, message, hint)

    def release(self) -> QemuProcess:
        """Let it exec QEMU.

        Returns:
            The process, which the caller owns.

        Raises:
            QemuFailed: process.stub-died; it did not live to be released (it lacked the right to confine itself, say).
        """
        try:
            os.write(self._release_fd, _RELEASE)
        except BrokenPipeError:
            self.process.send_signal(signal.SIGKILL)
            os.waitid(os.P_PIDFD, self.process.fileno(), os.WEXITED | os.WNOWAIT)
            ending = self.process.ending()
            words = tail(self._stderr_log, LAST_WORDS_BYTES)
            message = f"the process that was to become QEMU {ending.text} before it was released"
            raise QemuFailed("process.stub-died", message, ending.text, words, "read its last words") from None
        finally:
            self._close_pipe()
        return self.process

    async def abort(self) -> None:
        """Kill it and wait until it is gone; QEMU never runs. Also right after a release that failed, or a second time."""
        self._close_pipe()
        if self.process.fileno() < 0:
            return
        self.process.send_signal(signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await self.process.wait_gone()
        self.process.close()

    def _close_pipe(self) -> None:
        if self._release_fd >= 0:
            os.close(self._release_fd)
            self._release_fd = -1


async def start_stub(
    words: Sequence[str],
    *,
    pass_fds: Collection[int],
    stderr_fd: int,
    stderr_log: str,
    confinement: Confinement | None = None,
) -> Stub:
    """Start a stub for the QEMU of these words; each passed descriptor keeps its number.

    It leads a session of its own (no SIGINT of a terminal) and blocks no signal. A cancelled caller gets no half-started
    stub: the spawn is awaited, then undone.

    Raises:
        KernelRefused: process.tool-missing, process.spawn-refused.
    """
    command = stub_words(words, confinement)
    _require_tools(command)
    read_fd, release_fd = os.pipe2(os.O_CLOEXEC)
    try:
        with trio.CancelScope(shield=True):
            process = await trio.to_thread.run_sync(_spawn, command, tuple(pass_fds), read_fd, stderr_fd)
    except BaseException:
        os.close(release_fd)
        raise
    finally:
        os.close(read_fd)
    stub = Stub(process, release_fd, stderr_log)
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
    except trio.Cancelled:
        await stub.abort()
        raise
    return stub


def _require_tools(command: tuple[str, ...]) -> None:
    for tool in ("unshare", "setpriv", "sh"):
        if tool in command and shutil.which(tool, path=_path()) is None:
            message = f"the program {tool!r} is not installed"
            raise KernelRefused("process.tool-missing", tool, 2, message, "install util-linux")


def _path() -> str:
    return os.environ.get("PATH", _SEARCH_PATH)


def _spawn(command: tuple[str, ...], pass_fds: tuple[int, ...], stdin_fd: int, stderr_fd: int) -> QemuProcess:
    # A child inherits the mask of the thread that forks it; this thread's is cleared just for the fork.
    blocked = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        # Not trio.run_process: that kills on cancel, and a VM outlives its daemon.
        child = subprocess.Popen(
            command,
            # LC_ALL=C: with another locale each of the tools reads a dozen files before it does anything.
            env={"PATH": _path(), "LC_ALL": "C", "HOME": "/"},
            cwd="/",
            stdin=stdin_fd,
            stdout=stderr_fd,
            stderr=stderr_fd,
            pass_fds=pass_fds,
            start_new_session=True,
            umask=0o077,
        )
    except OSError as error:
        raise refusal_of(error, "process.spawn-refused", command[0], "run") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    # From here on the pidfd is the process; an unreaped Popen would reap it behind our back.
    child.returncode = 0
    return _own(child.pid)


def _own(pid: int) -> QemuProcess:
    """The handle of a child that nobody has reaped."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise refusal_of(error, "process.spawn-refused", "pidfd_open", "watch the new process:") from error
    identity = read_identity(pid)
    assert identity is not None, "a child that nobody has reaped has its place in /proc"
    return QemuProcess(identity, pidfd)
