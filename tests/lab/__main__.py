"""`python -m tests.lab`: build the lab, get a shell in a fresh clone, run a command in one, remove the cache."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable

from . import cache, prerequisites
from .image import image_of
from .recipe import DEFAULT_RELEASE, RELEASES
from .shapes import DEFAULT_SHAPE, SHAPES
from .template import Template, bare_template, qsup_template
from .terminal import run_on_pipes, run_on_terminal


def main(words: list[str]) -> int:
    """Carry out a command line and return the exit status."""
    options = _parser().parse_args(words)
    action: Callable[[argparse.Namespace], int] = options.action
    return action(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="build | shell | run | clean")
    for name, action, text in (
        ("build", _build, "build the image, boot it and save the template"),
        ("shell", _shell, "a shell in a fresh clone, which is removed at its end"),
        ("run", _run, "run a command in a fresh clone"),
        ("clean", _clean, "remove the cache folder"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(action=action)
        if name != "clean":
            _add_kind(command)
        if name == "run":
            command.add_argument("argv", nargs="+", metavar="-- COMMAND")
    return parser


def _add_kind(command: argparse.ArgumentParser) -> None:
    command.add_argument("--release", choices=RELEASES, default=DEFAULT_RELEASE)
    command.add_argument("--shape", choices=SHAPES, default=DEFAULT_SHAPE)
    command.add_argument("--bare", action="store_true", help="without qsup")


def _build(options: argparse.Namespace) -> int:
    """Where the lab cannot run, its tests are skipped; so nothing fails here either, unless it must run."""
    reason = prerequisites.reason_against(options.release)
    if reason and not os.environ.get("QSUP_LAB_REQUIRED"):
        _say(f"not built: {reason}")
        return 0
    template = _template(options)
    print(f"{template.folder}: {options.shape}, Debian {options.release}, Linux {template.image.kernel_release}")
    return 0


def _shell(options: argparse.Namespace) -> int:
    template = _template(options)
    lab = template.clone()
    try:
        _say(f"{options.shape}, Debian {options.release}, Linux {template.image.kernel_release}; `exit` removes this clone")
        return run_on_terminal(lab, ["bash", "-l"])
    finally:
        lab.close()


def _run(options: argparse.Namespace) -> int:
    lab = _template(options).clone()
    try:
        return run_on_pipes(lab, options.argv)
    finally:
        lab.close()


def _clean(options: argparse.Namespace) -> int:
    shutil.rmtree(cache.root(), ignore_errors=True)
    return 0


def _template(options: argparse.Namespace) -> Template:
    if reason := prerequisites.reason_against(options.release):
        raise SystemExit(f"lab: {reason}")
    begun_s = time.monotonic()
    image = image_of(options.release)
    _say(f"image {image.folder.name} ({time.monotonic() - begun_s:.1f} s)")
    make = bare_template if options.bare else qsup_template
    template = make(options.release, options.shape)
    _say(f"template {template.folder.name} ({time.monotonic() - begun_s:.1f} s)")
    return template


def _say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
