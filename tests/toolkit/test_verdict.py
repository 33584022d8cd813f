"""The rules by which two runs of the race suite become a verdict, and the verdict's JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from publishing import (
    LOSS,
    explored,
    findings,
    make_pair,
    outcome,
    probe,
    proof_of,
    run_of,
    subject_of,
)

from toolkit.proof import summary
from toolkit.proof.exploration import Explored, Level, Violation
from toolkit.proof.probe import Probe
from toolkit.proof.race_report import Outcome, Report
from toolkit.proof.race_suite import Run
from toolkit.proof.rules import judge
from toolkit.proof.verdict import Verdict
from toolkit.util.files import tree_digest
from toolkit.util.strict_json import Malformed

LOST = outcome("failed", documented=True)
SAVED = outcome("passed", documented=True)
WIRE = outcome(check="wire")
BROKEN = outcome("failed", check="wire")
FLAG = {"kind": "flag", "count": 1, "shortest": "call:A"}
SKIP = outcome("skipped", check="wire", message="this release has no beta session")


NOTHING = findings({})
SESSION_ONLY = findings({}, levels={"session": Level(9, 3, 1, 1)})
LOSSLESS = explored(official=findings({"refused": 5}))


def judged(
    official: dict[str, Outcome],
    patched: dict[str, Outcome],
    found: Explored | None = None,
    noticed: Probe | None = None,
) -> tuple[str, str]:
    runs = run_of(official), run_of(patched)
    verdict = Verdict.of(subject_of(()), *runs, found or explored(), probe=noticed)
    assert Verdict.parse(verdict.to_json()) == verdict
    return verdict.verdict, verdict.reason


def test_publish_when_only_the_official_wheels_lose_calls() -> None:
    verdict, reason = judged(
        {"a": LOST, "b": WIRE, "c": BROKEN, "d": SKIP},
        {"a": SAVED, "b": WIRE, "c": WIRE, "d": SKIP},
    )
    assert verdict == "publish"
    assert "lose calls in 1 tests" in reason
    assert "1 were left out with a reason" in reason


CASES: dict[str, tuple[dict[str, Outcome], dict[str, Outcome], str, str]] = {
    "no call lost": ({"a": SAVED, "b": WIRE}, {"a": SAVED, "b": WIRE}, "fixed", "lose no call"),
    "no call lost, though a patched test fails": (
        {"a": SAVED, "b": WIRE},
        {"a": SAVED, "b": BROKEN},
        "fixed",
        "lose no call",
    ),
    "got worse": ({"a": LOST, "b": WIRE}, {"a": SAVED, "b": BROKEN}, "regressed", "(the first: b)"),
    "broke down": (
        {"a": LOST, "b": WIRE},
        {"a": SAVED, "b": outcome("error", check="wire")},
        "regressed",
        "(the first: b)",
    ),
    "still loses": ({"a": LOST, "b": WIRE}, {"a": LOST, "b": WIRE}, "regressed", "still fail"),
    "still fails": (
        {"a": LOST, "b": BROKEN},
        {"a": SAVED, "b": BROKEN},
        "regressed",
        "(the first: b) still fail",
    ),
    "a documented loss is not seen": (
        {"a": LOST, "b": SAVED},
        {"a": SAVED, "b": SAVED},
        "inconclusive",
        "(the first: b) of a documented loss",
    ),
    "a documented loss of another kind is not seen": (
        {"a": LOST, "b": outcome(check="agreement", documented=True)},
        {"a": SAVED, "b": outcome(check="agreement", documented=True)},
        "inconclusive",
        "(the first: b) of a documented loss",
    ),
    "nothing ran": ({}, {}, "inconclusive", "no test ran"),
    "nothing that could lose": ({"b": BROKEN}, {"b": WIRE}, "inconclusive", "could lose a call"),
    "every loss skipped": (
        {"a": outcome("skipped", message="no")},
        {"a": outcome("skipped", message="no")},
        "inconclusive",
        "could lose a call",
    ),
    "other tests": ({"a": LOST, "b": WIRE}, {"a": SAVED}, "inconclusive", "on one side only"),
    "more tests": ({"a": LOST}, {"a": SAVED, "b": WIRE}, "inconclusive", "on one side only"),
    "skipped when patched": (
        {"a": LOST, "b": WIRE},
        {"a": SAVED, "b": SKIP},
        "inconclusive",
        "(the first: b) were left out on one side",
    ),
    "skipped without a reason": (
        {"a": LOST, "b": outcome("skipped")},
        {"a": SAVED, "b": outcome("skipped")},
        "inconclusive",
        "without a reason",
    ),
    "deselected without a reason": (
        {"a": LOST, "b": outcome("deselected")},
        {"a": SAVED, "b": outcome("deselected")},
        "inconclusive",
        "without a reason",
    ),
    "broke down on both": (
        {"a": LOST, "b": outcome("error")},
        {"a": SAVED, "b": outcome("error")},
        "inconclusive",
        "broke down on the official",
    ),
    "marked differently": (
        {"a": LOST, "b": WIRE},
        {"a": SAVED, "b": outcome(check="leaks")},
        "inconclusive",
        "b is marked differently",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_everything_else_stops_the_release(case: str) -> None:
    official, patched, verdict, reason = CASES[case]
    fixed = (LOSSLESS, probe()) if verdict == "fixed" else ()
    said = judged(official, patched, *fixed)
    assert said[0] == verdict
    assert reason in said[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"exitstatus": 2}, "exit code 2"),
        ({"exitstatus": 5}, "exit code 5"),
        ({"collected": 3}, "3 tests were collected and 2 reported"),
        ({"python": "3.12.1"}, "3.12.1"),
    ],
)
def test_a_run_that_is_not_whole_proves_nothing(change: dict[str, Any], reason: str) -> None:
    tests = {"a": SAVED, "b": WIRE}
    verdict = Verdict.of(
        subject_of(()), run_of({"a": LOST, "b": WIRE}), run_of(tests, **change), explored()
    )
    assert verdict.verdict == "inconclusive"
    assert reason in verdict.reason


def test_a_missing_report_proves_nothing() -> None:
    lost = Run(None, "the suite did not end within 600 s", "")
    verdict = Verdict.of(subject_of(()), run_of({"a": LOST}), lost, Explored(None))
    assert (verdict.verdict, verdict.tests) == ("inconclusive", {})
    assert verdict.reason == "on the patched wheels the suite did not end within 600 s"


EXPLORED: dict[str, tuple[Explored, str, str]] = {
    "a flag is broken": (
        explored(patched=findings({"flag-twice": 1, "refused": 2})),
        "regressed",
        "the patched wheels break flag-twice (flag-twice: call/flag-twice:AB)",
    ),
    "a call in flight is deleted": (
        explored(patched=findings({"deleted-in-flight": 1})),
        "regressed",
        "break deleted-in-flight",
    ),
    "a violation is added": (
        explored(added={"call:ABC": ("refused",), "call:AB": ("stuck", "refused")}),
        "regressed",
        "break refused, stuck on 2 schedules on which the official wheels do not (the first: "
        "call:AB)",
    ),
    "the official wheels break a flag that the tests do not see": (
        explored(official=findings({"deleted-in-flight": 4, "flag-twice": 1})),
        "publish",
        "on 4 of the schedules",
    ),
    "the schedules lose no call, the tests do": (
        LOSSLESS,
        "publish",
        "in 1 tests and on 0 of the schedules",
    ),
    "other scenarios": (
        explored(patched=findings({}, levels={"session": Level(9, 3, 2, 1)})),
        "inconclusive",
        "not those of the same scenarios",
    ),
    "other kinds": (
        explored(patched=replace(NOTHING, violations={"refused": Violation("flag", 1, "call:A")})),
        "inconclusive",
        "do not agree on what belongs to the flag",
    ),
    "not all compared": (explored(compared=1), "inconclusive", "only 1 of 2 results"),
    "nothing explored": (
        explored(official=findings({}, levels={}), patched=findings({}, levels={})),
        "inconclusive",
        "no schedule was explored on the official wheels",
    ),
    "no agent can be had": (
        explored(official=SESSION_ONLY, patched=SESSION_ONLY),
        "inconclusive",
        "no schedule of the agent level was explored on the official wheels",
    ),
    "the reduction is wrong": (
        explored(patched=findings({}, whole=9, unlike=("call:B", "call:A"))),
        "inconclusive",
        "on the patched wheels 2 schedules (the first: call:A) are unlike",
    ),
    "full, but nothing whole": (explored(tier="full"), "inconclusive", "no space was run whole"),
    "no exploration": (Explored(None), "inconclusive", "no schedule was explored"),
    "trouble": (Explored(None, "it broke"), "inconclusive", "it broke"),
}


@pytest.mark.parametrize("case", EXPLORED)
def test_what_the_schedules_add(case: str) -> None:
    found, verdict, reason = EXPLORED[case]
    said = judged({"a": LOST, "b": WIRE}, {"a": SAVED, "b": WIRE}, found)
    assert said[0] == verdict, said
    assert reason in said[1]


def test_schedules_that_lose_calls_keep_a_release_from_being_fixed() -> None:
    tests = {"a": outcome(), "b": WIRE}
    assert judged(tests, tests, LOSSLESS, probe())[0] == "fixed"
    verdict, reason = judged(tests, tests)
    assert verdict == "publish"
    assert "lose calls in 0 tests and on 4 of the schedules" in reason


DOUBTS: dict[str, tuple[dict[str, Any], str]] = {
    "nobody asked": ({"noticed": None}, "nothing shows that the suite would notice a loss here"),
    "no loss ran": (
        {"noticed": probe(caught=0)},
        "would not notice a loss here: no test of a documented loss ran",
    ),
    "missed": ({"noticed": probe(missed=("b", "a"))}, "2 tests (the first: a) do not notice"),
    "a level": ({"noticed": probe(schedules={"session": 1, "agent": 0})}, "of the agent level"),
    "trouble": ({"noticed": probe(trouble="it broke")}, "would not notice a loss here: it broke"),
    "another documented fault": (
        {"official": {"a": SAVED, "c": outcome("failed", "agreement", documented=True)}},
        "1 tests (the first: c) fail on them",
    ),
    "a fault that nobody documented": (
        {
            "official": {"a": SAVED, "c": outcome("failed", "leaks")},
            "patched": {"a": SAVED, "c": outcome(check="leaks")},
        },
        "1 tests (the first: c) fail on them",
    ),
    "another flag": (
        {"found": explored(official=findings({"flag-twice": 1, "refused": 5}))},
        "break flag-twice (call/flag-twice:AB)",
    ),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_doubts_that_a_release_is_fixed(case: str) -> None:
    change, reason = DOUBTS[case]
    tests = {"a": SAVED, "c": outcome(check="agreement", documented=True)}
    said: dict[str, Any] = {"official": tests, "patched": tests, "found": LOSSLESS}
    assert judged(**said, noticed=probe())[0] == "fixed"
    verdict, why = judged(**{**said, "noticed": probe(), **change})
    assert verdict == "inconclusive"
    assert why.startswith("the official wheels lose no call, but ")
    assert reason in why


def test_the_verdict_says_how_many_schedules_of_which_tier() -> None:
    whole = {"whole": 7}
    found = explored(
        tier="full",
        official=findings({"deleted-in-flight": 4}, **whole),
        patched=findings({}, **whole),
    )
    reason = judged({"a": LOST, "b": WIRE}, {"a": SAVED, "b": WIRE}, found)[1]
    assert reason.endswith("tier full: 39 schedules official, 39 patched")
    assert found.exploration is not None
    assert found.exploration.failing == ""


def test_the_plainest_schedule_is_the_shortest() -> None:
    found = explored(
        patched=findings({"flag-twice": 1}), added={"agent/x:A": ("stuck",), "call:ABCD": ("s",)}
    ).exploration
    assert found is not None
    assert found.failing == "agent/x:A"


def test_people_see_a_table_of_the_schedules() -> None:
    verdict = Verdict.of(subject_of(()), run_of({"a": LOST}), run_of({"a": SAVED}), explored())
    first, *table = summary.of(verdict).splitlines()
    assert first == f"1.8.9: publish: {verdict.reason}"
    assert [line.split() for line in table[:-1]] == [
        ["tier", "quick", "official", "patched"],
        ["session", "level", "9", "schedules", "9", "schedules"],
        ["by", "3", "runs", "by", "3", "runs"],
        ["agent", "level", "30", "schedules", "30", "schedules"],
        ["by", "4", "runs", "by", "4", "runs"],
        ["broken", "on", "of", "those", "run", "of", "those", "run", "replay"],
        ["deleted-in-flight", "4", "call/deleted-in-flight:AB"],
        ["refused", "5", "2", "call/refused:AB"],
        ["(deleted-while-running)", "2", "2", "recorded,", "not", "judged"],
    ]
    assert table[-1].strip() == (
        "2 results of the patched, which stand for 14 schedules, were held against the official "
        "wheels: 0 are worse"
    )
    assert summary.of(Verdict.conflict(subject_of(()), "no")) == "1.8.9: conflict: no"


def test_the_verdict_names_what_was_lost_and_what_was_left_out() -> None:
    official = run_of({"a": LOST, "b": WIRE, "c": BROKEN, "d": SKIP})
    patched = run_of({"a": SAVED, "b": WIRE, "c": WIRE, "d": SKIP})
    verdict = Verdict.of(subject_of(()), official, patched, explored())
    side = verdict.official
    assert (side.passed, side.failed, side.skipped, side.lost) == (1, 2, 1, ("a",))
    side = verdict.patched
    assert (side.passed, side.failed, side.skipped, side.lost) == (3, 0, 1, ())
    assert verdict.tests["d"].reason == "this release has no beta session"


def test_json_comes_back_equal_and_holds_no_seconds_or_messages(tmp_path: Path) -> None:
    verdict = proof_of(make_pair(tmp_path, "+dispatched.1"))
    text = verdict.to_json()
    assert Verdict.parse(text) == verdict
    assert Verdict.parse(text).to_json() == text
    document = json.loads(text)
    assert document["format"] == 4
    assert document["uploaded"] == "2026-10-24T02:32:37Z"
    assert document["tests"][LOSS] == {
        "official": "failed",
        "patched": "passed",
        "check": "loses-calls",
        "documented": True,
        "reason": "",
    }
    assert str(tmp_path) not in text


def test_json_does_not_depend_on_order_or_durations() -> None:
    first = {"a": LOST, "b": WIRE}
    slower = {"b": replace(WIRE, seconds=9.0), "a": replace(LOST, message="0x7f")}
    patched = run_of({"a": SAVED, "b": WIRE})
    texts = {
        Verdict.of(subject_of(()), run_of(t), patched, explored()).to_json()
        for t in (first, slower)
    }
    assert len(texts) == 1


@pytest.mark.parametrize("state", ["conflict", "inconclusive"])
def test_verdicts_without_a_run(state: str) -> None:
    verdict = getattr(Verdict, state)(subject_of(()), "mark-in-flight does not apply")
    assert Verdict.parse(verdict.to_json()) == verdict
    assert (verdict.verdict, verdict.reason) == (state, "mark-in-flight does not apply")


def _set(*path: str, to: object) -> Any:
    def edit(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = to

    return edit


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_set("surprise", to=1), "unknown keys: surprise"),
        (lambda document: document.pop("series"), "lacks series"),
        (_set("revision", to="1"), "revision is str, not int"),
        (_set("revision", to=True), "revision is bool, not int"),
        (_set("format", to=1), "not of format 4"),
        (_set("verdict", to="fine"), "'fine'"),
        (_set("verdict", to="fixed"), "its own tests say publish"),
        (_set("reason", to="because"), "its own tests say publish"),
        (_set("tests", LOSS, "patched", to="failed"), "its own tests say regressed"),
        (_set("tests", LOSS, "official", to="passed"), "its own tests say inconclusive"),
        (_set("exploration", to=None), "its own tests say inconclusive"),
        (_set("exploration", to=[]), "exploration is list, not dict"),
        (_set("exploration", "tier", to="slow"), "'slow'"),
        (_set("exploration", "compared", to=1), "its own tests say inconclusive"),
        (_set("exploration", "added", to={"call:A": ["refused"]}), "its own tests say regressed"),
        (_set("exploration", "added", to={"call:A": [1]}), "call:A is int"),
        (_set("exploration", "patched", "violations", to={"twice": FLAG}), "say regressed"),
        (
            _set("exploration", "patched", "violations", to={"twice": {**FLAG, "count": 0}}),
            "no viol",
        ),
        (
            _set("exploration", "patched", "violations", to={"twice": {**FLAG, "kind": "x"}}),
            "no viol",
        ),
        (_set("exploration", "official", "levels", "session", "more", to=1), "unknown keys: more"),
        (_set("tests", LOSS, "patched", to="fine"), "no outcome"),
        (_set("tests", LOSS, "extra", to=""), "unknown keys: extra"),
        (_set("tests", to={}), "its own tests say inconclusive"),
        (_set("official", "failed", to=7), "counts"),
        (_set("official", "lost", to=[]), "counts"),
        (_set("official", "lost", to=[1]), "lost is int"),
        (_set("wheels", "other-1-py3-none-any.whl", to="0" * 64), "wheels are not"),
        (_set("wheels", to={"a": 1}), "wheels.a is int"),
    ],
)
def test_a_verdict_that_does_not_hold_together_is_refused(
    edit: Any, said: str, tmp_path: Path
) -> None:
    document = json.loads(proof_of(make_pair(tmp_path, "+dispatched.1")).to_json())
    edit(document)
    with pytest.raises(Malformed) as caught:
        Verdict.parse(json.dumps(document))
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 1}'])
def test_what_is_no_verdict_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        Verdict.parse(text)


def test_judging_needs_nothing_but_the_tests() -> None:
    verdict = proof_of(())
    assert judge(verdict.tests, verdict.exploration) == (verdict.verdict, verdict.reason)


REPORT = {
    "format": 1,
    "python": "3.11.7",
    "distributions": {"livekit-agents": "1.8.9"},
    "tests": {
        "t": {
            "outcome": "passed",
            "check": "wire",
            "documented": False,
            "message": "",
            "seconds": 1,
        }
    },
    "exitstatus": 0,
    "collected": 1,
}


def test_a_report_is_read() -> None:
    report = Report.parse(json.dumps(REPORT))
    assert report.tests == {"t": Outcome("passed", "wire", False, "", 1)}
    assert report.collected == 1


@pytest.mark.parametrize(
    "edit",
    [
        _set("format", to=2),
        _set("more", to=1),
        _set("tests", "t", "outcome", to="xfailed"),
        _set("tests", "t", "documented", to="yes"),
        _set("tests", "t", "more", to=1),
        _set("distributions", "livekit-agents", to=None),
        lambda document: document.pop("exitstatus"),
    ],
)
def test_a_report_of_another_shape_is_refused(edit: Any) -> None:
    document = json.loads(json.dumps(REPORT))
    edit(document)
    with pytest.raises(Malformed):
        Report.parse(json.dumps(document))


def test_the_digest_of_a_suite_is_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "a.py").write_text("1")
    first = tree_digest(tmp_path)
    for cache in ("kit/__pycache__/a.pyc", ".pytest_cache/x"):
        (tmp_path / cache).parent.mkdir()
        (tmp_path / cache).write_text("junk")
    assert tree_digest(tmp_path) == first
    (tmp_path / "kit" / "a.py").rename(tmp_path / "kit" / "b.py")
    renamed = tree_digest(tmp_path)
    (tmp_path / "kit" / "b.py").write_text("2")
    assert len({first, renamed, tree_digest(tmp_path)}) == 3
