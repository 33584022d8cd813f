"""Upstream's releases on an index on loopback, and the verbs that ask it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packaging.version import Version
from series import engine_patch, write_series
from simple_index import Index
from verbs import Ran, RunVerb
from wheels import AGENTS, PLUGIN, make_official

from toolkit.releases.catalogue import Catalogue, Entry
from toolkit.releases.release import Artefact
from toolkit.util.workspace import Workspace

JANUARY, FEBRUARY, MARCH = (datetime(2026, month, 1, 12, tzinfo=UTC) for month in (1, 2, 3))
BOTH = (AGENTS, PLUGIN)


def upload(
    index: Index,
    folder: Path,
    version: str,
    when: datetime = JANUARY,
    names: Sequence[str] = BOTH,
    **wheel: Any,
) -> list[str]:
    """Upload wheels of a release, by default one of each distribution; return their names."""
    paths = [make_official(folder, name, version, **wheel) for name in names]
    for path in paths:
        index.add(path, when)
    return [path.name for path in paths]


def artefact(name: str, version: str, when: datetime = JANUARY, **facts: Any) -> Artefact:
    """A wheel as the catalogue has it, though there is no file."""
    return Artefact(
        **{
            "filename": f"{name.replace('-', '_')}-{version}-py3-none-any.whl",
            "url": "",
            "sha256": "ab" * 32,
            "size": 1,
            "upload_time": when,
            **facts,
        }
    )


def entry(version: str, when: datetime = JANUARY, **facts: Any) -> Entry:
    """A release of both distributions as the catalogue has it."""
    official = tuple(artefact(name, version, when, **facts) for name in BOTH)
    return Entry(Version(version), official)


@dataclass(frozen=True)
class Upstream:
    """An index that verbs ask without being told, and the workspace that they use."""

    index: Index
    workspace: Workspace
    folder: Path
    run_verb: RunVerb

    def upload(self, version: str, *args: Any, **wheel: Any) -> list[str]:
        """The same on this index: time, distributions, and what the builder of wheels takes."""
        return upload(self.index, self.folder / "w", version, *args, **wheel)

    def add_two_releases(self) -> None:
        """Upload 1.8.8 and 1.8.9, and write a series that changes the agents' engine."""
        self.upload("1.8.8")
        self.upload("1.8.9")
        write_series(self.workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})

    def leftovers(self) -> list[Path]:
        """Drafts and scratch folders that a verb forgot."""
        return [*self.folder.rglob(".*.tmp"), *self.folder.rglob("livekit-dispatched-*")]

    def run(self, verb: str, *args: object, code: int = 0) -> Ran:
        """Run a verb on the workspace's series; it has to end with ``code``."""
        result = self.run_verb(verb, *args, "--patches", self.workspace.patches)
        assert result.code == code, result.err
        return result

    def catalogue(self) -> Catalogue:
        return Catalogue.read(self.workspace.catalogue)
