"""Text for people: a verdict, and why it is not ``publish``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toolkit.proof.exploration import Exploration, Explored
from toolkit.proof.race_suite import SuiteRun
from toolkit.proof.verdict import Verdict

# how many failing tests, and how many lines of a failing program, are shown
SHOWN = 20


def describe(verdict: Verdict) -> str:
    """Return the verdict, its reason, and a table of what the schedules broke on either side."""
    lines = [f"{verdict.release}: {verdict.verdict}: {verdict.reason}"]
    if verdict.exploration is not None:
        lines += _table(verdict.exploration)
    if verdict.upstream is not None:
        lines += verdict.upstream.lines
    return "\n".join(lines)


def _table(exploration: Exploration) -> list[str]:
    sides = (exploration.official, exploration.patched)
    rows = [[f"tier {exploration.tier}", "official", "patched", ""]]
    for name in dict.fromkeys(name for side in sides for name in side.levels):
        levels = [side.levels[name] for side in sides]
        rows.append([f"{name} level", *(f"{level.schedules:,} schedules" for level in levels), ""])
        rows.append(["", *(f"by {level.explored:,} runs" for level in levels), ""])
    rows.append(["broken on", "of those run", "of those run", "replay"])
    for name in dict.fromkeys(name for side in sides for name in side.violations):
        broken = [side.violations.get(name) for side in sides]
        counts = [f"{violation.count:,}" if violation else "" for violation in broken]
        shortest = next(violation.shortest for violation in reversed(broken) if violation)
        rows.append([name, *counts, shortest])
    for name in dict.fromkeys(name for side in sides for name in side.recorded):
        counts = [f"{side.recorded.get(name, 0):,}" for side in sides]
        rows.append([f"({name})", *counts, "recorded, not judged"])
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()
        for row in rows
    ]
    if exploration.compared:
        lines.append(
            f"  {exploration.compared:,} results of the patched, which stand for "
            f"{exploration.covered:,} schedules, were held against the official wheels: "
            f"{len(exploration.added):,} are worse"
        )
    return lines


def explain(runs: Sequence[SuiteRun], explored: Explored, text: str) -> Iterator[str]:
    """Yield why the patched wheels may not be published: tests, then the counterexample.

    ``text`` is the picture of the counterexample, if there is one.
    """
    for side, run in zip(("official", "patched"), runs, strict=True):
        if run.report is None:
            yield f"{side} wheels: {run.trouble}"
            yield from (f"  {line}" for line in run.output.splitlines()[-SHOWN:])
            continue
        wrong = ("error", "failed") if side == "patched" else ("error",)
        failing = [
            f"{side} wheels: {test}: {outcome.message}"
            for test, outcome in run.report.tests.items()
            if outcome.outcome in wrong
        ]
        yield from failing[:SHOWN]
        if len(failing) > SHOWN:
            yield f"{side} wheels: and {len(failing) - SHOWN} more"
    if explored.trouble:
        yield explored.trouble
        yield from explored.output.splitlines()[-SHOWN:]
    elif explored.exploration and explored.exploration.failing:
        yield f"patched wheels: replay {explored.exploration.failing}"
        yield from text.splitlines()
