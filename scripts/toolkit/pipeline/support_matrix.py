"""The support matrix: what this machine and the index know of each release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.patches.series import Series
from toolkit.pipeline.ci_matrix import pythons_of
from toolkit.proof.settings import TIERS
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
    verdicts: VerdictStore
    index: Path

    def status(self, entry: Entry) -> ReleaseStatus:
        """Return what is known of a release of the catalogue."""
        name, row = str(entry.version), entry.row
        # the verdict under today's patches and tests, or why there is none
        verdict, reason = "unknown", f"not proved on this machine: nox -s release -- {name}"
        pythons: tuple[str, ...] = ()
        variants, current, unpatched = {}, None, None
        try:
            pythons = pythons_of(entry.release)
            unpatched = self._unpatched(entry)
            variants = {p.name: str(since) for p, since in self.series.chosen(entry.version)}
            current = self._current(entry, unpatched)
        except PatchConflict as error:
            verdict, reason = "conflict", error.problem
        except UnknownRelease as error:
            reason = error.problem
        is_current = current is not None or verdict == "conflict"
        # else the published one, and for the losses that of the official wheels alone
        summary = current or self._published(entry)
        losses = summary or unpatched
        loses = losses.loses if losses else None
        if verdict == "unknown" and summary:
            verdict, reason = summary.verdict, summary.reason
        elif verdict == "unknown" and row:
            # recorded after a verdict that is not at hand
            verdict, reason, loses = "publish", "", True
        if verdict == FIXED and loses is None:
            reason = f"the tier {FULL} decides: nox -s release -- {name} --tier {FULL}"
        return ReleaseStatus(
            release=name,
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
            revision=row.revision if row else None,
            wheels=dict(row.wheels) if row else {},
        )

    def _unpatched(self, entry: Entry) -> VerdictSummary | None:
        """Return the verdict on the official wheels alone; the larger tier decides."""
        for tier in reversed(TIERS):
            summary = self.verdicts.read(self.verdicts.key(entry.release, "", tier))
            if isinstance(summary, VerdictSummary):
                return summary
        return None

    def _current(self, entry: Entry, unpatched: VerdictSummary | None) -> VerdictSummary | None:
        """Return the verdict on this machine under today's patches and tests.

        The larger tier decides, `fixed` without patches before any verdict with them, and a
        lasting verdict before one that may change. Raises PatchConflict.
        """
        series = self.series.digest(entry.version)
        temporary, conflict = None, None
        for tier in reversed(TIERS):
            if unpatched and (unpatched.verdict, unpatched.tier) == (FIXED, tier):
                return unpatched
            cached = self.verdicts.last(self.verdicts.key(entry.release, series, tier))
            if isinstance(cached, PatchConflict):
                conflict = cached
            elif cached and cached.fits(entry.row):
                disproved = unpatched and unpatched.loses and cached.verdict == FIXED
                if cached.lasts and not disproved:
                    return cached
                if not cached.lasts:
                    temporary = temporary or cached
        if conflict:
            raise conflict
        return temporary

    def _published(self, entry: Entry) -> VerdictSummary | None:
        """Return the index's verdict: on the recorded wheels, or the one that ended the series."""
        local = f"+{self.series.name}.{entry.row.revision}" if entry.row else ""
        try:
            path = self.index / "verdicts" / f"{entry.version}{local}.json"
            verdict = Verdict.parse(path.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        summary = VerdictSummary.of(verdict)
        if entry.row:
            return summary if summary.fits(entry.row) else None
        official = {artefact.filename: artefact.sha256 for artefact in entry.official}
        return summary if (summary.verdict, dict(verdict.wheels)) == (FIXED, official) else None
