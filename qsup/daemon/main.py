"""The daemon: from its words to its exit code. The nesting of the blocks in `_run` is the order of start and shutdown."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import traceback
from argparse import Namespace
from contextlib import AsyncExitStack
from functools import partial

import trio

from qsup.api.listen import group_id_of, open_api_socket
from qsup.api.metrics_port import open_metrics_socket, serve_metrics
from qsup.api.peers import authorize_operators
from qsup.api.server import serve
from qsup.api.wire import event_json, to_bytes
from qsup.daemon.configuration import policy_of, read_settings
from qsup.daemon.journal import open_sink
from qsup.daemon.notify import feed_watchdog, notify
from qsup.daemon.tasks import print_tasks_at_signal
from qsup.errors import InvalidInput, QemuFailed, QsupError
from qsup.host.own_process import read_own_process
from qsup.process.run_dir import lock_run_dir
from qsup.process.scope import Scopes, open_scopes
from qsup.spec.render import render_problem
from qsup.spec.settings import SettingsSpec
from qsup.supervisor.adoption import adopt_all
from qsup.supervisor.caps import CapsCache
from qsup.supervisor.confdir import watch_config_dir
from qsup.supervisor.events import EventLog
from qsup.supervisor.page_watch import watch_pages
from qsup.supervisor.registry import Supervisor
from qsup.supervisor.reservations import Reservations
from qsup.supervisor.services import Services
from qsup.supervisor.view import EventView

YOUNG_OBJECTS = 50_000
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_INVALID = 65
EXIT_BUG = 70


def main(args: Namespace) -> int:
    """Run the daemon until SIGTERM or SIGINT; VMs go on without it.

    Returns:
        0 after a signal; 65 where the settings are invalid; 1 where it cannot run here; 70 for a fault of its own. Why is said
        on stderr.
    """
    os.umask(0o077)
    try:
        args.config_dir = os.path.abspath(args.config_dir)
        trio.run(_run, args, read_settings(args.settings), strict_exception_groups=True)
    except (QsupError, BaseExceptionGroup) as error:
        return _explain(error)
    return EXIT_OK


def _explain(error: QsupError | BaseExceptionGroup[BaseException]) -> int:
    """Say why the daemon cannot run; what nobody foresaw is said with all its traceback."""
    if isinstance(error, BaseExceptionGroup):
        known, rest = error.split(QsupError)
        if rest is not None or known is None:
            traceback.print_exception(error)
            return EXIT_BUG
        return max(_explain(inner) for inner in known.exceptions)
    if isinstance(error, InvalidInput):
        sys.stderr.write("".join(render_problem(problem) + "\n" for problem in error.problems))
        return EXIT_INVALID
    hint = f"\n  hint: {error.hint}" if error.hint else ""
    sys.stderr.write(f"qsup: {error.message} [{error.code}]{hint}\n")
    return EXIT_FAILED


async def _run(args: Namespace, settings: SettingsSpec) -> None:
    policy = policy_of(settings, args.run_dir, args.state_dir)
    events = EventLog((print_json_event if args.json else open_sink(),))
    with lock_run_dir(policy.run_dir):
        async with AsyncExitStack() as stack:
            scopes = await _scopes_of(settings, stack)
            services = Services(settings, policy, Reservations(policy), CapsCache(), events, scopes, {})
            group = group_id_of(settings.api_group)
            listener = await stack.enter_async_context(open_api_socket(policy.run_dir, group))
            port = await _metrics_port(settings, stack)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_at_signal, nursery.cancel_scope)
                nursery.start_soon(feed_watchdog)
                nursery.start_soon(print_tasks_at_signal)
                supervisor = Supervisor(services, nursery)
                adopted = await adopt_all(services, supervisor, nursery)
                nursery.start_soon(supervisor.run_samplers)
                nursery.start_soon(watch_pages, services)
                nursery.start_soon(watch_config_dir, args.config_dir, supervisor.take_config_news)
                await nursery.start(partial(serve, supervisor, listener, authorize=authorize_operators(os.getuid(), group)))
                if port is not None:
                    nursery.start_soon(serve_metrics, supervisor, port)
                _calm_collector()
                events.publish("daemon.ready", f"ready; {adopted} running VMs adopted")
                notify("READY=1")
                nursery.start_soon(_warm_up, services)


def print_json_event(event: EventView) -> None:
    """The sink of `--json`: one event object a line on stdout, at once."""
    sys.stdout.write(to_bytes(event_json(event)).decode() + "\n")
    sys.stdout.flush()


def _calm_collector() -> None:
    """A cycle of a large fleet makes thousands of objects that count references alone set free again: looking for circles among
    them after every 700, and through all modules time and again, took a fifth of it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


async def _metrics_port(settings: SettingsSpec, stack: AsyncExitStack) -> trio.SocketListener | None:
    """The TCP port for metrics, where the settings name one."""
    if settings.metrics_address is None:
        return None
    return await stack.enter_async_context(open_metrics_socket(settings.metrics_address))


async def _scopes_of(settings: SettingsSpec, stack: AsyncExitStack) -> Scopes | None:
    """The way to systemd, where the settings want it or leave it open and there is one."""
    if settings.scopes is False:
        return None
    return await stack.enter_async_context(open_scopes(required=settings.scopes is True))


async def _warm_up(services: Services) -> None:
    """Ask QEMU what it can do before the first VM wants to know; trouble is told to whoever starts one.

    Then what is slow to import is imported, in a thread, before somebody waits for it.
    """
    with contextlib.suppress(QemuFailed):
        await services.caps.caps_of(services.settings.qemu)
    await trio.to_thread.run_sync(read_own_process)


async def _stop_at_signal(scope: trio.CancelScope) -> None:
    """End the daemon, and nothing but the daemon, at SIGTERM or SIGINT."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            notify("STOPPING=1")
            scope.cancel()
            return
