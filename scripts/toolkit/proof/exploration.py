"""What the explorer of the race suite found: every schedule, on the official and patched wheels.

The oracle is differential. The patched wheels must break no invariant of the flag on any schedule;
any other check they may break only on schedules on which the official wheels break it too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.proof.probe import LEVELS
from toolkit.util.strict_json import Malformed, mapping_of, members, value_of

FORMAT = 2
TIERS = ("quick", "full")
FLAG, DIFFERENTIAL = "flag", "differential"
LOSS = "deleted-in-flight"


@dataclass(frozen=True)
class Level:
    """How far one level ("session" or "agent") was explored.

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

    ``kind`` is FLAG or DIFFERENTIAL, ``shortest`` a schedule to replay.
    """

    kind: str
    count: int
    shortest: str


@dataclass(frozen=True)
class Findings:
    """One set of wheels under the explorer; ``recorded`` counts what the flag's contract allows.

    ``whole`` counts the schedules that were also run one by one, and ``unlike`` are those whose
    result differs from that of the schedule that stands for them. ``digest`` covers all results.
    """

    levels: Mapping[str, Level]
    violations: Mapping[str, Violation]
    recorded: Mapping[str, int]
    digest: str
    whole: int = 0
    unlike: tuple[str, ...] = ()

    @property
    def schedules(self) -> int:
        return sum(level.schedules for level in self.levels.values())

    def of_kind(self, kind: str) -> dict[str, Violation]:
        """The violations of one kind."""
        return {name: found for name, found in self.violations.items() if found.kind == kind}


@dataclass(frozen=True)
class Exploration:
    """Both sets of wheels under the explorer.

    ``compared`` counts the results in which the patched wheels break a DIFFERENTIAL check, and
    ``covered`` the schedules that these stand for: all of them in a space that was exhausted. Each
    was held against the official wheels, in so many ``pairs`` of classes of equivalent schedules;
    ``added`` maps schedules on which the official wheels break less to what they do not break.
    """

    tier: str
    seed: int
    official: Findings
    patched: Findings
    compared: int
    covered: int
    pairs: int
    added: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def loses(self) -> bool:
        """Whether the official wheels lose a call."""
        return LOSS in self.official.violations

    @property
    def failing(self) -> str:
        """The schedule that speaks most plainly against the patched wheels, or nothing."""
        broken = self.patched.of_kind(FLAG).values()
        return min([*(found.shortest for found in broken), *self.added], key=_shortness, default="")

    def unsound(self) -> str:
        """Why it proves nothing, whatever it found; or nothing."""
        sides = {"official": self.official, "patched": self.patched}
        explored = [{n: level.scenarios for n, level in s.levels.items()} for s in sides.values()]
        if explored[0] != explored[1]:
            return "the schedules are not those of the same scenarios on both sides"
        kinds = [{name: found.kind for name, found in s.violations.items()} for s in sides.values()]
        if any(kinds[0][name] != kinds[1][name] for name in kinds[0].keys() & kinds[1].keys()):
            return "the two sides do not agree on what belongs to the flag"
        for side, found in sides.items():
            if not found.schedules:
                return f"no schedule was explored on the {side} wheels"
            if blind := [level for level in LEVELS if level not in found.levels]:
                return f"no schedule of the {blind[0]} level was explored on the {side} wheels"
            if found.unlike:
                count = f"{len(found.unlike)} schedules (the first: {min(found.unlike)})"
                return f"on the {side} wheels {count} are unlike those that stand for them"
            if self.tier == "full" and not found.whole:
                return f"on the {side} wheels no space was run whole"
        most = max(
            [found.count for found in self.patched.of_kind(DIFFERENTIAL).values()], default=0
        )
        if most > self.compared:
            return f"only {self.compared} of {most} results were compared with the official wheels"
        if min(self.covered, self.pairs) < self.compared:
            return f"{self.compared} results cannot stand for {self.covered} schedules"
        return ""

    def regressed(self) -> str:
        """What the patched wheels break that they must not; or nothing."""
        if broken := self.patched.of_kind(FLAG):
            name, found = min(broken.items(), key=lambda item: _shortness(item[1].shortest))
            return (
                f"the patched wheels break {', '.join(sorted(broken))} ({name}: {found.shortest})"
            )
        if self.added:
            names = sorted({name for names in self.added.values() for name in names})
            return (
                f"the patched wheels break {', '.join(names)} on {len(self.added)} schedules "
                f"on which the official wheels do not (the first: {self.failing})"
            )
        return ""

    @classmethod
    def parse(cls, document: object, where: str) -> Exploration:
        """Read it as it stands in a verdict. Raises Malformed."""
        keys: dict[str, type] = dict.fromkeys(("seed", "compared", "covered", "pairs"), int)
        keys |= {"tier": str, "official": dict, "patched": dict, "added": dict}
        found = members(document, where, keys, {})
        if found["tier"] not in TIERS:
            raise Malformed(f"{where}.tier is {found['tier']!r}, which is none of {TIERS}")
        for side in ("official", "patched"):
            found[side] = parse_findings(found[side], f"{where}.{side}")
        found["added"] = schedules_of(found["added"], f"{where}.added")
        return cls(**found)


@dataclass(frozen=True)
class Explored:
    """What came of exploring both sides: the result, or None and the reason why there is none."""

    exploration: Exploration | None
    trouble: str = ""
    output: str = ""


@dataclass(frozen=True)
class Report:
    """What one run of the explorer says of itself.

    ``schedules`` maps each that broke anything to what it broke.
    """

    tier: str
    seed: int
    python: str
    distributions: Mapping[str, str]
    findings: Findings
    schedules: Mapping[str, tuple[str, ...]]

    @classmethod
    def parse(cls, text: str) -> Report:
        """Read what ``explore.py --json`` wrote. Raises Malformed unless it is of this format, and
        counts what it lists."""
        keys = {"tier": str, "seed": int, "python": str, "distributions": dict, "levels": dict}
        keys |= {"violations": dict, "recorded": dict, "digest": str, "schedules": dict}
        found = document_of(text, {**keys, "spaces": dict}, {"whole": dict})
        findings = {name: found[name] for name in ("violations", "recorded", "digest")}
        findings["levels"] = {
            name: _without(value_of(level, dict, name), "seconds")
            for name, level in found["levels"].items()
        }
        findings |= {"whole": 0, "unlike": []}
        if "whole" in found:
            whole = {"schedules": int, "seconds": float, "unlike": list}
            ran = members(found["whole"], "whole", whole, {})
            findings |= {"whole": ran["schedules"], "unlike": ran["unlike"]}
        counted = parse_findings(findings, "the report")
        schedules = schedules_of(found["schedules"], "schedules")
        listed = Counter(name for names in schedules.values() for name in names)
        if listed != {name: broken.count for name, broken in counted.violations.items()}:
            raise Malformed("the report counts other violations than it lists")
        return cls(
            tier=found["tier"],
            seed=found["seed"],
            python=found["python"],
            distributions=mapping_of(found["distributions"], str, "distributions"),
            findings=counted,
            schedules=schedules,
        )

    def to_compare(self) -> list[str]:
        """The schedules that broke a check of the kind DIFFERENTIAL."""
        names = self.findings.of_kind(DIFFERENTIAL).keys()
        return [schedule for schedule, broken in self.schedules.items() if names & set(broken)]


def document_of(
    text: str, keys: Mapping[str, type], optional: Mapping[str, type]
) -> dict[str, Any]:
    """A JSON document of the explorer's, without its ``format``. Raises Malformed."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise Malformed(f"the explorer's report is not JSON: {error}") from error
    found = members(document, "the explorer's report", {"format": int, **keys}, optional)
    if (number := found.pop("format")) != FORMAT:
        raise Malformed(f"the explorer's report is of format {number}, not {FORMAT}")
    return found


def schedules_of(document: object, where: str) -> dict[str, tuple[str, ...]]:
    """A mapping from schedules to names of what is broken. Raises Malformed."""
    found = mapping_of(document, list, where)
    return {schedule: _texts(names, f"{where}.{schedule}") for schedule, names in found.items()}


def parse_findings(document: object, where: str) -> Findings:
    """Read findings as they stand in a verdict. Raises Malformed."""
    keys = {"levels": dict, "violations": dict, "recorded": dict, "digest": str, "whole": int}
    found = members(document, where, {**keys, "unlike": list}, {})
    numbers = dict.fromkeys(("schedules", "explored", "scenarios", "exhausted"), int)
    found["levels"] = {
        name: Level(**members(level, f"{where}.{name}", numbers, {}))
        for name, level in found["levels"].items()
    }
    about = {"kind": str, "count": int, "shortest": str}
    found["violations"] = {
        name: Violation(**members(one, f"{where}.{name}", about, {}))
        for name, one in found["violations"].items()
    }
    for name, one in found["violations"].items():
        if one.kind not in (FLAG, DIFFERENTIAL) or one.count < 1:
            raise Malformed(f"{where}.{name} is no violation: {one}")
    found["recorded"] = mapping_of(found["recorded"], int, f"{where}.recorded")
    found["unlike"] = _texts(found["unlike"], f"{where}.unlike")
    return Findings(**found)


def _texts(values: Sequence[object], where: str) -> tuple[str, ...]:
    return tuple(value_of(value, str, where) for value in values)


def _without(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}


def _shortness(schedule: str) -> tuple[int, str]:
    return len(schedule.rpartition(":")[2]), schedule
