"""What the explorer of the race suite found: every schedule, on the official and patched wheels.

The oracle is differential. The patched wheels must break no invariant of the flag on any schedule,
and hold one object on both sides; any other check they may break only on schedules on which the
official wheels break it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.proof.settings import TIERS

LEVELS = ("session", "agent")
# SHARED checks say how the series works; official wheels with another cure may break them
FLAG, SHARED, DIFFERENTIAL = "flag", "shared", "differential"
LOSS = "deleted-in-flight"


@dataclass(frozen=True)
class Level:
    """How far one of LEVELS was explored.

    ``schedules`` were decided by ``explored`` runs, in ``scenarios``, ``exhausted`` of which left
    no schedule out.
    """

    schedules: int
    explored: int
    scenarios: int
    exhausted: int


@dataclass(frozen=True)
class Violation:
    """An invariant that was broken, on ``count`` of the schedules that were run.

    ``kind`` is FLAG, SHARED or DIFFERENTIAL, ``shortest`` a schedule to replay.
    """

    kind: str
    count: int
    shortest: str

    def __post_init__(self) -> None:
        if self.kind not in (FLAG, SHARED, DIFFERENTIAL) or self.count < 1:
            raise ValueError(f"no violation: {self.count} of the kind {self.kind!r}")


@dataclass(frozen=True)
class Findings:
    """One set of wheels under the explorer; ``recorded`` counts what the flag's contract allows.

    ``unreduced`` counts schedules also run without reduction; ``mismatched`` lists those whose
    result differs from their representative's. ``digest`` covers all results.
    """

    levels: Mapping[str, Level]
    violations: Mapping[str, Violation]
    recorded: Mapping[str, int]
    digest: str
    unreduced: int = field(default=0, metadata={"json_name": "whole"})
    mismatched: tuple[str, ...] = field(default=(), metadata={"json_name": "unlike"})

    @property
    def schedules(self) -> int:
        """How many schedules were decided on all levels."""
        return sum(level.schedules for level in self.levels.values())

    def of_kind(self, *kinds: str) -> dict[str, Violation]:
        """Return the violations of these kinds, by name."""
        return {name: broken for name, broken in self.violations.items() if broken.kind in kinds}


@dataclass(frozen=True)
class Comparison:
    """What became of the patched wheels' results when the official wheels ran the same schedules.

    ``compared`` counts the results in which the patched wheels break a DIFFERENTIAL check, and
    ``covered`` the schedules that these stand for: all of them in a space that was exhausted. Each
    was compared with the official wheels, in so many ``pairs`` of classes of equivalent schedules;
    ``added`` maps schedules on which the official wheels break less to what they do not break.
    """

    compared: int
    covered: int
    pairs: int
    added: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Exploration(Comparison):
    """Both sets of wheels under the explorer, and how they compare."""

    tier: str
    seed: int
    official: Findings
    patched: Findings

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise ValueError(f"the tier is {self.tier!r}, which is none of {TIERS}")

    @property
    def loses(self) -> bool:
        """Whether the official wheels lose a call."""
        return LOSS in self.official.violations

    @property
    def failing(self) -> str:
        """The shortest schedule on which the patched wheels do what they must not; "" if none."""
        broken = self.patched.of_kind(FLAG, SHARED).values()
        return min([*(b.shortest for b in broken), *self.added], key=_shortness, default="")

    def unsound(self) -> str:
        """Return why it proves nothing, whatever was found; "" if it may."""
        # both sides have to have explored the same
        sides = {"official": self.official, "patched": self.patched}
        explored = [{n: level.scenarios for n, level in s.levels.items()} for s in sides.values()]
        if explored[0] != explored[1]:
            return "the schedules are not those of the same scenarios on both sides"
        kinds = [{n: broken.kind for n, broken in s.violations.items()} for s in sides.values()]
        if any(kinds[0][name] != kinds[1][name] for name in kinds[0].keys() & kinds[1].keys()):
            return "the two sides do not agree on what belongs to the flag"
        # each side has to have explored every level, by a reduction that holds
        for side, findings in sides.items():
            if not findings.schedules:
                return f"no schedule was explored on the {side} wheels"
            if missing := [level for level in LEVELS if level not in findings.levels]:
                return f"no schedule of the {missing[0]} level was explored on the {side} wheels"
            if mismatched := findings.mismatched:
                count = f"{len(mismatched)} schedules (the first: {min(mismatched)})"
                return f"on the {side} wheels {count} are unlike those that stand for them"
            if self.tier == "full" and not findings.unreduced:
                return f"on the {side} wheels no space was run whole"
        # all that can be worse has to have been compared
        broken = self.patched.of_kind(DIFFERENTIAL).values()
        most = max((violation.count for violation in broken), default=0)
        if most > self.compared:
            return f"only {self.compared} of {most} results were compared with the official wheels"
        if min(self.covered, self.pairs) < self.compared:
            return f"{self.compared} results cannot stand for {self.covered} schedules"
        return ""

    def regressed(self) -> str:
        """Return what the patched wheels break that they must not; "" if nothing."""
        if broken := self.patched.of_kind(FLAG, SHARED):
            name = min(broken, key=lambda name: _shortness(broken[name].shortest))
            names = ", ".join(sorted(broken))
            return f"the patched wheels break {names} ({name}: {broken[name].shortest})"
        if self.added:
            names = ", ".join(sorted({name for names in self.added.values() for name in names}))
            return (
                f"the patched wheels break {names} on {len(self.added)} schedules "
                f"on which the official wheels do not (the first: {self.failing})"
            )
        return ""


def _shortness(schedule: str) -> tuple[int, str]:
    return len(schedule.rpartition(":")[2]), schedule


@dataclass(frozen=True)
class Explored:
    """What came of exploring both sides: the result, or None and the reason why there is none."""

    exploration: Exploration | None
    trouble: str = ""
    output: str = ""
