"""What is made of runs of upstream's tests: reports, comparisons, and the result as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from toolkit.upstream_tests.report import read_sandbox_report
from toolkit.upstream_tests.result import (
    RunPair,
    Source,
    UpstreamOutcome,
    UpstreamResult,
    UpstreamRun,
    compare_runs,
)
from toolkit.util.strict_json import Malformed

TAG = "livekit-agents@1.7.0"
SOURCE = Source(TAG, "c0" * 20, "1.7.0", 0, {}, {})
LOST = UpstreamRun(left_out={"tests/test_a.py": "cannot be collected: NameError"})


def run_of(outcome: str) -> UpstreamRun:
    """A run of one test, with a reason unless it passed."""
    return UpstreamRun({"t": UpstreamOutcome(outcome, "" if outcome == "passed" else "no")})


def result_of(first: RunPair, *reruns: RunPair) -> UpstreamResult:
    return compare_runs("1.7.0", SOURCE, "all", first, reruns, ["tests/test_x.py"])


# the outcomes on the official and the patched wheels, run again -> the class, and what is said
CLASSES: list[tuple[list[str], str, str]] = [
    (["passed skipped", "passed skipped"], "regressed", "official passed; patched skipped (no)"),
    (["passed failed", "passed failed"], "regressed", "official passed; patched failed (no)"),
    (["skipped failed"], "regressed", "official skipped (no); patched failed (no)"),
    (["passed skipped", "passed passed"], "flaky", "(no); run again: passed and passed"),
    (["passed skipped", "skipped passed"], "flaky", "(no); run again: skipped and passed"),
    (["skipped passed", "skipped passed"], "fixed", "official skipped (no); patched passed"),
    (["absent passed", "absent passed"], "fixed", "official absent (no); patched passed"),
]


@pytest.mark.parametrize(("outcomes", "name", "text"), CLASSES)
def test_a_test_that_differs(outcomes: list[str], name: str, text: str) -> None:
    first, *reruns = [(run_of(a), run_of(b)) for a, b in map(str.split, outcomes)]
    result = result_of(first, *reruns)
    classes = {"regressed": result.regressed, "flaky": result.flaky, "fixed": result.fixed}
    assert [n for n, tests in classes.items() if tests] == [name]
    assert classes[name]["t"].endswith(text)
    assert result.status == ("regressed" if name == "regressed" else "passed")


@pytest.mark.parametrize(
    ("outcomes", "group", "reason"),
    [
        ("failed failed", "failed", "no"),
        ("failed absent", "failed", "no"),
        ("skipped xfailed", "left_out", "no"),
    ],
)
def test_a_test_that_fails_alike_is_grouped_by_its_reason(
    outcomes: str, group: str, reason: str
) -> None:
    official, patched = map(run_of, outcomes.split())
    assert getattr(result_of((official, patched)), group)[reason] == ("t",)


def test_a_file_that_is_lost_on_the_patched_wheels_only_has_regressed() -> None:
    reason = "only on the patched wheels: cannot be collected: NameError"
    assert result_of((UpstreamRun(), LOST)).regressed == {"tests/test_a.py": reason}
    for first in ((LOST, LOST), (LOST, UpstreamRun())):
        assert result_of(first).left_out == {
            "cannot be collected: NameError": ("tests/test_a.py",),
            "not of the plugin's tests (--all takes them)": ("tests/test_x.py",),
        }


def test_a_result_is_read_as_it_was_written() -> None:
    run = UpstreamRun(
        {"t": UpstreamOutcome("failed", "no"), "u": UpstreamOutcome("passed")}, {"f": "gone"}
    )
    result = result_of((run, run))
    assert UpstreamResult.parse(result.to_json()) == result
    without = UpstreamResult.not_run("1.7.0", "no\nnetwork")
    assert UpstreamResult.parse(without.to_json()) == without
    assert without.lines == ["upstream's suite: not run: no network"]
    assert result.lines == [
        "upstream's suite: 1 tests pass on both sides, 1 fail on both, 0 regressed",
        f"  of {TAG}",
        "  failed on both: 1: no",
        "  left out: 1: gone",
        "  left out: 1: not of the plugin's tests (--all takes them)",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"status": "fine"},
        {"status": "regressed"},
        {"regressed": {"t": "fell"}},
        {"passed": "1"},
        {"failed": {"why": [1]}},
        {"source": {"tag": TAG}},
        {"more": 1},
    ],
)
def test_a_result_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    document = json.loads(result_of((run_of("passed"), run_of("passed"))).to_json())
    with pytest.raises(Malformed):
        UpstreamResult.parse(json.dumps({**document, **change}))
    with pytest.raises(Malformed, match="not JSON"):
        UpstreamResult.parse("{")


# -- reports ----------------------------------------------------------------------------------


def phase(test: str, outcome: str = "passed", when: str = "call", **more: Any) -> dict[str, Any]:
    return {"test": test, "when": when, "outcome": outcome, "why": "", "tried": [], **more}


@pytest.mark.parametrize(
    ("code", "ends", "complete"),
    [(0, "ab", 1), (1, "a", 1), (2, "a", 0), (2, "ab", 1), (3, "ab", 0), (None, "ab", 0)],
)
def test_a_run_that_was_broken_off_is_no_run(code: int | None, ends: str, complete: int) -> None:
    lines = [{"collected": ["a", "b"]}, *map(phase, ends)]
    lines += [] if code is None else [{"exitstatus": code}]
    run = read_sandbox_report([*map(json.dumps, lines), '{"test": "b", "wh'], hide="/x")
    absent = UpstreamOutcome("absent", "it did not end")
    assert run.tests == {t: UpstreamOutcome("passed") if t in ends else absent for t in "ab"}
    assert run.trouble == ("" if complete else "no whole run")


@pytest.mark.parametrize(
    ("phases", "outcome", "why"),
    [
        ([phase("t", when="setup"), phase("t", when="teardown")], None, ""),
        ([phase("t"), phase("t", "failed", "teardown", why="x")], "failed", "in teardown: x"),
        ([phase("t", "failed", why="x"), phase("t", "failed", "teardown")], "failed", "x"),
        ([phase("t", "skipped", "setup", why="x"), phase("t", when="teardown")], "skipped", "x"),
        (
            [phase("t", "failed", why="x", tried=["a", "b"])],
            "failed",
            "no network here: it asked for a, b",
        ),
        ([phase("t", "failed", why="at 0xdeadbeef of /x/y\nmore")], "failed", "at 0x… of /y"),
        ([phase("t", "failed", why="x" * 300)], "failed", "x" * 199 + "…"),
    ],
)
def test_the_phases_of_a_test(phases: list[dict[str, Any]], outcome: str | None, why: str) -> None:
    run = read_sandbox_report([json.dumps(line) for line in phases], hide="/x")
    assert run.tests == ({"t": UpstreamOutcome(outcome, why)} if outcome else {})
