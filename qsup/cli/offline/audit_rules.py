"""qsup audit --explain, --rules, --record: what asks no rule."""

from __future__ import annotations

import argparse
import contextlib
import os

from qsup.api.audit_wire import rule_json
from qsup.api.client import Rejected
from qsup.api.wire import error_json
from qsup.cli import exit_codes
from qsup.cli.offline.current import current_of
from qsup.cli.offline.drawing import not_written
from qsup.cli.offline.vm_files import files_in, read_text
from qsup.cli.options import DEFAULT_CONFIG_DIR
from qsup.cli.output import print_json, print_text
from qsup.cli.render.audit_text import explain_text, rules_text
from qsup.cli.terminal import stdout_style, stdout_width
from qsup.errors import QsupError
from qsup.host.audit.processes import qemu_pids
from qsup.host.audit.record import audit_tree
from qsup.host.record import write_tree
from qsup.truth.audit.table import RULES, rule_of

_WIDTH = 80


def run_rules(args: argparse.Namespace) -> int:
    """Explain one rule, list all, or record the host.

    Raises:
        Rejected: there is no such rule, or the recording cannot be written.
    """
    if args.record is not None:
        return _record(args)
    if args.explain is None:
        rules = [rule_json(rule) for rule in RULES]
        if args.json:
            print_json(rules)
        else:
            print_text(rules_text(rules, stdout_style(), stdout_width()))
        return exit_codes.DONE
    try:
        rule = rule_json(rule_of(args.explain))
    except QsupError as error:
        raise Rejected(*error_json(error)) from None
    if args.json:
        print_json(rule)
    else:
        print_text(explain_text(rule, stdout_style(), stdout_width() or _WIDTH))
    return exit_codes.DONE


def _record(args: argparse.Namespace) -> int:
    texts = _vm_texts(args)
    tree = audit_tree(qemu_pids(), texts)
    try:
        write_tree(tree, args.record)
    except (OSError, ValueError) as error:
        raise Rejected(*error_json(not_written(args.record, error))) from None
    if args.json:
        print_json({"recorded": args.record, "files": len(tree), "vms": sorted(texts)})
    else:
        vms = f", the files of {len(texts)} VMs among them" if texts else ""
        print_text(f"{args.record}: {len(tree)} files{vms}; look at them with: qsup audit --host {args.record}")
    return exit_codes.DONE


def _vm_texts(args: argparse.Namespace) -> dict[str, str]:
    """The VMs' files as the daemon knows them, else those of the config directory; what cannot be read is left out."""
    current = current_of(args.run_dir)
    directory = args.config_dir or DEFAULT_CONFIG_DIR
    paths = current.files if current.by_daemon and args.config_dir is None else ()
    if not paths and os.path.isdir(directory):
        paths = tuple(files_in(directory))
    texts = {}
    for path in paths:
        with contextlib.suppress(QsupError):
            texts[os.path.basename(path).removesuffix(".toml")] = read_text(path)
    return texts
