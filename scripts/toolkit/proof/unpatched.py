"""Whether a release still needs the series: what its official wheels do alone."""

from __future__ import annotations

from collections.abc import Callable

from toolkit.proof.exploration import TIERS
from toolkit.proof.store import FIXED, LASTING, Judged, Loss, Outcomes
from toolkit.proof.verdict import Proof, Verdict
from toolkit.releases.official import Fetched
from toolkit.releases.release import Release
from toolkit.releases.repack import RepackedRelease
from toolkit.util.errors import NotFixed
from toolkit.util.names import MAIN
from toolkit.util.strict_json import Malformed


def unpatched(fetched: Fetched) -> RepackedRelease:
    """A release as it is, as if the series were empty: what its official wheels do alone.

    The verdict on it is ``fixed`` if they lose no call, whether the series would fit them or not.
    """
    return RepackedRelease(fetched.release, 0, fetched.paths, fetched.paths, (), "", {})


FULL = TIERS[-1]


def remembered(outcomes: Outcomes, release: Release, tier: str = FULL) -> Verdict | None:
    """The verdict of a tier on a release's official wheels alone, judged again, if there is one."""
    key = outcomes.key(release, "", tier)
    known = outcomes.read(key)
    proof = outcomes.proof(key, known) if isinstance(known, Judged) else None
    try:
        return Verdict.parse(proof.data.decode()) if proof else None
    except (Malformed, UnicodeDecodeError):
        return None


def alone(
    fetched: Fetched, outcomes: Outcomes, judge: Callable[..., Verdict], tier: str = FULL
) -> Verdict:
    """The verdict of ``tier`` on a release's official wheels alone, or of a smaller one that is
    not ``fixed`` already; a larger one that is remembered decides before both.

    It is remembered. Otherwise ``judge`` makes it of a release with nothing repacked, and a tier.
    """

    def judged(tier: str) -> Verdict:
        verdict: Verdict = judge(unpatched(fetched), tier=tier)
        remember(outcomes, fetched.release, verdict, tier)
        return verdict

    asked = TIERS.index(tier)
    known = {one: remembered(outcomes, fetched.release, one) for one in TIERS}
    for one in reversed(TIERS):
        if (found := known[one]) and (found.verdict != FIXED or TIERS.index(one) >= asked):
            return found
    for one in TIERS[: asked + 1]:
        verdict = known[one] or judged(one)
        if verdict.verdict != FIXED:
            break
    return verdict


def remember(outcomes: Outcomes, release: Release, verdict: Verdict, tier: str = FULL) -> None:
    """Let :func:`remembered` know a verdict, if it is one that will not change."""
    if verdict.verdict in LASTING:
        key = outcomes.key(release, "", tier)
        outcomes.write(key, Judged.of(verdict), Proof.of(verdict))


def require_fixed(release: Release, verdict: Verdict | None) -> Verdict:
    """``verdict``, if it shows by the tier full that a release's official wheels lose no call.

    Raises NotFixed.
    """
    label = f"{MAIN} {release.version}"
    if verdict is None:
        raise NotFixed(
            f"{label} is not proved to lose no call, by today's tests in the tier {FULL}",
            next_step="`nox -s retire -- --prove` proves it first, which can take hours",
        )
    ran = verdict.exploration
    if verdict.official.lost or (ran and ran.loses):
        loss = Loss.of(verdict.official, ran.official if ran else None)
        raise NotFixed(
            f"{label} still loses calls: {loss}",
            next_step="go on patching it; what became of pull requests is no reason to stop",
        )
    wheels = {artefact.filename: artefact.sha256 for artefact in release.artefacts}
    if verdict.verdict != FIXED or ran is None or ran.tier != FULL or verdict.wheels != wheels:
        raise NotFixed(
            f"{label}: only `{FIXED}` in the tier {FULL} over its very wheels retires a series, "
            f"and the verdict is {verdict.verdict}: {verdict.reason}",
            next_step="remove the cause, then `nox -s retire -- --prove`",
        )
    return verdict
