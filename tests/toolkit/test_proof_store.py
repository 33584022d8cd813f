"""The verdict store: what is stored whole, what counts the next time, and what runs again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from publishing import make_pair, proof_of
from series import engine_patch, write_series
from standing_in import replace_proof
from upstream_index import Upstream

from toolkit.cli import REPOSITORY_VARIABLE
from toolkit.environments.pair import WheelPair
from toolkit.proof.settings import ProofSettings
from toolkit.proof.store import Loss, VerdictStore, VerdictSummary
from toolkit.proof.verdict import Proof, Verdict
from toolkit.releases.catalogue import Row
from toolkit.upstream_tests.result import Source, UpstreamResult
from toolkit.util.errors import PatchConflict

SOURCE = Source("livekit-agents@1.8.9", "c0" * 20, "1.8.9", 0, {}, {})
RAN = UpstreamResult("1.8.9", "passed", "7 tests pass on both sides", SOURCE, "the plugin's", 7)
FAILED = UpstreamResult.not_run("1.8.9", "no test passes on the official wheels", SOURCE)
SILENT = UpstreamResult.not_run("1.8.9", "nobody answered")


@pytest.fixture
def proof(tmp_path: Path) -> Proof:
    return Proof.of(proof_of(make_pair(tmp_path / "w", "+dispatched.1")))


@pytest.fixture
def summary(proof: Proof) -> VerdictSummary:
    return VerdictSummary.of(Verdict.parse(proof.data.decode()))


@pytest.fixture
def store(tmp_path: Path) -> VerdictStore:
    return VerdictStore(tmp_path / "o")


def test_a_verdict_is_stored_and_damage_is_a_miss(
    store: VerdictStore, summary: VerdictSummary, proof: Proof
) -> None:
    assert store.read("key") is None
    store.write("key", summary, proof)
    assert store.read("key") == summary
    assert store.proof("key", summary) == proof
    (store.root / "key.verdict.json").write_bytes(proof.data + b" ")
    assert store.proof("key", summary) is None
    document = json.loads((store.root / "key.json").read_text())
    for change in ({"format": 1}, {"more": 1}, {"revision": "1"}, {"proof": 0}):
        (store.root / "key.json").write_text(json.dumps({**document, **change}))
        assert store.read("key") is None
    for text in ("", "[]", "1", "null"):
        (store.root / "key.json").write_text(text)
        assert store.read("key") is None


def test_a_conflict_is_stored(store: VerdictStore) -> None:
    store.write("key", PatchConflict("does not fit", next_step="refresh"))
    conflict = store.read("key")
    assert isinstance(conflict, PatchConflict)
    assert (conflict.problem, conflict.next_step) == ("does not fit", "refresh")


def test_what_may_change_is_only_shown(
    store: VerdictStore, summary: VerdictSummary, proof: Proof
) -> None:
    unsure = replace(summary, verdict="inconclusive", reason="no environment")
    store.write("key", unsure)
    assert (store.read("key"), store.last("key")) == (None, unsure)
    store.write("key", summary, proof)
    store.write("key", unsure)
    assert (store.read("key"), store.last("key")) == (summary, summary)


@pytest.mark.parametrize(
    ("verdict", "upstream", "lasts"),
    [
        ("publish", "passed", True),
        ("regressed", "", True),
        ("regressed", "not run", True),
        # our suite is deterministic; upstream's tests may be flaky, and run again
        ("regressed", "regressed", False),
        ("inconclusive", "", False),
    ],
)
def test_what_would_be_the_same_the_next_time(
    summary: VerdictSummary, verdict: str, upstream: str, lasts: bool
) -> None:
    assert replace(summary, verdict=verdict, upstream=upstream).lasts is lasts


@pytest.mark.parametrize(
    ("verdict", "tier", "official", "loses"),
    [
        ("publish", "quick", Loss(1, 2), True),
        ("regressed", "quick", Loss(0, 2, 3, 9), True),
        ("regressed", "full", Loss(0, 2, 0, 9), None),
        ("inconclusive", "full", Loss(0, 0), None),
        ("fixed", "quick", Loss(0, 2, 0, 9), None),
        ("fixed", "full", Loss(0, 2, 0, 9), False),
    ],
)
def test_whether_official_wheels_lose_calls(
    summary: VerdictSummary, verdict: str, tier: str, official: Loss, loses: bool | None
) -> None:
    assert replace(summary, verdict=verdict, tier=tier, official=official).loses is loses


def test_only_the_recorded_revision_fits(summary: VerdictSummary) -> None:
    assert list(summary.row.wheels) == ["livekit_agents-1.8.9+dispatched.1-py3-none-any.whl"]
    assert summary.fits(None)
    assert not replace(summary, revision=2).fits(None)
    assert summary.fits(Row(1, "another series with these bytes", summary.row.wheels))
    assert not summary.fits(Row(2, summary.series, summary.row.wheels))
    assert not summary.fits(Row(1, summary.series, {}))


# what upstream's tests say from now on, the options of `release`, its exit code, how many proofs
Step = tuple[UpstreamResult, Sequence[str], int, int]
CLONE, REQUIRED = ("--upstream", "a-clone"), ("--require-upstream",)
NOBODY = ("--upstream", "no")
STEPS: dict[str, list[Step]] = {
    "a result is made once there is a repository": [
        (SILENT, NOBODY, 0, 1),
        (SILENT, NOBODY, 0, 0),
        (RAN, CLONE, 0, 1),
        *[(RAN, words, 0, 0) for words in ((), CLONE, REQUIRED, NOBODY)],
    ],
    "an unreachable repository is asked again where that may help": [
        (SILENT, (), 0, 1),
        (SILENT, (), 0, 0),
        (SILENT, CLONE, 0, 1),
        (SILENT, REQUIRED, 24, 1),
        (FAILED, CLONE, 0, 1),
        # a run that proves nothing is the same every time
        (FAILED, CLONE, 0, 0),
        (FAILED, REQUIRED, 24, 1),
        (RAN, REQUIRED, 0, 1),
        (RAN, REQUIRED, 0, 0),
        (RAN, (), 0, 0),
    ],
}


class Prover:
    """A stand-in for the proof, which runs upstream's tests as the real one does."""

    def __init__(self) -> None:
        self.proofs, self.verdict = 0, "publish"
        self.result: UpstreamResult | None = None
        self.says = SILENT

    def prove(self, pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
        self.proofs += 1
        tests = settings.upstream
        if tests and tests.asks(self.result):
            self.result = self.says
            if tests.required:
                self.result.require()
        proof = proof_of(list(pair.patched), pair.release)
        return replace(proof.beside(self.result) if self.result else proof, verdict=self.verdict)


@pytest.fixture
def prover(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Prover:
    upstream.upload("1.8.9")
    write_series(upstream.workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    monkeypatch.delenv(REPOSITORY_VARIABLE)
    prover = Prover()
    replace_proof(monkeypatch, prover.prove)
    return prover


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_when_upstreams_tests_run_again(
    steps: list[Step], prover: Prover, upstream: Upstream
) -> None:
    for prover.says, words, code, proofs in steps:
        before = prover.proofs
        upstream.run("release", "1.8.9", "--index", upstream.folder / "i", *words, code=code)
        assert prover.proofs - before == proofs, words


@pytest.mark.parametrize(
    ("first", "words", "code", "proofs"),
    [
        ("inconclusive", (), 0, 1),
        # a regression of the tier full stands for quick too
        ("regressed", ("--tier", "full"), 18, 0),
    ],
)
def test_which_verdicts_are_made_again(
    first: str,
    words: Sequence[str],
    code: int,
    proofs: int,
    prover: Prover,
    upstream: Upstream,
) -> None:
    line = ("release", "1.8.9", "--index", upstream.folder / "i", *NOBODY)
    prover.verdict = first
    upstream.run(*line, *words, code=18)
    prover.verdict = "publish"
    upstream.run(*line, code=code)
    assert prover.proofs == 1 + proofs
