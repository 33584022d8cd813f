"""Releases on loopback, a series, and the verbs that rebase it without a real proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from series import write_series
from standing_in import judged, replace_proof
from upstream_index import JANUARY, Upstream
from verbs import Ran
from wheels import AGENTS, ENGINE, PLUGIN, REALTIME, make_official, members_of, source

from toolkit.patches.series import Series
from toolkit.releases.official import Settings
from toolkit.releases.sources import apply_series
from toolkit.util.files import sha256_of


@dataclass(frozen=True)
class RebaseWorld(Upstream):
    """Releases, a series and proofs that come to `publish` until :meth:`prove_as` is called."""

    monkeypatch: pytest.MonkeyPatch

    @property
    def patches(self) -> Path:
        return self.workspace.patches

    @property
    def conflict(self) -> Path:
        """Where ``refresh`` leaves a conflict; ``release`` does below ``conflicts``."""
        return self.folder / "conflict"

    @property
    def tree(self) -> Path:
        return self.conflict / "tree"

    @property
    def conflicts(self) -> Path:
        return self.folder / "conflicts"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def prove_as(self, verdict: str) -> None:
        """Let every proof come to one verdict."""
        replace_proof(self.monkeypatch, judged(verdict))

    def release(
        self,
        version: str,
        when: datetime = JANUARY,
        *,
        agents: Mapping[str, str] = {},
        plugin: Mapping[str, str] | None = None,
        **changes: str,
    ) -> None:
        """Upload a release whose engine has ``changes``, with ``agents`` files besides.

        ``plugin`` maps the plugin's modules to texts, in place of the usual one.
        """
        members = members_of(AGENTS, version) | {ENGINE: source(**changes).encode()}
        members |= {path: text.encode() for path, text in agents.items()}
        partner = members_of(PLUGIN, version)
        if plugin is not None:
            folder = Path(REALTIME).parent
            del partner[REALTIME]
            partner |= {f"{folder}/{name}.py": text.encode() for name, text in plugin.items()}
        for name, contents in ((AGENTS, members), (PLUGIN, partner)):
            wheel = make_official(self.folder / "w", name, version, members=contents)
            self.index.add(wheel, when)

    def series(self, **mails: str) -> None:
        """Write a series with one variant of each patch, and run ``update``."""
        write_series(self.patches, {name: {"1.0": text} for name, text in mails.items()})
        self.run("update")

    def refresh(self, *args: object, code: int = 0) -> Ran:
        return self.run("refresh", *args, "--tree", self.conflict, code=code)

    def resume(self, code: int = 0) -> Ran:
        return self.run("refresh", "--continue", self.conflict, code=code)

    def publish(self, *args: object, code: int = 0) -> Ran:
        """Run ``release``, the whole pipeline."""
        places = ("--index", self.out, "--refresh", self.conflicts)
        return self.run("release", *args, *places, code=code)

    def texts(self, version: str) -> dict[str, str]:
        """What the series makes of a release that it fits, by monorepo path."""
        release = Settings(self.workspace).fetch(version)
        texts = apply_series(release, Series.load(self.patches))
        return {path: text.decode() for path, text in texts.items()}

    @property
    def variants(self) -> set[str]:
        return {path.relative_to(self.patches).as_posix() for path in self.patches.rglob("*.patch")}

    def files(self) -> dict[str, str]:
        """The sha256 of everything below `patches/`."""
        paths = (path for path in self.patches.rglob("*") if path.is_file())
        return {path.relative_to(self.patches).as_posix(): sha256_of(path) for path in paths}

    def changed(self, before: Mapping[str, str]) -> set[str]:
        """The names of files below `patches/` that are not as :meth:`files` said."""
        now = self.files()
        return {path for path in {*before, *now} if before.get(path) != now.get(path)}
