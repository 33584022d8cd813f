"""What a verdict says, for people."""

from __future__ import annotations

from toolkit.proof.exploration import Exploration
from toolkit.proof.verdict import Verdict


def of(verdict: Verdict) -> str:
    """The verdict, its reason, and a table of what the schedules broke on either side."""
    lines = [f"{verdict.release}: {verdict.verdict}: {verdict.reason}"]
    if verdict.exploration is not None:
        lines += _explored(verdict.exploration)
    if verdict.upstream is not None:
        lines += verdict.upstream.lines
    return "\n".join(lines)


def _explored(exploration: Exploration) -> list[str]:
    sides = (exploration.official, exploration.patched)
    rows = [[f"tier {exploration.tier}", "official", "patched", ""]]
    for name in dict.fromkeys(name for side in sides for name in side.levels):
        levels = [side.levels[name] for side in sides]
        rows.append([f"{name} level", *(f"{level.schedules:,} schedules" for level in levels), ""])
        rows.append(["", *(f"by {level.explored:,} runs" for level in levels), ""])
    rows.append(["broken on", "of those run", "of those run", "replay"])
    for name in dict.fromkeys(name for side in sides for name in side.violations):
        found = [side.violations.get(name) for side in sides]
        counts = [f"{one.count:,}" if one else "" for one in found]
        shortest = next(one.shortest for one in reversed(found) if one)
        rows.append([name, *counts, shortest])
    for name in dict.fromkeys(name for side in sides for name in side.recorded):
        counts = [f"{side.recorded.get(name, 0):,}" for side in sides]
        rows.append([f"({name})", *counts, "recorded, not judged"])
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = [
        f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()
        for row in rows
    ]
    compared = (
        f"  {exploration.compared:,} results of the patched, which stand for "
        f"{exploration.covered:,} schedules, were held against the official wheels: "
        f"{len(exploration.added):,} are worse"
    )
    return [*table, compared] if exploration.compared else table
