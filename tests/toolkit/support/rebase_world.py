"""Releases on loopback, a series, and the verbs that rebase it without a real proof."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest
from series import write_series
from simple_index import Index
from standing_in import judged, replace_proof
from upstream_index import JANUARY
from verbs import Ran, RunVerb
from wheels import AGENTS, ENGINE, PLUGIN, REALTIME, make_official, members_of, source

from toolkit.patches.series import Series
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.official import Settings
from toolkit.releases.pypi import ENDPOINT_VARIABLE
from toolkit.releases.sources import apply_series
from toolkit.util.files import sha256_of
from toolkit.util.workspace import CACHE_VARIABLE, Workspace


class RebaseWorld:
    """All proofs come to `publish` until :meth:`prove_as` says otherwise."""

    def __init__(
        self,
        index: Index,
        workspace: Workspace,
        root: Path,
        monkeypatch: pytest.MonkeyPatch,
        run_verb: RunVerb,
    ) -> None:
        self.index, self.workspace, self.root = index, workspace, root
        self.patches = workspace.patches
        self.folder, self.out, self.conflicts = root / "conflict", root / "out", root / "conflicts"
        self.tree = self.folder / "tree"
        self._patch, self._run = monkeypatch, run_verb
        monkeypatch.setenv(ENDPOINT_VARIABLE, index.url)
        monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
        self.prove_as("publish")

    def prove_as(self, verdict: str) -> None:
        """Let every proof come to one verdict."""
        replace_proof(self._patch, judged(verdict))

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
            wheel = make_official(self.root / "w", name, version, members=contents)
            self.index.add(wheel, when)

    def series(self, **mails: str) -> None:
        """Write a series with one variant of each patch, and run ``update``."""
        write_series(self.patches, {name: {"1.0": text} for name, text in mails.items()})
        self.update()

    def update(self) -> None:
        assert self.run("update").code == 0

    def run(self, verb: str, *arguments: object) -> Ran:
        return self._run(verb, *arguments, "--patches", self.patches)

    def refresh(self, *arguments: object) -> Ran:
        """Run ``refresh``; a conflict goes to ``folder``."""
        return self.run("refresh", *arguments, "--tree", self.folder)

    def resume(self) -> Ran:
        return self.run("refresh", "--continue", self.folder)

    def publish(self, *arguments: object) -> Ran:
        """Run ``release``, the whole pipeline."""
        places = ("--index", self.out, "--refresh", self.conflicts)
        return self.run("release", *arguments, *places)

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue.read(self.workspace.catalogue)

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
