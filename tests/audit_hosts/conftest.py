"""The recorded host that is in order: written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit_hosts.recordings import write_base


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tree. Whoever changes it puts it back (`laid_over`)."""
    root = tmp_path_factory.mktemp("audit") / "base"
    root.mkdir()
    return write_base(root)
