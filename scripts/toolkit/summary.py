"""What a verdict says, for people."""

from __future__ import annotations

from .exploration import Exploration
from .verdict import Verdict


def of(verdict: Verdict) -> str:
    """The verdict, its reason, and a table of what the schedules broke on either side."""
    lines = [f"{verdict.release}: {verdict.verdict}: {verdict.reason}"]
    if verdict.exploration is not None:
        lines += _explored(verdict.exploration)
    return "\n".join(lines)


def _explored(exploration: Exploration) -> list[str]:
    sides = (exploration.official, exploration.patched)
    rows = [["broken on schedules", "official", "patched", "replay"]]
    names = dict.fromkeys(name for side in sides for name in side.violations)
    for name in names:
        found = [side.violations.get(name) for side in sides]
        counts = [str(one.count) if one else "" for one in found]
        shortest = next(one.shortest for one in reversed(found) if one)
        rows.append([name, *counts, shortest])
    for name in dict.fromkeys(name for side in sides for name in side.recorded):
        counts = [str(side.recorded.get(name, "")) for side in sides]
        rows.append([f"({name})", *counts, "recorded, not judged"])
    explored = [f"{side.schedules:,} schedules" for side in sides]
    runs = [f"by {sum(level.explored for level in side.levels.values())} runs" for side in sides]
    rows[1:1] = [[f"tier {exploration.tier}", *explored, ""], ["", *runs, ""]]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  "
        + f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()
        for row in rows
    ]
