"""What became of a release is remembered whole, or not at all."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from making import AGENTS, PLUGIN, Index, engine_patch, make_wheel, write_series
from packaging.tags import sys_tags
from publishing import make_pair, proof_of
from standing_in import replace_proof

import release as release_verb
from toolkit.cli import REPOSITORY_VARIABLE
from toolkit.environments.pair import WheelPair
from toolkit.environments.platforms import fitting
from toolkit.proof.prove import ProofSettings
from toolkit.proof.store import Loss, VerdictStore, VerdictSummary
from toolkit.proof.verdict import Proof, Verdict
from toolkit.releases.catalogue import Row
from toolkit.upstream_tests.result import Source, UpstreamResult
from toolkit.util.errors import EnvironmentUnresolvable, PatchConflict
from toolkit.util.workspace import CACHE_VARIABLE, Workspace

SOURCE = Source("livekit-agents@1.8.9", "c0" * 20, "1.8.9", 0, {}, {})
RAN = UpstreamResult("1.8.9", "passed", "7 tests pass on both sides", SOURCE, "the plugin's", 7)
FAILED = UpstreamResult.not_run("1.8.9", "no test passes on the official wheels", SOURCE)
SILENT = UpstreamResult.not_run("1.8.9", "nobody answered")


@pytest.fixture
def judged(tmp_path: Path) -> tuple[VerdictSummary, Proof]:
    verdict = proof_of(make_pair(tmp_path / "w", "+dispatched.1"))
    return VerdictSummary.of(verdict), Proof.of(verdict)


def test_a_verdict_comes_back(tmp_path: Path, judged: tuple[VerdictSummary, Proof]) -> None:
    short, proof = judged
    outcomes = VerdictStore(tmp_path / "o")
    assert outcomes.read("key") is None
    outcomes.write("key", short, proof)
    assert outcomes.read("key") == short
    assert outcomes.proof("key", short) == proof


def test_a_conflict_comes_back(tmp_path: Path) -> None:
    outcomes = VerdictStore(tmp_path / "o")
    outcomes.write("key", PatchConflict("does not fit", next_step="refresh"))
    found = outcomes.read("key")
    assert isinstance(found, PatchConflict)
    assert (found.problem, found.next_step) == ("does not fit", "refresh")


def test_damage_is_as_if_nothing_were_known(
    tmp_path: Path, judged: tuple[VerdictSummary, Proof]
) -> None:
    short, proof = judged
    outcomes = VerdictStore(tmp_path / "o")
    outcomes.write("key", short, proof)
    (tmp_path / "o" / "key.verdict.json").write_bytes(proof.data + b" ")
    assert outcomes.proof("key", short) is None
    document = json.loads((tmp_path / "o" / "key.json").read_text())
    changes: list[dict[str, object]] = [{"format": 1}, {"more": 1}, {"revision": "1"}, {"proof": 0}]
    for change in changes:
        (tmp_path / "o" / "key.json").write_text(json.dumps({**document, **change}))
        assert outcomes.read("key") is None


def test_what_may_change_is_for_the_eye_only(
    tmp_path: Path, judged: tuple[VerdictSummary, Proof]
) -> None:
    good, proof = judged
    unsure = replace(good, verdict="inconclusive", reason="no environment")
    outcomes = VerdictStore(tmp_path / "o")
    outcomes.write("key", unsure)
    assert (outcomes.read("key"), outcomes.last("key")) == (None, unsure)
    outcomes.write("key", good, proof)
    assert (outcomes.read("key"), outcomes.last("key")) == (good, good)
    outcomes.write("key", unsure)
    assert outcomes.read("key") == good


@pytest.mark.parametrize(
    ("verdict", "upstream", "lasts"),
    [
        ("publish", "passed", True),
        ("regressed", "", True),
        ("regressed", "not run", True),
        ("regressed", "regressed", False),
        ("inconclusive", "", False),
    ],
)
def test_what_would_be_the_same_the_next_time(
    judged: tuple[VerdictSummary, Proof], verdict: str, upstream: str, lasts: bool
) -> None:
    """Our suite is deterministic; upstream's tests may be flaky, and are run again."""
    assert replace(judged[0], verdict=verdict, upstream=upstream).lasts is lasts


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
    judged: tuple[VerdictSummary, Proof],
    verdict: str,
    tier: str,
    official: Loss,
    loses: bool | None,
) -> None:
    found = replace(judged[0], verdict=verdict, tier=tier, official=official)
    assert found.loses is loses


def test_only_the_recorded_revision_fits(judged: tuple[VerdictSummary, Proof]) -> None:
    short, _ = judged
    assert list(short.row.wheels) == ["livekit_agents-1.8.9+dispatched.1-py3-none-any.whl"]
    assert short.fits(None)
    assert short.fits(Row(1, "another series with these bytes", short.row.wheels))
    assert not short.fits(Row(2, short.series, short.row.wheels))
    assert not short.fits(Row(1, short.series, {}))


def test_no_wheel_for_this_machine() -> None:
    pure = [Path("a-1-py3-none-any.whl"), Path("b-1-py3-none-any.whl")]
    assert fitting(pure) == pure
    with pytest.raises(EnvironmentUnresolvable, match="a has no wheel for this machine"):
        fitting([Path("a-1-cp310-abi3-plan9_mips.whl"), pure[1]])


def test_the_best_wheel_of_a_set() -> None:
    first, *_, last = (tag for tag in sys_tags() if tag.platform != "any")
    wheels = [Path(f"a-1-{tag}.whl") for tag in (last, "cp310-abi3-plan9_mips", first)]
    assert fitting(wheels) == [wheels[2]]
    # by the tags of a Python that is named, not those of the running one
    named = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert fitting(wheels, named) == [wheels[2]]


# -- upstream's own tests are a part of it --------------------------------------------------------


class Flow:
    """`release` of one release; the stand-in for the proof asks upstream as the real one does."""

    def __init__(self, workspace: Workspace, index: Path) -> None:
        self.words = ["1.8.9", "--index", str(index), "--patches", str(workspace.patches)]
        self.proved, self.says, self.verdict = 0, SILENT, "publish"
        self.known: UpstreamResult | None = None

    def prove(self, pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
        self.proved += 1
        asker = settings.upstream
        if asker and asker.asks(self.known):
            self.known = self.says
            if asker.required:
                self.known.require()
        found = proof_of(list(pair.patched), pair.release)
        return replace(found.beside(self.known) if self.known else found, verdict=self.verdict)

    def release(self, *words: str) -> tuple[int, int]:
        """The exit code, and how many proofs were asked for."""
        before = self.proved
        return release_verb.main([*self.words, *words]), self.proved - before


@pytest.fixture
def flow(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Flow:
    for name in (AGENTS, PLUGIN):
        index.add(make_wheel(tmp_path / "w", name, "1.8.9"))
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    monkeypatch.delenv(REPOSITORY_VARIABLE)
    made = Flow(workspace, tmp_path / "index")
    replace_proof(monkeypatch, made.prove)
    return made


def test_what_nobody_asked_upstream_is_asked_once_there_is_a_repository(flow: Flow) -> None:
    assert flow.release("--upstream", "no") == (0, 1)
    assert flow.release("--upstream", "no") == (0, 0)
    flow.says = RAN
    assert flow.release("--upstream", "a-clone") == (0, 1)
    for words in ([], ["--upstream", "a-clone"], ["--require-upstream"], ["--upstream", "no"]):
        assert flow.release(*words) == (0, 0)


def test_who_did_not_answer_is_asked_again_only_where_that_may_help(flow: Flow) -> None:
    assert flow.release() == (0, 1)
    assert flow.known == SILENT
    assert flow.release() == (0, 0)
    assert flow.release("--upstream", "a-clone") == (0, 1)
    assert flow.release("--require-upstream") == (24, 1)
    flow.says = FAILED
    assert flow.release("--upstream", "a-clone") == (0, 1)
    # a run that proves nothing is the same every time
    assert flow.release("--upstream", "a-clone") == (0, 0)
    assert flow.release("--require-upstream") == (24, 1)
    flow.says = RAN
    assert flow.release("--require-upstream") == (0, 1)
    assert flow.release("--require-upstream") == flow.release() == (0, 0)


def test_an_inconclusive_proof_is_made_again(flow: Flow) -> None:
    flow.verdict = "inconclusive"
    assert flow.release("--upstream", "no") == (18, 1)
    flow.verdict = "publish"
    assert flow.release("--upstream", "no") == (0, 1)


def test_a_regression_of_the_tier_full_stands_for_quick_too(flow: Flow) -> None:
    flow.verdict = "regressed"
    assert flow.release("--upstream", "no", "--tier", "full") == (18, 1)
    flow.verdict = "publish"
    assert flow.release("--upstream", "no") == (18, 0)
