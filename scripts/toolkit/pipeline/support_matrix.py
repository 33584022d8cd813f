"""The support matrix: what is known of a release, on this machine and in the index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.patches.series import Series
from toolkit.pipeline.pythons import pythons_of
from toolkit.proof.exploration import TIERS
from toolkit.proof.store import FIXED, Judged, Outcomes
from toolkit.proof.unpatched import FULL
from toolkit.proof.verdict import Verdict
from toolkit.releases.catalogue import Entry
from toolkit.util.errors import PatchConflict, UnknownRelease


@dataclass(frozen=True)
class Line:
    """What is known of a release. ``variants`` maps ideas to the releases that began them.

    ``loses``: whether the official one loses calls (None: not decided). ``verdict`` is "unknown"
    if there is none, and ``current`` says that it rests on today's patches and tests.
    """

    release: str
    uploaded: str
    partner: str
    yanked: str | None
    gone: bool
    pythons: tuple[str, ...]
    variants: Mapping[str, str]
    loses: bool | None
    official: str
    patched: str
    verdict: str
    current: bool
    reason: str
    revision: int | None
    wheels: Mapping[str, str]


@dataclass(frozen=True)
class Lookup:
    """Where verdicts are looked for."""

    series: Series
    outcomes: Outcomes
    index: Path

    def line(self, entry: Entry) -> Line:
        """The matrix's line for a release of the catalogue."""
        verdict, variants, judged, alone = "unknown", {}, None, None
        pythons: tuple[str, ...] = ()
        reason = f"not proved on this machine: nox -s release -- {entry.version}"
        try:
            pythons = pythons_of(entry.release)
            alone = self.alone(entry)
            variants = {p.name: str(since) for p, since in self.series.chosen(entry.version)}
            judged = self.judged(entry, alone)
        except PatchConflict as error:
            verdict, reason = "conflict", error.problem
        except UnknownRelease as error:
            reason = error.problem
        current = judged is not None or verdict == "conflict"
        judged = judged or self.published(entry)
        said = judged or alone
        loses = said.loses if said else None
        if judged and verdict == "unknown":
            verdict, reason = judged.claim.verdict, judged.claim.reason
        elif entry.row and verdict == "unknown":
            # recorded after a verdict that is not at hand
            verdict, reason, loses = "publish", "", True
        if verdict == FIXED and loses is None:
            reason = f"the tier {FULL} decides: nox -s release -- {entry.version} --tier {FULL}"
        return Line(
            release=str(entry.version),
            uploaded=f"{max(a.upload_time for a in entry.official):%Y-%m-%d}",
            partner=entry.partner,
            yanked=entry.yanked,
            gone=entry.gone,
            pythons=pythons,
            variants=variants,
            loses=loses,
            official=str(said.official) if said else "",
            patched=str(judged.patched) if judged else "",
            verdict=verdict,
            current=current,
            reason=reason,
            revision=entry.row.revision if entry.row else None,
            wheels=dict(entry.row.wheels) if entry.row else {},
        )

    def alone(self, entry: Entry) -> Judged | None:
        """What the official wheels alone do under today's tests; the tier full decides."""
        for tier in reversed(TIERS):
            found = self.outcomes.read(self.outcomes.key(entry.release, "", tier))
            if isinstance(found, Judged):
                return found
        return None

    def judged(self, entry: Entry, alone: Judged | None) -> Judged | None:
        """What this machine knows of the release under today's patches and tests.

        The tier full decides before quick, official wheels that may need no series before patched
        ones, and what will stay before what was inconclusive. Raises PatchConflict.
        """
        series = self.series.digest(entry.version)
        passing, conflict = None, None
        for tier in reversed(TIERS):
            if alone and (alone.claim.verdict, alone.tier) == (FIXED, tier):
                return alone
            found = self.outcomes.last(self.outcomes.key(entry.release, series, tier))
            if isinstance(found, PatchConflict):
                conflict = found
            elif found and found.fits(entry.row):
                outweighed = alone and alone.loses and found.claim.verdict == FIXED
                if found.lasts and not outweighed:
                    return found
                passing = passing or (None if found.lasts else found)
        if conflict:
            raise conflict
        return passing

    def published(self, entry: Entry) -> Judged | None:
        """The verdict in the index: on the recorded wheels, or by which the series was retired."""
        local = f"+{self.series.name}.{entry.row.revision}" if entry.row else ""
        try:
            path = self.index / "verdicts" / f"{entry.version}{local}.json"
            verdict = Verdict.parse(path.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        found = Judged.of(verdict)
        if entry.row:
            return found if found.fits(entry.row) else None
        official = {artefact.filename: artefact.sha256 for artefact in entry.official}
        return found if (verdict.verdict, dict(verdict.wheels)) == (FIXED, official) else None
