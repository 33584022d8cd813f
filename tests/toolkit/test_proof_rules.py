"""The rules that turn the tests and the schedules of both sides into a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from publishing import explored, findings, outcome, probe, run_of, subject_of

from toolkit.proof.exploration import Exploration, Explored, Findings, Level, Violation
from toolkit.proof.race_suite import Outcome, SuiteRun
from toolkit.proof.rules import Compared, judge
from toolkit.proof.verdict import Verdict
from toolkit.upstream_tests.result import UpstreamResult

# What a test proves, by the first letter of its name; the losses and agreements are documented.
CHECKS = {"loss": "loses-calls", "call": "loses-calls", "agrees": "agreement"}
DOCUMENTED = ("loss", "agrees")
GOOD = {"loss": "failed passed", "wire": "passed passed"}
UPSTREAM_RESULTS = (
    None,
    UpstreamResult("1", "passed", "fine"),
    UpstreamResult("1", "regressed", "", regressed={"t": "fell"}),
)
# a suite that passes on both sides, where the schedules show no loss either
SAVED = {"loss": "passed passed", "wire": "passed passed"}
LOSSLESS = explored(official=findings({"refused": 5}))


def sides_of(tests: Mapping[str, str]) -> list[dict[str, Outcome]]:
    """The outcomes of each side: test -> "official patched", with "-" for a test that is absent.

    "skipped:why" is a test that was skipped for that reason.
    """
    sides: list[dict[str, Outcome]] = [{}, {}]
    for test, words in tests.items():
        for side, word in zip(sides, words.split(), strict=True):
            status, _, message = word.partition(":")
            if status != "-":
                check, documented = CHECKS.get(test, "wire"), test in DOCUMENTED
                side[test] = outcome(status, check, documented, message)
    return sides


def judged(tests: Mapping[str, str], found: Explored | None = None, noticed: Any = None) -> Verdict:
    official, patched = map(run_of, sides_of(tests))
    verdict = Verdict.of(subject_of(()), official, patched, found or explored(), probe=noticed)
    assert Verdict.parse(verdict.to_json()) == verdict
    return verdict


# tests -> the verdict, and what its reason contains
TESTS: list[tuple[dict[str, str], str, str]] = [
    (GOOD, "publish", "lose calls in 1 tests and on 4 of the schedules"),
    ({**GOOD, "leak": "failed passed"}, "publish", "all 3 tests that ran pass"),
    ({**GOOD, "beta": "skipped:no skipped:no"}, "publish", "1 were left out with a reason"),
    ({**GOOD, "beta": "deselected:no deselected:no"}, "publish", "all 2 tests that ran pass"),
    ({"loss": "failed passed", "call": "passed passed"}, "publish", "lose calls in 1 tests"),
    # something got worse, or is not mended
    ({"loss": "failed passed", "wire": "passed failed"}, "regressed", "(the first: wire) pass on"),
    ({"loss": "failed passed", "wire": "passed error"}, "regressed", "(the first: wire) pass on"),
    (
        {"loss": "failed failed", "wire": "passed passed"},
        "regressed",
        "1 tests (the first: loss) s",
    ),
    ({"loss": "failed passed", "wire": "failed failed"}, "regressed", "(the first: wire) still f"),
    ({"loss": "failed failed", "a": "failed failed"}, "regressed", "2 tests (the first: a) still"),
    # a loss that is documented is not seen
    ({"call": "failed passed", "loss": "passed passed"}, "inconclusive", "first: loss) of a docu"),
    ({"loss": "failed passed", "agrees": "passed passed"}, "inconclusive", "first: agrees) of a d"),
    # nothing ran that says anything
    ({}, "inconclusive", "no test ran that could lose a call"),
    ({"wire": "failed passed"}, "inconclusive", "no test ran that could lose a call"),
    ({"loss": "skipped:no skipped:no"}, "inconclusive", "no test ran that could lose a call"),
    # the two sides did not run the same
    ({"loss": "failed passed", "wire": "passed -"}, "inconclusive", "wire) ran on one side only"),
    ({"loss": "failed passed", "wire": "- passed"}, "inconclusive", "wire) ran on one side only"),
    ({**GOOD, "wire": "passed skipped:no"}, "inconclusive", "wire) were left out on one side"),
    ({**GOOD, "wire": "skipped:no failed"}, "inconclusive", "wire) were left out on one side"),
    ({**GOOD, "wire": "skipped:no deselected:no"}, "inconclusive", "were left out on one side"),
    ({**GOOD, "wire": "skipped skipped"}, "inconclusive", "wire) were left out without a reason"),
    ({**GOOD, "wire": "deselected deselected"}, "inconclusive", "left out without a reason"),
    ({**GOOD, "wire": "error error"}, "inconclusive", "(the first: wire) broke down on the offic"),
    ({**GOOD, "wire": "error passed"}, "inconclusive", "(the first: wire) broke down on the offi"),
]


@pytest.mark.parametrize(("tests", "word", "reason"), TESTS)
def test_tests(tests: dict[str, str], word: str, reason: str) -> None:
    verdict = judged(tests)
    assert verdict.verdict == word, verdict.reason
    assert reason in verdict.reason


# what is wrong with the run on the patched wheels -> what the reason begins with
RUNS: list[tuple[dict[str, Any], str]] = [
    ({"exitstatus": 2}, "on the patched wheels pytest ended with exit code 2"),
    ({"exitstatus": 5}, "on the patched wheels pytest ended with exit code 5"),
    ({"collected": 3}, "on the patched wheels 3 tests were collected and 2 reported"),
    ({"collected": 1}, "on the patched wheels 1 tests were collected and 2 reported"),
    ({"python": "3.12.1"}, "Python 3.11.7 ran one suite, 3.12.1 the other"),
    ({"wire": outcome(check="leaks")}, "wire is marked differently on the official and on the"),
    ({"wire": outcome(check="wire", documented=True)}, "wire is marked differently on the offi"),
]


@pytest.mark.parametrize(("change", "reason"), RUNS)
def test_runs_that_cannot_be_compared(change: dict[str, Any], reason: str) -> None:
    official, patched = sides_of(GOOD)
    patched["wire"] = change.pop("wire", patched["wire"])
    runs = run_of(official), run_of(patched, **change)
    verdict = Verdict.of(subject_of(()), *runs, explored())
    assert verdict.verdict == "inconclusive"
    assert verdict.reason.startswith(reason)


def test_a_run_without_a_report() -> None:
    lost = SuiteRun(None, "the suite did not end", "")
    verdict = Verdict.of(subject_of(()), run_of(sides_of(GOOD)[0]), lost, explored())
    assert (verdict.verdict, verdict.tests) == ("inconclusive", {})
    assert verdict.reason == "on the patched wheels the suite did not end"


AS_FLAG = replace(findings({}), violations={"refused": Violation("flag", 1, "call:A")})
OTHER_LEVEL = findings({}, levels={"session": Level(9, 3, 2, 1)})
NO_LEVEL, NO_AGENT = ([findings({}, levels=levels)] * 2 for levels in ({}, OTHER_LEVEL.levels))
UNLIKE = findings({}, unreduced=9, mismatched=("call:B", "call:A"))
ADDED: dict[str, Any] = {"call:ABC": ("refused",), "call:AB": ("stuck", "refused")}
OFFICIAL_FLAG = findings({"deleted-in-flight": 7, "flag-twice": 1})


def sides(official: Findings, patched: Findings) -> dict[str, Findings]:
    return {"official": official, "patched": patched}


# what the schedules showed otherwise -> the verdict, and what its reason contains
SCHEDULES: list[tuple[dict[str, Any], str, str]] = [
    ({"patched": findings({"flag-twice": 1, "refused": 2})}, "regressed", "break flag-twice (fla"),
    ({"patched": findings({"flag-twice": 1})}, "regressed", "(flag-twice: call/flag-twice:AB)"),
    ({"patched": findings({"deleted-in-flight": 1})}, "regressed", "break deleted-in-flight"),
    ({"patched": findings({"another-object": 1})}, "regressed", "break another-object (another"),
    ({"added": ADDED}, "regressed", "wheels break refused, stuck on 2 schedules on which the offi"),
    ({"added": ADDED}, "regressed", "official wheels do not (the first: call:AB)"),
    ({"official": OFFICIAL_FLAG}, "publish", "on 7 of the schedules"),
    ({"official": findings({"refused": 5})}, "publish", "in 1 tests and on 0 of the schedules"),
    ({"patched": findings({}), "compared": 0}, "publish", "the patched in none of either"),
    ({"patched": OTHER_LEVEL}, "inconclusive", "not those of the same scenarios"),
    ({"patched": AS_FLAG}, "inconclusive", "do not agree on what belongs to the flag"),
    ({"compared": 1}, "inconclusive", "only 1 of 2 results"),
    ({"covered": 1}, "inconclusive", "2 results cannot stand for 1 schedules"),
    ({"pairs": 1}, "inconclusive", "2 results cannot stand for 14 schedules"),
    (sides(*NO_LEVEL), "inconclusive", "no schedule was explored on the official wheels"),
    (sides(*NO_AGENT), "inconclusive", "no schedule of the agent level was explored on the offic"),
    ({"patched": UNLIKE}, "inconclusive", "patched wheels 2 schedules (the first: call:A) are unl"),
    ({"tier": "full"}, "inconclusive", "on the official wheels no space was run whole"),
    ({"found": Explored(None)}, "inconclusive", "no schedule was explored"),
    ({"found": Explored(None, "it broke")}, "inconclusive", "it broke"),
]


@pytest.mark.parametrize(("change", "word", "reason"), SCHEDULES)
def test_schedules(change: dict[str, Any], word: str, reason: str) -> None:
    verdict = judged(GOOD, change.get("found") or explored(**change))
    assert verdict.verdict == word, verdict.reason
    assert reason in verdict.reason


# what else is seen where no call is lost -> the verdict, and how its reason goes on
FIXED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "fixed", "in 1 tests and 39 schedules of the tier quick, where a planted deletion is n"),
    ({"tests": {**SAVED, "wire": "passed failed"}}, "fixed", "in 1 tests"),
    ({"tests": {"call": "passed passed", "wire": "passed passed"}}, "fixed", "in 1 tests"),
    ({"noticed": None}, "inconclusive", "but nothing shows that the suite would notice a loss"),
    ({"noticed": probe(caught=0)}, "inconclusive", "here: no test of a documented loss ran"),
    ({"noticed": probe(missed=("b", "a"))}, "inconclusive", "here: 2 tests (the first: a) do not"),
    ({"noticed": probe(schedules={"session": 1, "agent": 0})}, "inconclusive", "the agent level"),
    ({"noticed": probe(trouble="it broke")}, "inconclusive", "notice a loss here: it broke"),
    (
        {"tests": {**SAVED, "agrees": "failed passed"}},
        "inconclusive",
        "(the first: agrees) fail on",
    ),
    ({"tests": {**SAVED, "leak": "failed passed"}}, "inconclusive", "(the first: leak) fail on"),
    (
        {"found": explored(official=findings({"flag-twice": 1, "refused": 5}))},
        "inconclusive",
        "but break flag-twice (call/flag-twice:AB)",
    ),
    ({"found": explored(official=findings({"another-object": 9}))}, "fixed", "in 1 tests"),
    # a loss that only the schedules show
    ({"found": explored()}, "publish", "lose calls in 0 tests and on 4"),
]


@pytest.mark.parametrize(("change", "word", "reason"), FIXED)
def test_official_wheels_whose_tests_lose_no_call(
    change: dict[str, Any], word: str, reason: str
) -> None:
    tests = {"call": "passed passed", "wire": "passed passed"} if word == "publish" else SAVED
    verdict = judged(**{"tests": tests, "found": LOSSLESS, "noticed": probe(), **change})
    assert verdict.verdict == word, verdict.reason
    assert reason in verdict.reason
    if word != "publish":
        assert verdict.reason.startswith("the official wheels lose no call")


def test_upstreams_own_tests() -> None:
    verdict = judged(GOOD)
    for result, word, reason in (
        (UPSTREAM_RESULTS[1], "publish", f"{verdict.reason}; upstream's suite: fine"),
        (UPSTREAM_RESULTS[2], "regressed", "of upstream's own tests 1 tests (the first: t) regr"),
    ):
        both = judge(verdict.tests, verdict.exploration, None, result)
        assert both[0] == word
        assert both[1].startswith(reason)


def test_the_whole_reason_of_a_verdict_that_publishes() -> None:
    sides = [findings(v, unreduced=7) for v in ({"deleted-in-flight": 4}, {})]
    found = explored(tier="full", official=sides[0], patched=sides[1])
    assert found.exploration is not None
    assert found.exploration.failing == ""
    assert judged({**GOOD, "beta": "skipped:no skipped:no"}, found).reason == (
        "the official wheels lose calls in 1 tests and on 4 of the schedules that were run, the "
        "patched in none of either; all 2 tests that ran pass on the patched, 1 were left out with "
        "a reason; tier full: 39 schedules official, 39 patched"
    )


def test_the_plainest_schedule_is_the_shortest() -> None:
    added = {"agent/x:A": ("stuck",), "call:ABCD": ("s",)}
    found = explored(patched=findings({"flag-twice": 1}), added=added).exploration
    assert found is not None
    assert found.failing == "agent/x:A"


def test_reasons_of_both_sides_are_told() -> None:
    tests = judged({**GOOD, "b": "skipped:x skipped:y", "c": "skipped:x skipped:x"}).tests
    assert (tests["b"].reason, tests["c"].reason) == ("x / y", "x")


OUTCOMES = st.sampled_from(["passed", "failed", "error", "skipped", "deselected", "absent"])
COMPARED = st.builds(
    Compared,
    official=OUTCOMES,
    patched=OUTCOMES,
    check=st.sampled_from(["loses-calls", "wire"]),
    documented=st.booleans(),
    reason=st.sampled_from(["", "no"]),
)
VIOLATIONS = st.dictionaries(st.sampled_from(["deleted-in-flight", "refused"]), st.just(2))
EXPLORATIONS = st.builds(
    lambda official, patched, added: (
        explored(official=findings(official), patched=findings(patched), added=added).exploration
    ),
    VIOLATIONS,
    VIOLATIONS,
    st.sampled_from([{}, {"call:A": ("refused",)}]),
)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(
    st.dictionaries(st.sampled_from("abc"), COMPARED),
    EXPLORATIONS,
    st.sampled_from(UPSTREAM_RESULTS),
)
def test_nothing_is_published_that_breaks_anything(
    tests: dict[str, Compared], exploration: Exploration, upstream: UpstreamResult | None
) -> None:
    word, reason = judge(tests, exploration, None, upstream)
    ran = [test for test in tests.values() if test.patched not in ("skipped", "deselected")]
    if word == "publish":
        assert {test.patched for test in ran} == {"passed"}
        assert {test.official for test in ran if test.documented} <= {"failed"}
        assert all(t.reason for t in tests.values() if t not in ran)
        lost = [t for t in ran if t.check == "loses-calls" and t.official == "failed"]
        assert lost or exploration.loses
        assert not exploration.added
        assert "deleted-in-flight" not in exploration.patched.violations
        assert not (upstream and upstream.regressed)
    assert reason
    assert word != "fixed"
