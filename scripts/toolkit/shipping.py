"""What is published of a release: the proved wheels, the companion, a statement beside each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from packaging.version import Version

from .candidate import Parcel, Proof
from .catalogue import Catalogue
from .companion import companion_of
from .errors import NotProved
from .fetched import fetch_release, find_release
from .provenance import statements
from .repacking import repack_release
from .series import Series
from .strict import Malformed
from .verdict import Verdict
from .workspace import Workspace

# What `release --verdicts` calls the verdict on a release; the picture has it with .svg.
VERDICT = ".verdict.json"


def read_verdict(path: Path) -> Verdict:
    """The verdict in a file that prove.py wrote.

    Raises NotProved if there is none, or if it is not one that prove.py would write.
    """
    try:
        return Verdict.parse(path.read_text(encoding="utf-8"))
    except (OSError, Malformed, UnicodeDecodeError) as error:
        raise NotProved(
            f"{path} is no verdict: {error}", next_step="write one with prove.py --out"
        ) from error


def remade(
    verdict: Verdict, series: Series, workspace: Workspace, *, picture: Path, endpoint: str | None
) -> Parcel:
    """All that is published by a verdict, repacked here and now; nothing is proved.

    ``endpoint`` is another index than PyPI's. Raises NotProved if that gives other wheels than the
    verdict speaks of, and as :func:`.repacking.repack_release` does.
    """
    release = find_release(verdict.release, workspace, endpoint=endpoint, yanked=True)
    official = fetch_release(release, workspace, endpoint=endpoint)
    repacked = repack_release(official, series, workspace)
    if repacked.series_digest != verdict.series:
        raise NotProved(
            f"the verdict on {verdict.release} is on another series than {workspace.patches}",
            next_step="prove the release with the series as it is here",
        )
    return parcel_of(
        [*repacked.wheels, *repacked.passthrough],
        Proof.of(verdict),
        series=series,
        official={artefact.filename: artefact.sha256 for artefact in release.artefacts},
        picture=picture,
    )


def parcel_of(
    wheels: Sequence[Path],
    proof: Proof,
    *,
    series: Series,
    official: Mapping[str, str] | None = None,
    picture: Path | None = None,
    now: datetime | None = None,
) -> Parcel:
    """All that goes into an index by a proof; ``wheels`` are those that it speaks of.

    ``official`` maps the release's official wheels to sha256, where the verdict does not name all
    platforms' of them. Raises NotProved, InvalidWheel.
    """
    if proof.verdict != "publish":
        return Parcel.of(wheels, proof)
    verdict = json.loads(proof.data)
    companion = companion_of(
        wheels, release=proof.release, revision=verdict["revision"], series=verdict["series"]
    )
    beside = statements(
        wheels, proof, official=official or {}, series=series, generated=[companion]
    )
    return Parcel.of(
        wheels, proof, picture=picture, now=now, generated=[companion], statements=beside
    )


def official_of(workspace: Workspace, release: str) -> dict[str, str]:
    """The official wheels of a release that the catalogue knows, file name -> sha256."""
    entry = Catalogue.read(workspace.catalogue).get(Version(release))
    return {a.filename: a.sha256 for a in entry.official} if entry else {}
