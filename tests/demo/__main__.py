"""`python -m tests.demo`: sets the stage, plays the story, takes everything down again."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.demo import kept, story
from tests.demo.bridge import remove_bridge
from tests.demo.guest import Guest, built_guest
from tests.demo.leftovers import Before, left_of
from tests.demo.offer import Offer, made_offer
from tests.demo.screen import say, scene
from tests.live.harness import Daemon, clean_up

CACHE = Path(__file__).parents[2] / "build" / "demo"


def main(words: list[str]) -> int:
    """Carry out a command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave daemon, VM and bridge up at the end")
    parser.add_argument("--end", type=Path, metavar="DIR", help="take down what --keep has left up there")
    options = parser.parse_args(words)
    try:
        return _end(options.end) if options.end else _demo(options.keep)
    except KeyboardInterrupt:
        print("\ndemo: interrupted; what it had set up was taken down again", file=sys.stderr)
        return 130


def _demo(keep: bool) -> int:
    begun_s = time.monotonic()
    scene("the stage")
    guest = _guest()
    before = Before.now()
    with ExitStack() as at_the_end:
        root = Path(tempfile.mkdtemp(prefix="qsup-demo-"))
        at_the_end.callback(shutil.rmtree, root, ignore_errors=True)
        root.chmod(0o755)  # QEMU runs under another uid
        say(f"directories   {root}")
        offer = made_offer(root)
        if offer.bridge is not None:
            at_the_end.callback(remove_bridge, offer.bridge.name)
        daemon = Daemon(root)
        at_the_end.callback(clean_up, daemon)
        _play(daemon, offer, guest)
        if keep:
            at_the_end.pop_all()
            return _leave_up(daemon, offer, before)
        story.stop_gracefully(daemon, daemon.view(story.VM))
    return _report(left_of(before, daemon), time.monotonic() - begun_s)


def _guest() -> Guest:
    CACHE.mkdir(parents=True, exist_ok=True)
    guest = built_guest(CACHE)
    say(f"guest         Linux {guest.release} with a busybox initramfs, made here")
    return guest


def _play(daemon: Daemon, offer: Offer, guest: Guest) -> None:
    daemon.start()
    view, offer = story.drop_the_file(daemon, offer, guest)
    story.watch_the_guest(view, offer)
    story.explain_the_command_line(daemon)
    story.ask_the_kernel(daemon, view, offer)
    story.kill_the_daemon(daemon, view)
    story.adopt(daemon, view, offer)


def _leave_up(daemon: Daemon, offer: Offer, before: Before) -> int:
    scene("it stays up")
    kept.note(daemon, offer.bridge.name if offer.bridge else None, before)
    say(f"export QSUP_RUN_DIR={daemon.run_dir}")
    say(".venv/bin/qsup list; .venv/bin/qsup console demo; .venv/bin/qsup events")
    say(f"another VM: drop its file into {daemon.config_dir}")
    say(f"take it all down: make demo END={daemon.root}")
    return 0


def _end(root: Path) -> int:
    scene(f"taking down {root}")
    daemon, bridge, before = kept.taken_over(root)
    with ExitStack() as at_the_end:
        at_the_end.callback(shutil.rmtree, root, ignore_errors=True)
        if bridge is not None:
            at_the_end.callback(remove_bridge, bridge)
        at_the_end.callback(clean_up, daemon)
    return _report(left_of(before, daemon), 0)


def _report(left: list[str], took_s: float) -> int:
    scene("what is left")
    say("\n".join(left) or "nothing: no process, tap, bridge, hugepage, mount or directory")
    if took_s:
        say(f"done in {took_s:.0f} s")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
