"""Whether a release still needs the series: what its official wheels do alone."""

from __future__ import annotations

from dataclasses import replace

from toolkit.proof.prove import prove
from toolkit.proof.settings import TIERS, ProofSettings
from toolkit.proof.store import FIXED, LASTING, Loss, VerdictStore, VerdictSummary
from toolkit.proof.verdict import Proof, Verdict
from toolkit.releases.official import OfficialWheels
from toolkit.releases.release import Release
from toolkit.releases.repack import RepackedRelease
from toolkit.util.console import StepStatus, no_status
from toolkit.util.distributions import MAIN
from toolkit.util.errors import NotFixed

FULL = TIERS[-1]


def cached_unpatched(store: VerdictStore, release: Release, tier: str = FULL) -> Verdict | None:
    """Return the cached verdict of a tier on a release's official wheels alone, if there is one."""
    return store.verdict(store.key(release, "", tier))


def prove_unpatched(
    fetched: OfficialWheels,
    store: VerdictStore,
    settings: ProofSettings,
    *,
    watch: StepStatus = no_status,
) -> Verdict:
    """Return the verdict on a release's official wheels alone, in the tier of ``settings``.

    Smaller tiers run first, and decide unless they say ``fixed``; a cached verdict of a larger
    tier decides before both. New verdicts are cached.
    """
    cached = {tier: cached_unpatched(store, fetched.release, tier) for tier in TIERS}
    wanted = TIERS.index(settings.tier)
    for tier in reversed(TIERS):
        verdict = cached[tier]
        if verdict and (verdict.verdict != FIXED or TIERS.index(tier) >= wanted):
            return verdict
    # the release as it is, as if the series were empty, whether the series would fit it or not
    unpatched = RepackedRelease(fetched.release, 0, fetched.paths, fetched.paths, (), "", {})
    pair = unpatched.pair(settings.python)
    for tier in TIERS[: wanted + 1]:
        verdict = cached[tier]
        if verdict is None:
            verdict = prove(pair, replace(settings, tier=tier), watch=watch)
            cache_unpatched(store, fetched.release, verdict, tier)
        if verdict.verdict != FIXED:
            break
    assert verdict
    return verdict


def cache_unpatched(
    store: VerdictStore, release: Release, verdict: Verdict, tier: str = FULL
) -> None:
    """Cache a verdict on official wheels alone, if it is one that will not change."""
    if verdict.verdict in LASTING:
        key = store.key(release, "", tier)
        store.write(key, VerdictSummary.of(verdict), Proof.of(verdict))


def require_fixed(release: Release, verdict: Verdict | None) -> Verdict:
    """Return ``verdict`` if it shows, in the tier full, that official wheels lose no call.

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
    if (
        verdict.verdict != FIXED
        or ran is None
        or ran.tier != FULL
        or verdict.wheels != release.digests
    ):
        raise NotFixed(
            f"{label}: only `{FIXED}` in the tier {FULL} over its very wheels retires a series, "
            f"and the verdict is {verdict.verdict}: {verdict.reason}",
            next_step="remove the cause, then `nox -s retire -- --prove`",
        )
    return verdict
