"""The rules by which the tests and the schedules, run on both sides, become a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from toolkit.proof.exploration import FLAG, LOSS, Exploration
from toolkit.proof.probe import Probe
from toolkit.proof.race_report import OUTCOMES, Report
from toolkit.proof.race_suite import Run
from toolkit.upstream_tests.result import Upstream
from toolkit.util.strict_json import Malformed, members

LOSES_CALLS = "loses-calls"
ABSENT = "absent"
NOT_RUN = ("skipped", "deselected")


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


def compare(official: Report | None, patched: Report | None) -> dict[str, Compared]:
    """Each test of either report with its outcome in both; nothing if a report is missing."""
    if official is None or patched is None:
        return {}
    compared = {}
    for test in sorted(official.tests.keys() | patched.tests.keys()):
        ours, theirs = patched.tests.get(test), official.tests.get(test)
        known = theirs or ours
        assert known is not None
        reasons = {o.message: None for o in (theirs, ours) if o and o.outcome in NOT_RUN}
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


def judge(
    tests: Mapping[str, Compared],
    exploration: Exploration | None,
    probe: Probe | None = None,
    upstream: Upstream | None = None,
) -> tuple[str, str]:
    """The verdict over compared tests and schedules, and the reason for it; a pure function.

    ``probe`` is needed for the verdict ``fixed`` only: see :func:`lossless`. ``upstream`` is what
    upstream's own tests say, where they were asked: a regression there blocks ``publish``.
    """
    if unsound := _unsound(tests) or ("" if exploration is None else exploration.unsound()):
        return "inconclusive", unsound
    ran = _ran(tests)
    calls = [c for c in ran.values() if c.check == LOSES_CALLS]
    if not calls:
        return "inconclusive", "no test ran that could lose a call"
    if exploration is None:
        return "inconclusive", "no schedule was explored"
    explored = f"{exploration.official.schedules:,} schedules"
    lost = [c for c in calls if c.official == "failed"]
    if lossless(tests, exploration):
        if unfixed := _unfixed(ran, exploration, probe):
            return "inconclusive", f"the official wheels lose no call, but {unfixed}"
        return "fixed", (
            f"the official wheels lose no call in {len(calls)} tests and {explored} of the tier "
            f"{exploration.tier}, where a planted deletion is noticed"
        )
    if worse := _those(ran, lambda c: c.official == "passed" and c.patched != "passed"):
        return "regressed", f"{_count(worse)} pass on the official wheels and fail on the patched"
    if failing := _those(ran, lambda c: c.patched != "passed"):
        return "regressed", f"{_count(failing)} still fail on the patched wheels"
    if regressed := exploration.regressed():
        return "regressed", regressed
    if kept := _those(ran, lambda c: c.documented and c.official == "passed"):
        return "inconclusive", f"{_count(kept)} of a documented loss pass on the official wheels"
    if upstream and upstream.regressed:
        return "regressed", f"of upstream's own tests {_count([*upstream.regressed])} regressed"
    left_out = len(tests) - len(ran)
    known = exploration.official.violations.get(LOSS)
    return "publish", (
        f"the official wheels lose calls in {len(lost)} tests and on {known.count if known else 0} "
        f"of the schedules that were run, the patched in none of either; all {len(ran)} tests that "
        f"ran pass on the patched, {left_out} were left out with a reason; tier "
        f"{exploration.tier}: {explored} official, {exploration.patched.schedules:,} patched"
        + (f"; {upstream.said}" if upstream else "")
    )


def lossless(tests: Mapping[str, Compared], exploration: Exploration) -> bool:
    """Whether no call was lost on the official wheels: fixed, or not noticed."""
    calls = [c for c in _ran(tests).values() if c.check == LOSES_CALLS]
    return bool(calls) and all(c.official == "passed" for c in calls) and not exploration.loses


def _ran(tests: Mapping[str, Compared]) -> dict[str, Compared]:
    return {t: c for t, c in tests.items() if {c.official, c.patched}.isdisjoint(NOT_RUN)}


def _unfixed(ran: Mapping[str, Compared], exploration: Exploration, probe: Probe | None) -> str:
    """Why the series is needed all the same, or why nothing shows that it is not; or nothing."""
    if failing := _those(ran, lambda c: c.official != "passed"):
        return f"{_count(failing)} fail on them"
    if broken := exploration.official.of_kind(FLAG):
        return f"break {', '.join(sorted(broken))} ({min(b.shortest for b in broken.values())})"
    if probe is None:
        return "nothing shows that the suite has teeth here"
    return f"the suite has no teeth here: {probe.toothless}" if probe.toothless else ""


def _unsound(tests: Mapping[str, Compared]) -> str:
    rules = (
        (lambda c: ABSENT in (c.official, c.patched), "ran on one side only"),
        (lambda c: c.official != c.patched and _left(c), "were left out on one side"),
        (lambda c: _left(c) and not c.reason, "were left out without a reason"),
        (lambda c: c.official == "error", "broke down on the official wheels"),
    )
    for rule, what in rules:
        if found := _those(tests, rule):
            return f"{_count(found)} {what}"
    return ""


def _left(compared: Compared) -> bool:
    return compared.official in NOT_RUN or compared.patched in NOT_RUN


def _those(tests: Mapping[str, Compared], rule: Callable[[Compared], bool]) -> list[str]:
    return [test for test, compared in tests.items() if rule(compared)]


def _count(tests: list[str]) -> str:
    return f"{len(tests)} tests (the first: {min(tests)})"


def parse_test(raw: object, where: str) -> Compared:
    """Read a test as it stands in a verdict. Raises Malformed."""
    texts = dict.fromkeys(("official", "patched", "check", "reason"), str)
    found = members(raw, where, {"documented": bool, **texts}, {})
    for side in ("official", "patched"):
        if found[side] not in (*OUTCOMES, ABSENT):
            raise Malformed(f"{where}.{side} is {found[side]!r}, which is no outcome")
    return Compared(**found)
