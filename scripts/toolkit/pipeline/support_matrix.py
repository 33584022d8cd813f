"""The support matrix: what this machine and the index know of each release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.patches.series import Series
from toolkit.pipeline.ci_matrix import pythons_of
from toolkit.proof.exploration import TIERS
from toolkit.proof.store import FIXED, VerdictStore, VerdictSummary
from toolkit.proof.unpatched import FULL
from toolkit.proof.verdict import Verdict
from toolkit.releases.catalogue import Entry
from toolkit.util.errors import PatchConflict, UnknownRelease


@dataclass(frozen=True)
class ReleaseStatus:
    """What is known of a release; its fields are keys of `status --json`.

    ``variants`` maps each patch to the release that its variant is named after. ``loses`` says
    whether the official wheels lose calls (None: not decided). ``verdict`` is "unknown" without
    one; ``current`` says that it rests on today's patches and tests.
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
class SupportMatrix:
    """Looks up verdicts on this machine, and below ``index`` those that were published."""

    series: Series
    outcomes: VerdictStore
    index: Path

    def status(self, entry: Entry) -> ReleaseStatus:
        """Return what is known of a release of the catalogue."""
        # the verdict under today's patches and tests, or why there is none
        verdict, reason = (
            "unknown",
            f"not proved on this machine: nox -s release -- {entry.version}",
        )
        pythons: tuple[str, ...] = ()
        variants, current, unpatched = {}, None, None
        try:
            pythons = pythons_of(entry.release)
            unpatched = self.alone(entry)
            variants = {p.name: str(since) for p, since in self.series.chosen(entry.version)}
            current = self.judged(entry, unpatched)
        except PatchConflict as error:
            verdict, reason = "conflict", error.problem
        except UnknownRelease as error:
            reason = error.problem
        # else the published one, and for the losses that of the official wheels alone
        summary = current or self.published(entry)
        losses = summary or unpatched
        loses = losses.loses if losses else None
        is_current = current is not None or verdict == "conflict"
        if verdict == "unknown" and summary:
            verdict, reason = summary.verdict, summary.reason
        elif verdict == "unknown" and entry.row:
            # recorded after a verdict that is not at hand
            verdict, reason, loses = "publish", "", True
        if verdict == FIXED and loses is None:
            reason = f"the tier {FULL} decides: nox -s release -- {entry.version} --tier {FULL}"
        return ReleaseStatus(
            release=str(entry.version),
            uploaded=f"{max(a.upload_time for a in entry.official):%Y-%m-%d}",
            partner=entry.partner,
            yanked=entry.yanked,
            gone=entry.gone,
            pythons=pythons,
            variants=variants,
            loses=loses,
            official=str(losses.official) if losses else "",
            patched=str(summary.patched) if summary else "",
            verdict=verdict,
            current=is_current,
            reason=reason,
            revision=entry.row.revision if entry.row else None,
            wheels=dict(entry.row.wheels) if entry.row else {},
        )

    def alone(self, entry: Entry) -> VerdictSummary | None:
        """What the official wheels alone do under today's tests; the tier full decides."""
        for tier in reversed(TIERS):
            found = self.outcomes.read(self.outcomes.key(entry.release, "", tier))
            if isinstance(found, VerdictSummary):
                return found
        return None

    def judged(self, entry: Entry, alone: VerdictSummary | None) -> VerdictSummary | None:
        """What this machine knows of the release under today's patches and tests.

        The tier full decides before quick, official wheels that may need no series before patched
        ones, and what will stay before what was inconclusive. Raises PatchConflict.
        """
        series = self.series.digest(entry.version)
        passing, conflict = None, None
        for tier in reversed(TIERS):
            if alone and (alone.verdict, alone.tier) == (FIXED, tier):
                return alone
            found = self.outcomes.last(self.outcomes.key(entry.release, series, tier))
            if isinstance(found, PatchConflict):
                conflict = found
            elif found and found.fits(entry.row):
                outweighed = alone and alone.loses and found.verdict == FIXED
                if found.lasts and not outweighed:
                    return found
                passing = passing or (None if found.lasts else found)
        if conflict:
            raise conflict
        return passing

    def published(self, entry: Entry) -> VerdictSummary | None:
        """The verdict in the index: on the recorded wheels, or by which the series was retired."""
        local = f"+{self.series.name}.{entry.row.revision}" if entry.row else ""
        try:
            path = self.index / "verdicts" / f"{entry.version}{local}.json"
            verdict = Verdict.parse(path.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        found = VerdictSummary.of(verdict)
        if entry.row:
            return found if found.fits(entry.row) else None
        official = {artefact.filename: artefact.sha256 for artefact in entry.official}
        return found if (verdict.verdict, dict(verdict.wheels)) == (FIXED, official) else None
