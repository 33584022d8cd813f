"""The rules by which the tests and the schedules, run on both sides, become a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from toolkit.proof.exploration import FLAG, LOSS, Exploration
from toolkit.proof.fault_injection import FaultInjection
from toolkit.proof.race_suite import LOSES_CALLS, NOT_RUN, OUTCOMES, SuiteReport, SuiteRun
from toolkit.upstream_tests.result import UpstreamResult

ABSENT = "absent"


@dataclass(frozen=True)
class Compared:
    """One test on both sides: each outcome is one of the suite's, or ``absent``.

    ``reason`` says why a test was skipped or deselected, and is empty for one that ran.
    """

    official: str
    patched: str
    check: str
    documented: bool
    reason: str

    def __post_init__(self) -> None:
        for outcome in (self.official, self.patched):
            if outcome not in (*OUTCOMES, ABSENT):
                raise ValueError(f"{outcome!r} is no outcome")

    @property
    def left_out(self) -> bool:
        """Whether the test did not run on some side."""
        return self.official in NOT_RUN or self.patched in NOT_RUN


def compare_reports(
    official: SuiteReport | None, patched: SuiteReport | None
) -> dict[str, Compared]:
    """Pair the outcomes of every test of either report; {} if a report is missing."""
    if official is None or patched is None:
        return {}
    compared = {}
    for test in sorted(official.tests.keys() | patched.tests.keys()):
        before, after = official.tests.get(test), patched.tests.get(test)
        outcomes = [outcome for outcome in (before, after) if outcome]
        reasons = dict.fromkeys(o.message for o in outcomes if o.outcome in NOT_RUN)
        compared[test] = Compared(
            official=before.outcome if before else ABSENT,
            patched=after.outcome if after else ABSENT,
            check=outcomes[0].check,
            documented=outcomes[0].documented,
            reason=" / ".join(reason for reason in reasons if reason),
        )
    return compared


def incomparable(official: SuiteRun, patched: SuiteRun) -> str:
    """Return why two runs of the suite cannot be compared at all; "" if they can."""
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
    for test, before in official.report.tests.items():
        after = patched.report.tests.get(test, before)
        if (before.check, before.documented) != (after.check, after.documented):
            return f"{test} is marked differently on the official and on the patched wheels"
    return ""


def judge(
    tests: Mapping[str, Compared],
    exploration: Exploration | None,
    probe: FaultInjection | None = None,
    upstream: UpstreamResult | None = None,
) -> tuple[str, str]:
    """Return the verdict on compared tests and schedules, and the reason for it.

    A pure function. ``probe`` counts for the verdict ``fixed`` only: see :func:`no_loss`.
    ``upstream`` is the result of upstream's own tests, if they were run: a regression there
    blocks ``publish``.
    """
    # Can anything be concluded at all?
    if unsound := _unsound(tests) or ("" if exploration is None else exploration.unsound()):
        return "inconclusive", unsound
    ran = _ran(tests)
    calls = [c for c in ran.values() if c.check == LOSES_CALLS]
    if not calls:
        return "inconclusive", "no test ran that could lose a call"
    if exploration is None:
        return "inconclusive", "no schedule was explored"
    explored = f"{exploration.official.schedules:,} schedules"
    # Do the official wheels still need the series?
    if no_loss(tests, exploration):
        if doubt := _not_fixed(ran, exploration, probe):
            return "inconclusive", f"the official wheels lose no call, but {doubt}"
        return "fixed", (
            f"the official wheels lose no call in {len(calls)} tests and {explored} of the tier "
            f"{exploration.tier}, where a planted deletion is noticed"
        )
    # Do the patched wheels break anything?
    if worse := _select(ran, lambda c: c.official == "passed" and c.patched != "passed"):
        return "regressed", f"{_count(worse)} pass on the official wheels and fail on the patched"
    if failing := _select(ran, lambda c: c.patched != "passed"):
        return "regressed", f"{_count(failing)} still fail on the patched wheels"
    if regressed := exploration.regressed():
        return "regressed", regressed
    # Does the suite see every loss that it has to see?
    if missed := _select(ran, lambda c: c.documented and c.official == "passed"):
        return "inconclusive", f"{_count(missed)} of a documented loss pass on the official wheels"
    if upstream and upstream.regressed:
        return "regressed", f"of upstream's own tests {_count([*upstream.regressed])} regressed"
    return "publish", _publishable(tests, exploration, upstream)


def _publishable(
    tests: Mapping[str, Compared], exploration: Exploration, upstream: UpstreamResult | None
) -> str:
    ran = _ran(tests)
    lost = _select(ran, lambda c: c.check == LOSES_CALLS and c.official == "failed")
    losing = exploration.official.violations.get(LOSS)
    return (
        f"the official wheels lose calls in {len(lost)} tests and on "
        f"{losing.count if losing else 0} of the schedules that were run, the patched in none of "
        f"either; all {len(ran)} tests that ran pass on the patched, {len(tests) - len(ran)} were "
        f"left out with a reason; tier {exploration.tier}: {exploration.official.schedules:,} "
        f"schedules official, {exploration.patched.schedules:,} patched"
        + (f"; {upstream.sentence}" if upstream else "")
    )


def no_loss(tests: Mapping[str, Compared], exploration: Exploration) -> bool:
    """Return whether the official wheels lost no call: it is fixed, or was not noticed."""
    calls = [c for c in _ran(tests).values() if c.check == LOSES_CALLS]
    return bool(calls) and all(c.official == "passed" for c in calls) and not exploration.loses


def _not_fixed(
    ran: Mapping[str, Compared], exploration: Exploration, probe: FaultInjection | None
) -> str:
    """Why official wheels that lose no call do not end the series yet; "" if they do."""
    if failing := _select(ran, lambda c: c.official != "passed"):
        return f"{_count(failing)} fail on them"
    if broken := exploration.official.of_kind(FLAG):
        return f"break {', '.join(sorted(broken))} ({min(b.shortest for b in broken.values())})"
    if probe is None:
        return "nothing shows that the suite would notice a loss here"
    return f"the suite would not notice a loss here: {probe.unnoticed}" if probe.unnoticed else ""


def _unsound(tests: Mapping[str, Compared]) -> str:
    """Why compared tests prove nothing; "" if they may."""
    rules: tuple[tuple[Callable[[Compared], bool], str], ...] = (
        (lambda c: ABSENT in (c.official, c.patched), "ran on one side only"),
        (lambda c: c.left_out and c.official != c.patched, "were left out on one side"),
        (lambda c: c.left_out and not c.reason, "were left out without a reason"),
        (lambda c: c.official == "error", "broke down on the official wheels"),
    )
    for rule, problem in rules:
        if tests_with_it := _select(tests, rule):
            return f"{_count(tests_with_it)} {problem}"
    return ""


def _ran(tests: Mapping[str, Compared]) -> dict[str, Compared]:
    return {test: compared for test, compared in tests.items() if not compared.left_out}


def _select(tests: Mapping[str, Compared], rule: Callable[[Compared], bool]) -> list[str]:
    return [test for test, compared in tests.items() if rule(compared)]


def _count(tests: list[str]) -> str:
    return f"{len(tests)} tests (the first: {min(tests)})"
