"""Fixtures that several tests of the toolkit share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from making import Index, serving

from toolkit import release
from toolkit.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty cache, and a ``patches`` folder that does not exist yet."""
    return Workspace(tmp_path / "cache", tmp_path / "patches")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An empty index on loopback; a second attempt at it does not wait."""
    monkeypatch.setattr(release, "BACKOFF", 0)
    with serving(Index()) as served:
        yield served


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard() -> None:
    """A shell starts background jobs with SIGINT ignored, and every child inherits that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
