"""Bundles: what is published of a release together, by one verdict."""

from __future__ import annotations

import json
from collections import Counter
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
from toolkit.proof.verdict import Claim, Proof, Verdict, read_verdict
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.official import Settings
from toolkit.releases.repack import repack_release
from toolkit.util.errors import NotProved
from toolkit.util.files import sha256
from toolkit.util.workspace import Workspace

# What `release --verdicts` calls the verdict on a release; the picture has it with .svg.
VERDICT = ".verdict.json"


@dataclass(frozen=True)
class Bundle:
    """All wheels that are published by a proof, in the order in which clients may see them.

    First the proved wheels, those that pin others before those that are pinned, then the
    metapackage. ``picture`` is where an SVG is, if there is one.
    """

    wheels: tuple[StagedWheel, ...]
    proof: Proof
    picture: Path | None = None

    @classmethod
    def of(
        cls,
        paths: Sequence[Path],
        proof: Proof,
        *,
        generated: Sequence[Generated] = (),
        statements: Mapping[str, bytes] | None = None,
        picture: Path | None = None,
        now: datetime | None = None,
        accepted: str = "publish",
    ) -> Bundle:
        """Check the wheels at ``paths``, and that ``proof`` speaks of all of them and no other.

        ``statements`` maps file names to what is published beside them. ``now`` (with a time
        zone) is the upload time, ``accepted`` the verdict that lets wheels in.
        Raises NotProved, InvalidWheel.
        """
        moment, digest = timestamp(now), sha256(proof.data)
        proved = [stage_wheel(path, moment, digest) for path in paths]
        _require_proof(proved, proof, accepted)
        made = [stage_generated(wheel, moment, digest) for wheel in generated]
        texts = statements or {}
        wheels = (
            wheel.with_statement(texts.get(wheel.entry.filename))
            for wheel in (*_pinning_first(proved), *made)
        )
        return cls(tuple(wheels), proof, picture)


def make_bundle(
    paths: Sequence[Path],
    proof: Proof,
    *,
    series: Series,
    official: Mapping[str, str] | None = None,
    picture: Path | None = None,
    now: datetime | None = None,
) -> Bundle:
    """Make the bundle of the wheels at ``paths``, of which ``proof`` speaks.

    ``official`` maps the release's official wheels to sha256, where the verdict does not name all
    platforms' of them. Raises NotProved, InvalidWheel.
    """
    if proof.verdict != "publish":
        return Bundle.of(paths, proof)  # which refuses it, whatever else the verdict lacks
    verdict = json.loads(proof.data)
    metapackage = make_metapackage(
        paths, release=proof.release, revision=verdict["revision"], series=verdict["series"]
    )
    texts = statements(
        paths, proof, official=official or {}, series=series, generated=[metapackage]
    )
    return Bundle.of(
        paths, proof, generated=[metapackage], statements=texts, picture=picture, now=now
    )


def remake_bundle(
    verdict: Verdict, series: Series, workspace: Workspace, *, picture: Path, endpoint: str | None
) -> Bundle:
    """Repack the release of a verdict and make its bundle; nothing is proved.

    ``endpoint`` is another index than PyPI's. Raises NotProved if that gives other wheels than
    those of the verdict, and as :func:`toolkit.releases.repack.repack_release` does.
    """
    settings = Settings(workspace, pypi=endpoint, yanked=True)
    official = settings.fetch(verdict.release, quiet=True)
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
        official=official.release.digests,
        picture=picture,
    )


def read_bundle(paths: Sequence[Path], verdict: Path, workspace: Workspace) -> Bundle:
    """Make the bundle of the wheels at ``paths`` by the verdict in a file that prove.py wrote.

    Raises NotProved, InvalidWheel.
    """
    proof = Proof.of(read_verdict(verdict))
    entry = Catalogue.read(workspace.catalogue).get(Version(proof.release))
    return make_bundle(
        paths,
        proof,
        series=Series.load(workspace.patches),
        official={a.filename: a.sha256 for a in entry.official} if entry else {},
        picture=verdict.with_suffix(".svg"),
    )


def _pinning_first(wheels: Sequence[StagedWheel]) -> list[StagedWheel]:
    """Sort wheels into the order in which a client may see them one by one.

    A wheel that pins its partner cannot be installed without it. A pinned wheel could be
    installed with a partner from elsewhere, so it must not be seen before the one that pins it.
    """
    projects = [wheel.entry.project for wheel in wheels]
    pinned = {project: sum(project in wheel.requires for wheel in wheels) for project in projects}
    return sorted(wheels, key=lambda wheel: pinned[wheel.entry.project])


def _require_proof(wheels: Sequence[StagedWheel], claim: Claim, accepted: str) -> None:
    """Raise NotProved unless ``claim`` lets exactly these wheels be published, all of them."""
    if claim.verdict != accepted:
        raise NotProved(
            f"the verdict on {claim.release} is {claim.verdict}: {claim.reason}",
            next_step=f"only wheels with the verdict `{accepted}` go into an index",
        )
    given = {wheel.entry.filename: wheel.entry.sha256 for wheel in wheels}
    names = Counter(wheel.entry.filename for wheel in wheels)
    if twice := sorted(name for name in names if names[name] > 1):
        raise NotProved(
            f"given more than once: {', '.join(twice)}", next_step="name each wheel once"
        )
    unproved = sorted(name for name in given if given[name] != claim.wheels.get(name))
    if unproved:
        raise NotProved(
            f"the verdict on {claim.release} does not speak of these bytes: " + ", ".join(unproved),
            next_step="prove these very files, then publish them",
        )
    if absent := sorted(claim.wheels.keys() - given.keys()):
        raise NotProved(
            f"the wheels were proved together, and {', '.join(absent)} is not among those given",
            next_step="publish every wheel that the verdict names",
        )
