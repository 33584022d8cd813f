"""What each tier explores, and what came of it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from ..clock import stopwatch
from ..life import LIVES, Life
from .against import Against, Names, Part
from .agent_space import agent_flavours, agent_scenarios, at_every_tick
from .checks import DIFFERENTIAL, FLAG, SHARED
from .ends import Explorer, Space
from .run import Result, at_random, perform
from .scenario import Level, Scenario
from .schedule import encode, split, weight
from .selection import IN_EVERY_LIFE, QUICK, among
from .session_space import session_flavours, session_scenarios
from .shrink import shrink

Tier = Literal["quick", "full"]


@dataclass(frozen=True)
class Bounds:
    """How many runs a scenario may take: exhaustive, then at random, and those cut at each tick."""

    runs: int
    samples: int
    ticks: int


BOUNDS: dict[Tier, dict[Level, Bounds]] = {
    # enough to exhaust what can be; a run of a whole agent takes five times as long
    "quick": {"session": Bounds(25, 5, 0), "agent": Bounds(13, 5, 4)},
    "full": {"session": Bounds(1500, 300, 0), "agent": Bounds(400, 100, 60)},
}


# schedules of a scenario that are still run one by one
WHOLE = 100_000


def scenarios(tier: Tier = "full") -> Iterator[Scenario]:
    """Those of a tier that this release can play; the tier full has all."""
    for scenario in _present().values():
        if tier == "full" or among(scenario.id, QUICK):
            yield scenario


def lived(tier: Tier, life: Life) -> list[Scenario]:
    """What is played in a life, each once; in the tier quick a few, and each of the others in one.

    What is cut at every tick is left out.
    """
    there = [scenario for scenario in scenarios(tier) if not scenario.ticks]
    if tier == "quick":
        rest = [scenario for scenario in there if not among(scenario.id, IN_EVERY_LIFE)]
        there = [scenario for scenario in there if among(scenario.id, IN_EVERY_LIFE)]
        there += rest[life.number - 1 :: len(LIVES)]
    return [scenario.in_life(life) for scenario in there]


@functools.cache
def _present() -> dict[str, Scenario]:
    everything = (
        *(*session_scenarios(), *session_flavours()),
        *(*agent_scenarios(), *agent_flavours(), *at_every_tick()),
    )
    return {scenario.id: scenario for scenario in everything if scenario.playable()}


def find(scenario_id: str) -> Scenario:
    """Raises LookupError if this release has no such scenario, or if there is no such life."""
    name, _, life = scenario_id.partition("@")
    if (scenario := _present().get(name)) is None:
        raise LookupError(f"no scenario {name!r} on this release")
    if not life:
        return scenario
    if life not in map(str, range(1, len(LIVES) + 1)):
        raise LookupError(f"no life {life!r}")
    return scenario.in_life(LIVES[int(life) - 1])


def replay(schedule: str) -> Result:
    """Run ``scenario:moves`` once. Raises ValueError or LookupError if it names none."""
    scenario_id, moves = split(schedule)
    return perform(find(scenario_id), moves, choose=None).result


@dataclass
class Depth:
    schedules: int = 0
    explored: int = 0
    seconds: float = 0.0
    scenarios: int = 0
    exhausted: int = 0


@dataclass
class Findings:
    """What exploring found: ``results`` maps each schedule that was run to its result.

    ``parts`` has, for each scenario that was exhausted, which schedules break a check that is
    compared only.
    """

    levels: dict[str, Depth] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)

    def add(self, scenario: Scenario, space: Space[Result], runs: int, seconds: float) -> None:
        level = self.levels.setdefault(scenario.level, Depth())
        level.schedules += space.schedules
        level.explored += runs
        level.seconds += seconds
        level.scenarios += 1
        level.exhausted += space.complete
        for moves, result in space.results.items():
            self.results[f"{scenario.id}:{encode(moves)}"] = result

    def breaking(self, violation: str) -> list[str]:
        """The schedules that break an invariant, shortest first."""
        found = [text for text, result in self.results.items() if violation in result.violations]
        return sorted(found, key=lambda text: (weight(split(text)[1]), text))

    def shortest(self, violation: str) -> str | None:
        """The shortest schedule with the fewest switches that breaks it, if one does."""
        if not (found := self.breaking(violation)):
            return None
        scenario_id, moves = split(found[0])
        return f"{scenario_id}:{encode(shrink(find(scenario_id), moves, violation))}"

    def digest(self) -> str:
        lines = (f"{text} {result}\n" for text, result in sorted(self.results.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def report(self) -> dict[str, Any]:
        """For a report file; see ``explore.py``."""
        violations = {}
        kinds = {"flag": FLAG, "shared": SHARED, "differential": DIFFERENTIAL}
        for kind, name in ((kind, name) for kind, names in kinds.items() for name in names):
            if count := len(self.breaking(name)):
                violations[name] = {"kind": kind, "count": count, "shortest": self.shortest(name)}
        recorded: dict[str, int] = {}
        for result in self.results.values():
            for name in result.recorded:
                recorded[name] = recorded.get(name, 0) + 1
        levels = {
            name: {**vars(level), "seconds": round(level.seconds, 3)}
            for name, level in self.levels.items()
        }
        broken = {
            text: list(result.violations)
            for text, result in sorted(self.results.items())
            if result.violations
        }
        return {
            "levels": levels,
            "violations": violations,
            "recorded": dict(sorted(recorded.items())),
            "digest": self.digest(),
            "schedules": broken,
            "spaces": {scenario: part.document() for scenario, part in self.parts.items()},
        }


def explore(
    tier: Tier,
    seed: int,
    *,
    wanted: Callable[[Scenario], bool] = lambda scenario: True,
    progress: Callable[[Scenario, Space[Result], int, float], None] = lambda *_: None,
) -> Findings:
    """Explore a tier's scenarios, each as far as its bounds go."""
    findings = Findings()
    for scenario in filter(wanted, scenarios(tier)):
        began = stopwatch()
        explorer, space = _explored(scenario, BOUNDS[tier][scenario.level], seed)
        if space.complete and any(map(compared, space.results.values())):
            findings.parts[scenario.id] = Part.of(explorer, compared)
        seconds = stopwatch() - began
        findings.add(scenario, space, explorer.runs, seconds)
        progress(scenario, space, explorer.runs, seconds)
    return findings


def explore_one(scenario: Scenario, bounds: Bounds, seed: int) -> tuple[Space[Result], int]:
    """The space of a scenario as far as the bounds go, and how many real runs that took."""
    explorer, space = _explored(scenario, bounds, seed)
    return space, explorer.runs


def _explored(
    scenario: Scenario, bounds: Bounds, seed: int
) -> tuple[Explorer[Result], Space[Result]]:
    explorer: Explorer[Result] = Explorer(
        lambda moves: perform(scenario, moves), most_runs=0 if scenario.ticks else bounds.runs
    )
    space = explorer.explore()
    if not space.complete:
        for number in range(bounds.ticks if scenario.ticks else bounds.samples):
            choose = at_random(f"{seed}/{scenario.id}/{number}")
            explorer.learn(perform(scenario, "", choose=choose))
        space = explorer.found()
    return explorer, space


def compared(result: Result) -> Names:
    """What a result breaks that a patched release may break where the official one does."""
    return frozenset(result.violations).intersection(DIFFERENTIAL)


@dataclass
class Comparison:
    """A patched release's report against the release that is here.

    Of ``compared`` results there, which stand for so many ``schedules``, ``pairs`` of two classes
    were compared; ``added`` maps schedules to what is broken there and not here.
    """

    compared: int = 0
    schedules: int = 0
    pairs: int = 0
    added: dict[str, list[str]] = field(default_factory=dict)

    def of_space(self, scenario: Scenario, part: Part) -> None:
        """A space that was exhausted there: every schedule of it that breaks something."""
        explorer: Explorer[Result] = Explorer(lambda moves: perform(scenario, moves))
        against = Against(
            explorer, compared, lambda moves: perform(scenario, moves, choose=None).result
        )
        for moves, more in against.compare(part).items():
            self.added[f"{scenario.id}:{encode(moves)}"] = sorted(more)
        self.compared += len(part.broken)
        self.schedules += part.schedules()
        self.pairs += against.pairs

    def of_schedule(self, schedule: str, there: Names) -> None:
        """One schedule that was run there."""
        if more := there - compared(replay(schedule)):
            self.added[schedule] = sorted(more)
        self.compared += 1
        self.schedules += 1
        self.pairs += 1


def compare(report: dict[str, Any]) -> Comparison:
    """Run here whatever broke a check of the kind differential there.

    Raises LookupError if this release has no such scenario.
    """
    comparison = Comparison()
    for scenario_id, document in report["spaces"].items():
        comparison.of_space(find(scenario_id), Part.parse(document))
    for schedule, violations in sorted(report["schedules"].items()):
        there = frozenset(violations).intersection(DIFFERENTIAL)
        if there and split(schedule)[0] not in report["spaces"]:
            comparison.of_schedule(schedule, there)
    return comparison


def whole(scenario: Scenario, most: int = WHOLE) -> tuple[int, list[str]]:
    """Run every schedule of a small scenario, and compare each with the one that stands for it.

    Returns how many there are, and those whose result is another; none of a scenario that has more
    than ``most``, as some releases speak so much that a small one has millions.
    """
    explorer: Explorer[Result] = Explorer(lambda moves: perform(scenario, moves))
    space = explorer.explore()
    if space.schedules > most:
        return 0, []
    count, unlike = 0, []
    for moves, _, expected in explorer.every_schedule():
        count += 1
        if perform(scenario, moves).result != expected:
            unlike.append(f"{scenario.id}:{encode(moves)}")
    if count != space.schedules:
        unlike.append(f"{scenario.id}: {count} schedules, not {space.schedules}")
    return count, unlike
