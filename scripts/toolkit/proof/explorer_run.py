"""Start the race suite's explorer in an environment, and read the JSON that it writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from toolkit.environments.environment import Environment
from toolkit.proof.exploration import DIFFERENTIAL, FLAG, Comparison, Findings, Level, Violation
from toolkit.proof.race_suite import progress_of, suite_variables
from toolkit.util.errors import how_ended
from toolkit.util.process import Exited, Job
from toolkit.util.strict_json import OPTIONAL, Malformed, decode, load

SCRIPT = "explore.py"
FORMAT = 2
# 0: no invariant of the flag is broken, 1: one is, 3: reduced and unreduced schedules disagree
EXPLORED = (0, 1, 3)
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


class Unusable(Exception):
    """A run whose report cannot be used: the reason, and what the run printed."""

    def __init__(self, reason: str, output: str) -> None:
        super().__init__(reason)
        self.reason, self.output = reason, output


def explorer_job(
    suite: Path, environment: Environment, arguments: Sequence[str | Path], folder: Path
) -> Job:
    """Return the job that runs a suite's explorer in ``environment``, started in ``folder``."""
    command = [environment.python, suite.resolve() / SCRIPT, *arguments]
    return Job(command, folder, suite_variables(environment))


def require_ended(exited: Exited, context: str) -> int:
    """Return the exit code. Raises Unusable if the run was killed, as it hung."""
    if exited.exit_code is None:
        progress = progress_of(exited.output)
        reason = f"{context} the explorer was ended, as nothing moved: {progress}"
        raise Unusable(reason, exited.output)
    return exited.exit_code


def read_document(
    kind: type[Document],
    path: Path,
    exited: Exited,
    context: str,
    exit_codes: Collection[int] = EXPLORED,
) -> Document:
    """Read what a run wrote. Raises Unusable unless it ended with one of ``exit_codes``.

    ``context`` begins the reason, such as "on the official wheels".
    """
    code = require_ended(exited, context)
    if code not in exit_codes or not path.is_file():
        missing = "" if path.is_file() else " and no report"
        reason = f"{context} the explorer {how_ended(code)}{missing}"
        raise Unusable(reason, exited.output)
    try:
        return parse(kind, path.read_bytes())
    except Malformed as error:
        raise Unusable(f"{context} {error}", exited.output) from error


def read_explorer_report(path: Path, exited: Exited, context: str) -> ExplorerReport:
    """Read the report on one side. Raises Unusable, also if the exit code contradicts it."""
    report = read_document(ExplorerReport, path, exited, context)
    if (exited.exit_code == 1) != bool(report.findings.of_kind(FLAG)):
        reason = f"{context} exit code {exited.exit_code} contradicts the report"
        raise Unusable(reason, exited.output)
    return report
