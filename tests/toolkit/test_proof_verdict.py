"""The verdict's JSON: the same for the same evidence, and refused where the evidence says less."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from publishing import LOSS, explored, make_pair, outcome, proof_of, run_of, subject_of

from toolkit.proof import summary
from toolkit.proof.explorer_run import ExplorerReport, parse
from toolkit.proof.race_suite import Outcome, SuiteReport
from toolkit.proof.verdict import Verdict
from toolkit.util.strict_json import Malformed

LOST, SAVED = outcome("failed", documented=True), outcome("passed", documented=True)
WIRE, BROKEN = outcome(check="wire"), outcome("failed", check="wire")
SKIPPED = outcome("skipped", check="wire", message="this release has no beta session")
FLAG = {"kind": "flag", "count": 1, "shortest": "call:A"}


def test_people_see_a_table_of_the_schedules() -> None:
    verdict = Verdict.of(subject_of(()), run_of({"a": LOST}), run_of({"a": SAVED}), explored())
    first, *table = summary.describe(verdict).splitlines()
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


def test_the_verdict_counts_what_was_lost_and_what_was_left_out() -> None:
    official = run_of({"a": LOST, "b": WIRE, "c": BROKEN, "d": SKIPPED, "e": WIRE})
    patched = run_of({"a": SAVED, "b": WIRE, "c": WIRE, "d": SKIPPED, "e": outcome("error")})
    verdict = Verdict.of(subject_of(()), official, patched, explored())
    side = verdict.official
    assert (side.passed, side.failed, side.skipped, side.lost) == (2, 2, 1, ("a",))
    side = verdict.patched
    assert (side.passed, side.failed, side.skipped, side.lost) == (3, 1, 1, ())
    assert verdict.tests["d"].reason == "this release has no beta session"


def test_the_json_of_a_verdict(tmp_path: Path) -> None:
    verdict = proof_of(make_pair(tmp_path, "+dispatched.1"))
    text = verdict.to_json()
    assert Verdict.parse(text) == verdict
    assert Verdict.parse(text).to_json() == text
    document = json.loads(text)
    assert list(document) == sorted(document)
    assert document["format"] == 4
    assert document["uploaded"] == "2026-10-24T02:32:37Z"
    assert document["tests"][LOSS] == {
        "official": "failed",
        "patched": "passed",
        "check": "loses-calls",
        "documented": True,
        "reason": "",
    }
    # the keys of published verdicts, whatever the fields are called today
    assert document["exploration"].keys() == {
        *("tier", "seed", "official", "patched", "compared", "covered", "pairs", "added")
    }
    assert document["exploration"]["official"].keys() == {
        *("levels", "violations", "recorded", "digest", "whole", "unlike")
    }
    assert (document["probe"], document["upstream"]) == (None, None)
    assert str(tmp_path) not in text


def test_the_json_depends_on_neither_order_nor_durations() -> None:
    first = {"a": LOST, "b": WIRE}
    slower = {"b": replace(WIRE, seconds=9.0), "a": replace(LOST, message="0x7f")}
    patched = run_of({"a": SAVED, "b": WIRE})
    verdicts = [
        Verdict.of(subject_of(()), run_of(tests), patched, explored()) for tests in (first, slower)
    ]
    assert verdicts[0].to_json() == verdicts[1].to_json()


def test_a_verdict_without_a_run() -> None:
    verdict = Verdict.inconclusive(subject_of(()), "other dependencies differ: a")
    assert Verdict.parse(verdict.to_json()) == verdict
    assert (verdict.verdict, verdict.reason) == ("inconclusive", "other dependencies differ: a")
    assert summary.describe(verdict) == "1.8.9: inconclusive: other dependencies differ: a"


def changed(document: object, path: tuple[str, ...], value: object) -> str:
    """``document`` as JSON with another value at ``path``; Ellipsis removes the key."""
    result: Any = copy.deepcopy(document)
    place = result
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(result)


# where, what, and what the error says
VERDICTS: list[tuple[tuple[str, ...], object, str]] = [
    (("surprise",), 1, "unknown keys: surprise"),
    (("series",), ..., "lacks series"),
    (("probe",), ..., "lacks probe"),
    (("revision",), True, "revision is bool, not int"),
    (("format",), 1, "not 4"),
    (("verdict",), "fine", "'fine'"),
    (("verdict",), "fixed", "its own tests say publish"),
    (("reason",), "because", "its own tests say publish"),
    (("tests", LOSS, "patched"), "failed", "its own tests say regressed"),
    (("tests", LOSS, "official"), "passed", "its own tests say inconclusive"),
    (("tests", LOSS, "patched"), "fine", "no outcome"),
    (("tests",), {}, "its own tests say inconclusive"),
    (("exploration",), None, "its own tests say inconclusive"),
    (("exploration", "tier"), "slow", "'slow'"),
    (("exploration", "compared"), 1, "its own tests say inconclusive"),
    (("exploration", "added"), {"call:A": ["refused"]}, "its own tests say regressed"),
    (("exploration", "patched", "violations"), {"twice": FLAG}, "its own tests say regressed"),
    (("exploration", "patched", "violations"), {"x": {**FLAG, "count": 0}}, "no violation"),
    (("exploration", "patched", "violations"), {"x": {**FLAG, "kind": "x"}}, "no violation"),
    (("official", "failed"), 7, "counts"),
    (("official", "lost"), [], "counts"),
    (("patched", "passed"), 7, "counts"),
    (("wheels", "other-1-py3-none-any.whl"), "0" * 64, "wheels are not of the distributions"),
    (("patched", "wheels"), {"other-1-py3-none-any.whl": "0" * 64}, "not those that were tested"),
    (("probe",), {"caught": -1, "missed": [], "schedules": {}, "trouble": ""}, "-1 tests cannot"),
]


@pytest.mark.parametrize(("path", "value", "message"), VERDICTS)
def test_a_verdict_that_its_evidence_does_not_bear_out(
    path: tuple[str, ...], value: object, message: str, tmp_path: Path
) -> None:
    document = json.loads(proof_of(make_pair(tmp_path, "+dispatched.1")).to_json())
    with pytest.raises(Malformed) as caught:
        Verdict.parse(changed(document, path, value))
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 1}', '{"format": 4}'])
def test_what_is_no_verdict(text: str) -> None:
    with pytest.raises(Malformed):
        Verdict.parse(text)


SUITE_REPORT: dict[str, Any] = {
    "format": 1,
    "python": "3.11.7",
    "distributions": {"livekit-agents": "1.8.9"},
    "tests": {
        test: {
            "outcome": "passed",
            "check": "wire",
            "documented": False,
            "message": "",
            "seconds": 1,
        }
        for test in ("t", "s")
    },
    "exitstatus": 0,
    "collected": 2,
}
EXPLORER_REPORT: dict[str, Any] = {
    "format": 2,
    "tier": "full",
    "seed": 0,
    "python": "3.11.7",
    "distributions": {"livekit-agents": "1.8.9"},
    "levels": {
        "agent": {"schedules": 9, "explored": 3, "scenarios": 1, "exhausted": 1, "seconds": 0.5}
    },
    "violations": {"twice": FLAG},
    "recorded": {},
    "digest": "d1",
    "schedules": {"call:A": ["twice"]},
    "spaces": {},
    "whole": {"schedules": 7, "seconds": 1, "unlike": ["call:B"]},
}


def test_reports_are_read() -> None:
    report = SuiteReport.parse(json.dumps(SUITE_REPORT))
    assert [*report.tests.items()] == [(t, Outcome("passed", "wire", False, "", 1)) for t in "st"]
    findings = parse(ExplorerReport, json.dumps(EXPLORER_REPORT)).findings
    assert (findings.unreduced, findings.mismatched) == (7, ("call:B",))
    assert (findings.schedules, findings.levels["agent"].explored) == (9, 3)


@pytest.mark.parametrize(
    ("read", "document", "path", "value"),
    [
        (SuiteReport.parse, SUITE_REPORT, ("format",), 2),
        (SuiteReport.parse, SUITE_REPORT, ("tests", "t", "outcome"), "xfailed"),
        (SuiteReport.parse, SUITE_REPORT, ("tests", "t", "documented"), "yes"),
        (SuiteReport.parse, SUITE_REPORT, ("exitstatus",), ...),
        (lambda text: parse(ExplorerReport, text), EXPLORER_REPORT, ("format",), 1),
        (lambda text: parse(ExplorerReport, text), EXPLORER_REPORT, ("schedules",), {}),
        (lambda text: parse(ExplorerReport, text), EXPLORER_REPORT, ("violations",), {}),
    ],
)
def test_a_report_of_another_shape(
    read: Callable[[str], object], document: object, path: tuple[str, ...], value: object
) -> None:
    with pytest.raises(Malformed):
        read(changed(document, path, value))
