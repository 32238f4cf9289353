"""qsup audit."""

from __future__ import annotations

import argparse

from qsup.api.client import DaemonAbsent, Json, NotPermitted
from qsup.cli import exit_codes
from qsup.cli.options import DEFAULT_SETTINGS, DEFAULT_STATE_DIR, add_client_options, client_of
from qsup.cli.output import print_json, print_text
from qsup.cli.render.audit_text import SEVERITIES, audit_text
from qsup.cli.terminal import stdout_style, stdout_width


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words of `audit`."""
    least_help = "leave findings below this severity out, also of the exit code"
    parser.add_argument("--least", metavar="SEVERITY", choices=SEVERITIES, default=SEVERITIES[-1], help=least_help)
    parser.add_argument("--skip", metavar="RULE", action="append", default=[], help="do not ask this rule; again for more")
    parser.add_argument("--brief", action="store_true", help="one line a finding")
    parser.add_argument("--explain", metavar="RULE", help="what a rule looks for, why, and what mends it; asks nobody")
    parser.add_argument("--rules", action="store_true", help="all rules; asks nobody")
    parser.add_argument("--host", metavar="RECORDED", help="a recorded host: a directory, or its tree as one JSON file")
    record_help = "write what an audit reads of this host and its VMs into a directory, and nothing else"
    parser.add_argument("--record", metavar="DIR", help=record_help)
    config_help = "without a daemon: where the VMs' TOML files are (default /etc/qsup/vms.d, of the recorded host its own)"
    parser.add_argument("--config-dir", metavar="DIR", default=None, help=config_help)
    state_help = f"without a daemon: where the guests' records lie (default {DEFAULT_STATE_DIR})"
    parser.add_argument("--state-dir", metavar="DIR", default=DEFAULT_STATE_DIR, help=state_help)
    settings_help = f"without a daemon: the host settings (default {DEFAULT_SETTINGS}, where it exists)"
    parser.add_argument("--settings", metavar="FILE", default=None, help=settings_help)
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the findings; the exit code is 1 where there are any, 4 where there are none and something could not be told."""
    if args.explain is not None or args.rules or args.record is not None:
        from qsup.cli.offline.audit_rules import run_rules

        return run_rules(args)
    report = _report(args)
    rank = SEVERITIES.index(args.least)
    report["findings"] = [one for one in report["findings"] if SEVERITIES.index(one["severity"]) <= rank]
    if args.json:
        print_json(report)
    else:
        print_text(audit_text(report, stdout_style(), stdout_width(), brief=args.brief))
    return _code_of(report)


def _report(args: argparse.Namespace) -> Json:
    """From the daemon; without one, or for a recorded host, by looking ourselves."""
    if args.host is None and args.config_dir is None:
        try:
            skip = ",".join(args.skip)
            return client_of(args).get(f"/v1/audit?skip={skip}" if skip else "/v1/audit")
        except DaemonAbsent:
            notes: tuple[str, ...] = ("no daemon answers: this host is looked at without one",)
        except NotPermitted as fault:
            notes = (f"{fault.message}: this host is looked at without the daemon",)
    else:
        notes = ()
    from qsup.cli.offline.audit import audit_offline

    return audit_offline(args, notes)


def _code_of(report: Json) -> int:
    if report["findings"]:
        return exit_codes.FAILED
    return exit_codes.UNKNOWN if report["unknown"] else exit_codes.DONE
