"""The JSON documents that the race suite's ``explore.py`` writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from toolkit.proof.exploration import DIFFERENTIAL, Comparison, Findings, Level, Violation
from toolkit.util.strict_json import OPTIONAL, decode, load

FORMAT = 2
Document = TypeVar("Document")


@dataclass(frozen=True)
class TimedLevel(Level):
    """A level, and how many seconds it took."""

    seconds: float


@dataclass(frozen=True)
class Unreduced:
    """How many schedules were also run without reduction, and which of them differ."""

    schedules: int
    seconds: float
    unlike: tuple[str, ...]


@dataclass(frozen=True)
class ExplorerReport:
    """One run of the explorer on one set of wheels.

    ``schedules`` maps each that broke anything to what it broke; ``spaces`` is for the explorer.
    """

    tier: str
    seed: int
    python: str
    distributions: Mapping[str, str]
    levels: Mapping[str, TimedLevel]
    violations: Mapping[str, Violation]
    recorded: Mapping[str, int]
    digest: str
    schedules: Mapping[str, tuple[str, ...]]
    spaces: Mapping[str, object]
    whole: Unreduced | None = field(default=None, metadata=OPTIONAL)

    def __post_init__(self) -> None:
        listed = Counter(name for names in self.schedules.values() for name in names)
        if listed != {name: broken.count for name, broken in self.violations.items()}:
            raise ValueError("it counts other violations than it lists")

    @cached_property
    def findings(self) -> Findings:
        """What goes into a verdict, which holds no time."""
        return Findings(
            levels={
                name: Level(level.schedules, level.explored, level.scenarios, level.exhausted)
                for name, level in self.levels.items()
            },
            violations=self.violations,
            recorded=self.recorded,
            digest=self.digest,
            unreduced=self.whole.schedules if self.whole else 0,
            mismatched=self.whole.unlike if self.whole else (),
        )

    def to_compare(self) -> list[str]:
        """Return the schedules that broke a check of the kind DIFFERENTIAL."""
        names = self.findings.of_kind(DIFFERENTIAL).keys()
        return [schedule for schedule, broken in self.schedules.items() if names & set(broken)]


@dataclass(frozen=True)
class ComparisonReport(Comparison):
    """The result of ``--against``."""

    covered: int = field(metadata={"json_name": "schedules"})


@dataclass(frozen=True)
class Broken:
    """What one schedule breaks, and what it shows that the flag's contract allows."""

    violations: tuple[str, ...]
    recorded: tuple[str, ...]


@dataclass(frozen=True)
class Replays:
    """The result of ``--replay``."""

    replays: Mapping[str, Broken]


def parse(kind: type[Document], text: str | bytes) -> Document:
    """Read a document of the explorer's. Raises Malformed."""
    name = "the explorer's report"
    return decode(kind, load(text, name), name, version=FORMAT)
