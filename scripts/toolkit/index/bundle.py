"""What is published of a release: the proved wheels, the companion, a statement beside each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from packaging.version import Version

from toolkit.index.metapackage import make_metapackage
from toolkit.index.provenance import statements
from toolkit.index.staged_wheel import (
    Generated,
    StagedWheel,
    stage_generated,
    stage_wheel,
    timestamp,
)
from toolkit.patches.series import Series
from toolkit.proof.verdict import Claim, Proof, Verdict
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.official import fetch_release, find_release
from toolkit.releases.repack import repack_release
from toolkit.util.errors import InvalidWheel, NotProved
from toolkit.util.files import sha256
from toolkit.util.workspace import Workspace

# What `release --verdicts` calls the verdict on a release; the picture has it with .svg.
VERDICT = ".verdict.json"


def remake_bundle(
    verdict: Verdict, series: Series, workspace: Workspace, *, picture: Path, endpoint: str | None
) -> Bundle:
    """All that is published by a verdict, repacked here and now; nothing is proved.

    ``endpoint`` is another index than PyPI's. Raises NotProved if that gives other wheels than the
    verdict speaks of, and as :func:`toolkit.releases.repack.repack_release` does.
    """
    release = find_release(verdict.release, workspace, endpoint=endpoint, yanked=True)
    official = fetch_release(release, workspace, endpoint=endpoint)
    repacked = repack_release(official, series, workspace)
    if repacked.series_digest != verdict.series:
        raise NotProved(
            f"the verdict on {verdict.release} is on another series than {workspace.patches}",
            next_step="prove the release with the series as it is here",
        )
    return make_bundle(
        [*repacked.wheels, *repacked.passthrough],
        Proof.of(verdict),
        series=series,
        official={artefact.filename: artefact.sha256 for artefact in release.artefacts},
        picture=picture,
    )


def make_bundle(
    wheels: Sequence[Path],
    proof: Proof,
    *,
    series: Series,
    official: Mapping[str, str] | None = None,
    picture: Path | None = None,
    now: datetime | None = None,
) -> Bundle:
    """All that goes into an index by a proof; ``wheels`` are those that it speaks of.

    ``official`` maps the release's official wheels to sha256, where the verdict does not name all
    platforms' of them. Raises NotProved, InvalidWheel.
    """
    if proof.verdict != "publish":
        return Bundle.of(wheels, proof)
    verdict = json.loads(proof.data)
    companion = make_metapackage(
        wheels, release=proof.release, revision=verdict["revision"], series=verdict["series"]
    )
    beside = statements(
        wheels, proof, official=official or {}, series=series, generated=[companion]
    )
    return Bundle.of(
        wheels, proof, picture=picture, now=now, generated=[companion], statements=beside
    )


def catalogued_wheels(workspace: Workspace, release: str) -> dict[str, str]:
    """The official wheels of a release that the catalogue knows, file name -> sha256."""
    entry = Catalogue.read(workspace.catalogue).get(Version(release))
    return {a.filename: a.sha256 for a in entry.official} if entry else {}


@dataclass(frozen=True)
class Bundle:
    """What is published together: all wheels of a proof, and what was made from it.

    ``candidates`` are the proved wheels, those that pin others first, ``generated`` the others.
    ``picture`` is an SVG, if it exists.
    """

    candidates: tuple[StagedWheel, ...]
    proof: Proof
    picture: Path | None = None
    generated: tuple[StagedWheel, ...] = ()

    @classmethod
    def of(
        cls,
        wheels: Sequence[Path],
        proof: Proof,
        *,
        picture: Path | None = None,
        now: datetime | None = None,
        generated: Sequence[Generated] = (),
        statements: Mapping[str, bytes] | None = None,
        accepted: str = "publish",
    ) -> Bundle:
        """Check ``wheels`` and that ``proof`` speaks of all of them, and of no other.

        ``generated`` wheels are published with them; ``statements`` maps names of either to what
        is to stand beside the wheel. ``now`` (with a time zone) is the upload time of those that
        the index does not have yet, ``accepted`` the verdict that lets them in.
        Raises NotProved, InvalidWheel.
        """
        moment = timestamp(now)
        digest = sha256(proof.data)
        candidates = [stage_wheel(wheel, moment, digest) for wheel in wheels]
        require_proof(candidates, proof, accepted)
        made = [stage_generated(one, moment, digest) for one in generated]
        statements = statements or {}
        known = {c.entry.filename for c in (*candidates, *made)}
        if unknown := sorted(statements.keys() - known):
            raise InvalidWheel(
                f"there is a statement on {', '.join(unknown)}, and no such wheel",
                next_step="give the wheel too, or drop the statement",
            )
        sealed = [_sealed(c, statements) for c in _pinning_first(candidates)]
        return cls(tuple(sealed), proof, picture, tuple(_sealed(c, statements) for c in made))

    @property
    def everything(self) -> tuple[StagedWheel, ...]:
        """All wheels, in the order in which they should appear."""
        return self.candidates + self.generated


def _sealed(candidate: StagedWheel, statements: Mapping[str, bytes]) -> StagedWheel:
    statement = statements.get(candidate.entry.filename)
    return candidate if statement is None else candidate.stated(statement)


def _pinning_first(candidates: Sequence[StagedWheel]) -> list[StagedWheel]:
    """In the order in which a client may see them one by one.

    A wheel that pins its partner cannot be taken without it; a wheel that is pinned could be
    taken with a partner from elsewhere, so it must not be seen before ours.
    """
    projects = [c.entry.project for c in candidates]
    pinned = {p: sum(p in c.requires for c in candidates) for p in projects}
    return sorted(candidates, key=lambda c: pinned[c.entry.project])


def require_proof(
    candidates: Sequence[StagedWheel], verdict: Claim, accepted: str = "publish"
) -> None:
    """Raise NotProved unless ``verdict`` lets exactly these files be published, all of them."""
    if verdict.verdict != accepted:
        raise NotProved(
            f"the verdict on {verdict.release} is {verdict.verdict}: {verdict.reason}",
            next_step=f"only wheels with the verdict `{accepted}` go into an index",
        )
    given = {c.entry.filename: c.entry.sha256 for c in candidates}
    unproved = sorted(name for name in given if given[name] != verdict.wheels.get(name))
    if unproved:
        raise NotProved(
            f"the verdict on {verdict.release} does not speak of these bytes: "
            + ", ".join(unproved),
            next_step="prove these very files, then publish them",
        )
    if absent := sorted(verdict.wheels.keys() - given.keys()):
        raise NotProved(
            f"the wheels were proved together, and {', '.join(absent)} is not among those given",
            next_step="publish every wheel that the verdict names",
        )
