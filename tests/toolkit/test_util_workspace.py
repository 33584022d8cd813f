"""Where the toolkit keeps things."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from toolkit.util.workspace import CACHE_VARIABLE, Workspace


def test_the_environment_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "named"))
    assert Workspace.default().root == tmp_path / "named"
    assert Workspace.default().patches.name == "patches"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert Workspace.default().root.name == "livekit-dispatched"


@pytest.mark.parametrize("small", [False, True])
def test_scratch_is_gone_however_the_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, small: bool
) -> None:
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr("toolkit.util.workspace.MEMORY", tmp_path / "memory")
    workspace = Workspace(tmp_path / "cache")
    home = tmp_path / ("memory" if small else "cache/scratch")
    with suppress(KeyboardInterrupt), workspace.scratch(small=small) as folder:
        assert folder.parent == home
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").write_text("x", "utf-8")
        raise KeyboardInterrupt
    assert list(home.iterdir()) == []
