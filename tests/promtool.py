"""promtool, wherever it is: on the path, or beside this Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_PROMTOOL = shutil.which("promtool", path=os.pathsep.join([str(Path(sys.prefix, "bin")), os.environ.get("PATH", "")]))

needs_promtool = pytest.mark.skipif(_PROMTOOL is None, reason="promtool cannot be had here")


def promtool(*words: str, text: bytes = b"") -> tuple[int, str]:
    """`promtool check WORDS`, given this text: its exit code and what it says."""
    assert _PROMTOOL is not None
    done = subprocess.run([_PROMTOOL, "check", *words], input=text, capture_output=True, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()
