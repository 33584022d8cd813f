"""What the race suite, run on the official and on the patched wheels, says of a release."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from .strict import Malformed, mapping_of, members, value_of
from .suite import OUTCOMES, Report, Run

FORMAT = 1
VERDICTS = ("publish", "fixed", "conflict", "regressed", "inconclusive")
LOSES_CALLS = "loses-calls"
ABSENT = "absent"
_NOT_RUN = ("skipped", "deselected")


@dataclass(frozen=True)
class Compared:
    """One test on both: each outcome is one of the suite's, or ``absent``.

    ``reason`` says why a test was skipped or deselected, and is empty for one that ran.
    """

    official: str
    patched: str
    check: str
    documented: bool
    reason: str


@dataclass(frozen=True)
class Side:
    """One set of wheels under the suite.

    ``wheels``: file name -> sha256; ``lost``: the ids of the tests that lost a call.
    """

    wheels: Mapping[str, str]
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """What a verdict is about.

    ``official``, ``patched``: file name -> sha256 of every wheel that was installed, so that
    ``patched`` holds the official partner too where it needs no patch; ``series``, ``suite``:
    digests; ``revision``: the number in the local version; ``python``: the interpreter's version.
    """

    release: str
    uploaded: datetime
    official: Mapping[str, str]
    patched: Mapping[str, str]
    series: str
    revision: int
    suite: str
    python: str


@dataclass(frozen=True)
class Verdict:
    """One of VERDICTS, the reason for it, and all that it rests on.

    Holds neither a time nor a path of the machine that made it: the same inputs give the same
    bytes. ``wheels`` (file name -> sha256) are what may be published if it says ``publish``,
    ``dependencies`` (project -> version) what was installed beside them on both sides.
    """

    release: str
    verdict: str
    reason: str
    official: Side
    patched: Side
    wheels: Mapping[str, str]
    series: str
    revision: int
    suite: str
    python: str
    uploaded: str
    tests: Mapping[str, Compared] = field(default_factory=dict)
    dependencies: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        subject: Subject,
        official: Run,
        patched: Run,
        dependencies: Mapping[str, str] | None = None,
    ) -> Verdict:
        """Judge two runs of the suite over ``subject``."""
        tests = compare(official.report, patched.report)
        trouble = troubles(official, patched)
        verdict, reason = ("inconclusive", trouble) if trouble else judge(tests)
        return cls._make(subject, verdict, reason, tests, dependencies or {})

    @classmethod
    def conflict(cls, subject: Subject, reason: str) -> Verdict:
        """The verdict on a release that the series does not apply to; nothing ran."""
        return cls._make(subject, "conflict", reason, {})

    @classmethod
    def inconclusive(cls, subject: Subject, reason: str) -> Verdict:
        """The verdict on a release whose environments could not be had; nothing ran."""
        return cls._make(subject, "inconclusive", reason, {})

    @classmethod
    def _make(
        cls,
        subject: Subject,
        verdict: str,
        reason: str,
        tests: Mapping[str, Compared],
        dependencies: Mapping[str, str] | None = None,
    ) -> Verdict:
        return cls(
            release=subject.release,
            verdict=verdict,
            reason=reason,
            official=_side(subject.official, {t: c.official for t, c in tests.items()}, tests),
            patched=_side(subject.patched, {t: c.patched for t, c in tests.items()}, tests),
            wheels=dict(subject.patched),
            series=subject.series,
            revision=subject.revision,
            suite=subject.suite,
            python=subject.python,
            uploaded=subject.uploaded.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            tests=tests,
            dependencies=dict(dependencies or {}),
        )

    def to_json(self) -> str:
        """The verdict as JSON text, byte for byte the same for equal verdicts."""
        document = {"format": FORMAT, **asdict(self)}
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str) -> Verdict:
        """Read what :meth:`to_json` wrote, and judge its tests again.

        Raises Malformed for another format, and for a verdict that its own tests do not bear out.
        """
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise Malformed(f"the verdict is not JSON: {error}") from error
        texts = ("release", "verdict", "reason", "series", "suite", "python", "uploaded")
        folders = ("official", "patched", "wheels", "tests", "dependencies")
        keys = {"format": int, "revision": int} | dict.fromkeys(texts, str)
        found = members(document, "the verdict", keys | dict.fromkeys(folders, dict), {})
        if found.pop("format") != FORMAT:
            raise Malformed(f"the verdict is not of format {FORMAT}")
        for name in ("wheels", "dependencies"):
            found[name] = mapping_of(found[name], str, name)
        for side in ("official", "patched"):
            found[side] = _parse_side(found[side], side)
        found["tests"] = {test: _parse_test(raw, test) for test, raw in found["tests"].items()}
        verdict = cls(**found)
        verdict._hold_together()
        return verdict

    def _hold_together(self) -> None:
        if self.verdict not in VERDICTS:
            raise Malformed(f"the verdict is {self.verdict!r}, which is none of {VERDICTS}")
        judged = judge(self.tests)
        if self.verdict in ("publish", "fixed", "regressed"):
            if judged != (self.verdict, self.reason):
                raise Malformed(f"its own tests say {judged[0]} ({judged[1]}), not {self.verdict}")
            for side, outcomes in (
                (self.official, {t: c.official for t, c in self.tests.items()}),
                (self.patched, {t: c.patched for t, c in self.tests.items()}),
            ):
                if side != _side(side.wheels, outcomes, self.tests):
                    raise Malformed("the verdict's counts are not those of its tests")
        if self.wheels != self.patched.wheels:
            raise Malformed("the verdict's wheels are not those that were tested")


def compare(official: Report | None, patched: Report | None) -> dict[str, Compared]:
    """Each test of either report with its outcome in both; nothing if a report is missing."""
    if official is None or patched is None:
        return {}
    compared = {}
    for test in sorted(official.tests.keys() | patched.tests.keys()):
        ours, theirs = patched.tests.get(test), official.tests.get(test)
        known = theirs or ours
        assert known is not None
        reasons = {o.message: None for o in (theirs, ours) if o and o.outcome in _NOT_RUN}
        compared[test] = Compared(
            official=theirs.outcome if theirs else ABSENT,
            patched=ours.outcome if ours else ABSENT,
            check=known.check,
            documented=known.documented,
            reason=" / ".join(reason for reason in reasons if reason),
        )
    return compared


def troubles(official: Run, patched: Run) -> str:
    """Why two runs cannot be compared at all, or nothing."""
    for side, run in (("official", official), ("patched", patched)):
        if run.report is None:
            return f"on the {side} wheels {run.trouble}"
        if run.report.exitstatus not in (0, 1):
            return f"on the {side} wheels pytest ended with exit code {run.report.exitstatus}"
        if run.report.collected != len(run.report.tests):
            ran, collected = len(run.report.tests), run.report.collected
            return f"on the {side} wheels {collected} tests were collected and {ran} reported"
    assert official.report is not None
    assert patched.report is not None
    if official.report.python != patched.report.python:
        return f"Python {official.report.python} ran one suite, {patched.report.python} the other"
    for test, theirs in official.report.tests.items():
        ours = patched.report.tests.get(test, theirs)
        if (theirs.check, theirs.documented) != (ours.check, ours.documented):
            return f"{test} is marked differently on the official and on the patched wheels"
    return ""


def judge(tests: Mapping[str, Compared]) -> tuple[str, str]:
    """The verdict over compared tests and the reason for it; a pure function."""
    ran = {t: c for t, c in tests.items() if {c.official, c.patched}.isdisjoint(_NOT_RUN)}
    calls = [c for c in ran.values() if c.check == LOSES_CALLS]
    unsound = (
        (_those(tests, lambda c: ABSENT in (c.official, c.patched)), "ran on one side only"),
        (
            _those(tests, lambda c: c.official != c.patched and _left(c)),
            "were left out on one side",
        ),
        (_those(tests, lambda c: _left(c) and not c.reason), "were left out without a reason"),
        (_those(tests, lambda c: c.official == "error"), "broke down on the official wheels"),
    )
    for found, what in unsound:
        if found:
            return "inconclusive", f"{_count(found)} {what}"
    if not calls:
        return "inconclusive", "no test ran that could lose a call"
    lost = [c for c in calls if c.official == "failed"]
    if not lost:
        return "fixed", f"the official wheels lose no call in {len(calls)} tests"
    worse = _those(ran, lambda c: c.official == "passed" and c.patched != "passed")
    if worse:
        return "regressed", f"{_count(worse)} pass on the official wheels and fail on the patched"
    failing = _those(ran, lambda c: c.patched != "passed")
    if failing:
        return "regressed", f"{_count(failing)} still fail on the patched wheels"
    kept = _those(ran, lambda c: c.documented and c.official == "passed")
    if kept:
        return "inconclusive", f"{_count(kept)} of a documented loss pass on the official wheels"
    left_out = len(tests) - len(ran)
    return "publish", (
        f"the official wheels lose calls in {len(lost)} tests and the patched in none; "
        f"all {len(ran)} that ran pass on the patched, {left_out} were left out with a reason"
    )


def _left(compared: Compared) -> bool:
    return compared.official in _NOT_RUN or compared.patched in _NOT_RUN


def _those(tests: Mapping[str, Compared], rule: Callable[[Compared], bool]) -> list[str]:
    return [test for test, compared in tests.items() if rule(compared)]


def _count(tests: list[str]) -> str:
    return f"{len(tests)} tests (the first: {min(tests)})"


def _side(
    wheels: Mapping[str, str], outcomes: Mapping[str, str], tests: Mapping[str, Compared]
) -> Side:
    failed = sorted(test for test, outcome in outcomes.items() if outcome in ("failed", "error"))
    return Side(
        wheels=dict(wheels),
        passed=sum(outcome == "passed" for outcome in outcomes.values()),
        failed=len(failed),
        skipped=sum(outcome in _NOT_RUN for outcome in outcomes.values()),
        lost=tuple(test for test in failed if tests[test].check == LOSES_CALLS),
    )


def _parse_side(raw: object, where: str) -> Side:
    numbers = dict.fromkeys(("passed", "failed", "skipped"), int)
    found: dict[str, Any] = members(raw, where, {"wheels": dict, "lost": list, **numbers}, {})
    found["wheels"] = mapping_of(found["wheels"], str, f"{where}.wheels")
    found["lost"] = tuple(value_of(test, str, f"{where}.lost") for test in found["lost"])
    return Side(**found)


def _parse_test(raw: object, where: str) -> Compared:
    texts = dict.fromkeys(("official", "patched", "check", "reason"), str)
    found = members(raw, where, {"documented": bool, **texts}, {})
    for side in ("official", "patched"):
        if found[side] not in (*OUTCOMES, ABSENT):
            raise Malformed(f"{where}.{side} is {found[side]!r}, which is no outcome")
    return Compared(**found)
