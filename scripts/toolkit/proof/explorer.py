"""Explore the schedules of a tier on the official and on the patched wheels, and run the tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.environments.environment import Environment
from toolkit.proof.exploration import FLAG, Exploration, Explored
from toolkit.proof.explorer_run import (
    ComparisonReport,
    ExplorerReport,
    Unusable,
    explorer_job,
    parse,
    read_document,
    read_explorer_report,
    require_ended,
)
from toolkit.proof.race_suite import SuiteRun, read_run
from toolkit.util.console import StepStatus, no_status
from toolkit.util.files import not_writable_errors, write_whole
from toolkit.util.process import Exited, Job, run_together

OFFICIAL, PATCHED = "official", "patched"
# The loss in its simplest form: an agent started with a history is told of a call, and passes on
# a fresh copy of its own context.
CANONICAL = "agent/openai/call/fresh-copy-history:3g3dAh"


@dataclass(frozen=True)
class Evidence:
    """What the official and the patched wheels showed: the tests of each, the schedules of both.

    ``svg`` draws the simplest schedule on which the official wheels lose a call.
    """

    tests: tuple[SuiteRun, SuiteRun]
    explored: Explored
    svg: bytes = b""


@dataclass(frozen=True)
class _Side:
    """The files of one side: its working folder, what it writes, and ``txt``, what it prints."""

    name: str
    folder: Path
    tests: Path
    json: Path
    svg: Path
    compared: Path
    txt: Path

    @classmethod
    def below(cls, scratch: Path, name: str) -> _Side:
        """Name the files of a side in ``scratch``."""
        kinds = ("folder", "tests", "json", "svg", "compared", "txt")
        return cls(name, *(scratch / f"{name}.{kind}" for kind in kinds))

    def report(self) -> ExplorerReport | None:
        """Return the report on its schedules, if it is complete."""
        with suppress(OSError, ValueError):
            return parse(ExplorerReport, self.json.read_bytes())
        return None

    def reusable(self, run: SuiteRun) -> list[Path]:
        """Return what a side that was ended too early need not do again.

        What speaks against patched wheels is done again, as it may have the same cause.
        """
        may_fail = self.name == OFFICIAL
        tests, report = run.report, self.report()
        if tests is None or tests.collected != len(tests.tests):
            return []
        if tests.exitstatus not in ((0, 1) if may_fail else (0,)):
            return []
        if report and not report.findings.of_kind(FLAG):
            return [self.tests, self.json]
        # the picture is drawn last
        complete = report is not None and may_fail and self.svg.is_file()
        return [self.tests, self.json, self.svg] if complete else [self.tests]


def explore(
    suite: Path,
    pair: Sequence[Environment],
    *,
    tier: str,
    timeout: float,
    status: StepStatus = no_status,
    kept: Path | None = None,
) -> Evidence:
    """Run the tests and explore the schedules of a tier on both sides of ``pair``.

    Each side is one process, until nothing has moved for ``timeout`` seconds. The official side
    waits for the patched one's report, and runs what broke a differential check there.

    If a side is ended too early, what it finished goes into the folder ``kept``, and is not done
    again the next time; once all is done, the folder is removed.
    """
    with tempfile.TemporaryDirectory(prefix="livekit-dispatched-") as scratch:
        # continue where an earlier run was ended
        official, patched = sides = [_Side.below(Path(scratch), n) for n in (OFFICIAL, PATCHED)]
        if kept is not None and kept.is_dir():
            shutil.copytree(kept, scratch, dirs_exist_ok=True)
        # a job a side
        against: list[str | Path] = ["--against", patched.json, "--compared", official.compared]
        jobs = []
        for side, environment in zip(sides, pair, strict=True):
            side.folder.mkdir()
            arguments: list[str | Path] = ["--tier", tier, "--json", side.json]
            arguments += [] if side.tests.is_file() else ["--tests", side.tests]
            if side is official:
                arguments += [*against, "--svg", side.svg, "--prefer", CANONICAL]
            job = explorer_job(suite, environment, arguments, side.folder)
            jobs.append(replace(job, log=side.txt))
        comparing = explorer_job(suite, pair[0], against, official.folder)
        comparing = replace(comparing, log=official.txt)
        with status(f"tests and schedules, tier {tier}", [side.txt for side in sides]):
            *ended, compared = _run(sides, jobs, comparing, timeout)
        # what they wrote
        runs = [read_run(side.tests, end, timeout) for side, end in zip(sides, ended, strict=True)]
        if kept is not None:
            _keep(kept, sides, runs, [*ended, compared])
        svg = official.svg.read_bytes() if official.svg.is_file() else b""
        return Evidence((runs[0], runs[1]), _explored(sides, ended, compared, tier), svg)


def _run(
    sides: Sequence[_Side], jobs: Sequence[Job], comparing: Job, timeout: float
) -> tuple[Exited, ...]:
    """Return how the official side ended, how the patched one, and how comparing them.

    A side whose report is there already is not run.
    """
    cached = [side.report() for side in sides]
    ended = [Exited(int(bool(r and r.findings.of_kind(FLAG))), "") for r in cached]
    left = [number for number, report in enumerate(cached) if report is None]
    todo = [jobs[number] for number in left]
    if len(todo) == 2:
        todo[0] = replace(todo[0], stdin_until=1)
    for number, end in zip(left, run_together(todo, timeout=timeout), strict=True):
        ended[number] = end
    compared = ended[0]
    if cached[0] and sides[1].json.is_file():
        (compared,) = run_together([comparing], timeout=timeout)
    return (*ended, compared)


def _keep(
    kept: Path, sides: Sequence[_Side], runs: Sequence[SuiteRun], ended: Sequence[Exited]
) -> None:
    """Keep what was finished if a process was ended too early; remove the folder if none was."""
    early = any(end.exit_code is None or end.exit_code < 0 for end in ended)
    paths = [path for side, run in zip(sides, runs, strict=True) for path in side.reusable(run)]
    with not_writable_errors(kept.parent):
        shutil.rmtree(kept, ignore_errors=True)
        for path in paths if early else ():
            write_whole(kept / path.name, path.read_bytes())


def _explored(
    sides: Sequence[_Side], ended: Sequence[Exited], compared: Exited, tier: str
) -> Explored:
    contexts = [f"on the {side.name} wheels" for side in sides]
    try:
        if any(end.exit_code is None for end in (*ended, compared)):
            # one side may wait for the other: the one without a report is the one that hangs
            for number in sorted((0, 1), key=lambda number: sides[number].report() is not None):
                require_ended(ended[number], contexts[number])
            require_ended(compared, "comparing")
        official, patched = (
            read_explorer_report(side.json, end, context)
            for side, end, context in zip(sides, ended, contexts, strict=True)
        )
        if mismatch := _mismatch(official, patched, tier):
            return Explored(None, mismatch)
        comparison = read_document(ComparisonReport, sides[0].compared, compared, "comparing")
    except Unusable as error:
        return Explored(None, error.reason, error.output)
    wanted = len(patched.to_compare())
    if comparison.compared != wanted:
        reason = f"{wanted} results were to be compared, and {comparison.compared} were"
        return Explored(None, reason)
    return Explored(
        Exploration(
            **vars(comparison),
            tier=tier,
            seed=official.seed,
            official=official.findings,
            patched=patched.findings,
        )
    )


def _mismatch(official: ExplorerReport, patched: ExplorerReport, tier: str) -> str:
    """Return why two reports cannot be compared; "" if they can."""
    if official.python != patched.python:
        return f"Python {official.python} explored one side, {patched.python} the other"
    if {official.tier, patched.tier} != {tier} or official.seed != patched.seed:
        return "the two sides did not explore the same tier with the same seed"
    return ""
