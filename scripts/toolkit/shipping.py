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
from .provenance import statements
from .series import Series
from .workspace import Workspace


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
