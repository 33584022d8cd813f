"""What the tests of ``refresh.py`` share: releases on an index, a series, and the verb."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from making import (
    AGENTS,
    ENGINE,
    PLUGIN,
    REALTIME,
    Index,
    make_wheel,
    members_of,
    source,
    write_series,
)
from standing_in import judged, replace_proof

import refresh as verb
import update
from toolkit.patches.series import Series
from toolkit.releases.official import fetch_release
from toolkit.releases.sources import apply_series
from toolkit.util.workspace import CACHE_VARIABLE, Workspace


class House:
    """Releases on an index, a series, and the verb."""

    def __init__(self, index: Index, workspace: Workspace, root: Path) -> None:
        self.index, self.workspace, self.root = index, workspace, root
        self.tree = root / "question"

    def release(self, version: str, agents: Mapping[str, str] = {}, **changes: str) -> None:
        """A release whose engine has ``changes``, and ``agents`` files besides."""
        members = members_of(AGENTS, version) | {ENGINE: source(**changes).encode()}
        members |= {path: text.encode() for path, text in agents.items()}
        self.offer(AGENTS, version, members)
        self.offer(PLUGIN, version, members_of(PLUGIN, version))

    def offer(self, name: str, version: str, members: Mapping[str, bytes]) -> None:
        self.index.add(make_wheel(self.root / "w", name, version, members=members))

    def plugin(self, version: str, *, agents: Mapping[str, str] = {}, **modules: str) -> None:
        """A release whose plugin has ``modules``; the text of ``realtime`` is REALTIME's."""
        folder = REALTIME.rpartition("/")[0]
        members = members_of(PLUGIN, version)
        del members[REALTIME]
        members |= {f"{folder}/{name}.py": text.encode() for name, text in modules.items()}
        self.offer(PLUGIN, version, members)
        mine = {path: text.encode() for path, text in agents.items()}
        self.offer(AGENTS, version, members_of(AGENTS, version) | mine)

    def series(self, **patches: str) -> None:
        write_series(self.workspace.patches, {n: {"1.0": text} for n, text in patches.items()})
        assert update.main(["--patches", str(self.workspace.patches)]) == 0

    def refresh(self, *words: str) -> int:
        places = ("--patches", str(self.workspace.patches))
        tree = () if "--continue" in words else ("--tree", str(self.tree))
        return verb.main([*words, *places, *tree])

    def texts(self, version: str) -> dict[str, str]:
        """What the series makes of a release, by monorepo path; the series must fit it."""
        series = Series.load(self.workspace.patches)
        texts = apply_series(fetch_release(version, self.workspace), series)
        return {path: text.decode() for path, text in texts.items()}

    @property
    def variants(self) -> set[str]:
        patches = self.workspace.patches
        return {path.relative_to(patches).as_posix() for path in patches.rglob("*.patch")}


def opened(
    index: Index, workspace: Workspace, root: Path, monkeypatch: pytest.MonkeyPatch
) -> House:
    """A house whose proofs all come to `publish`."""
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    replace_proof(monkeypatch, judged("publish"))
    return House(index, workspace, root)
