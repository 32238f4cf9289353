"""qsup check: every problem of every file, at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from qsup.api.wire import problem_json
from qsup.cli import exit_codes
from qsup.cli.offline.collisions import with_collisions
from qsup.cli.offline.vm_files import CheckedFile, check_file, expanded, files_in
from qsup.cli.output import print_json
from qsup.spec.render import render_problem


def run_check(args: argparse.Namespace) -> int:
    """Check the named files and directories, or the config directory; 65 where one of them is not valid."""
    try:
        paths = expanded(args.files) if args.files else files_in(args.config_dir)
    except OSError as error:
        print(f"qsup: {error.filename} cannot be listed: {error.strerror}", file=sys.stderr)
        return exit_codes.NO_SUCH
    files = with_collisions([check_file(path) for path in paths])
    if args.json:
        print_json([_file_json(file) for file in files])
    else:
        _print(files)
    return exit_codes.INVALID_FILE if any(file.problems for file in files) else exit_codes.DONE


def _file_json(file: CheckedFile) -> dict[str, object]:
    return {
        "file": file.path,
        "valid": not file.problems,
        "problems": [problem_json(problem) for problem in file.problems],
    }


def _print(files: Sequence[CheckedFile]) -> None:
    if not files:
        print("no VM files here: a VM file is called NAME.toml")
    for file in files:
        for problem in file.problems:
            print(render_problem(problem))
        if not file.problems:
            print(f"{file.path}: valid")
