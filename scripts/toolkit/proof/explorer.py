"""Run the race suite and its explorer inside environments and read what they report."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.environments.environment import Environment
from toolkit.proof.exploration import FLAG, LEVELS, LOSS, Comparison, Exploration, Explored
from toolkit.proof.explorer_report import ComparisonReport, ExplorerReport, Replays, parse
from toolkit.proof.fault_injection import FaultInjection
from toolkit.proof.race_report import LOSES_CALLS, NOT_RUN
from toolkit.proof.race_suite import Run, how_far, run_of, surroundings
from toolkit.util.console import StepStatus, no_status
from toolkit.util.errors import how_ended
from toolkit.util.files import not_writable_errors, write_whole
from toolkit.util.process import Exited, Job, run_together
from toolkit.util.strict_json import Malformed

SCRIPT = "explore.py"
OFFICIAL, PATCHED = "official", "patched"
# The loss in its simplest form: an agent started with a history is told of a call, and passes on
# a fresh copy of its own context.
CANONICAL = "agent/openai/call/fresh-copy-history:3g3dAh"


@dataclass(frozen=True)
class Sides:
    """What the official and the patched wheels showed: the tests of each, the schedules of both,
    and the simplest schedule on which the official ones lose a call, as SVG."""

    tests: tuple[Run, Run]
    explored: Explored
    svg: bytes = b""


@dataclass(frozen=True)
class Replay:
    """One schedule, run again: what it broke, the picture as text and as SVG, or the trouble.

    ``flag`` says whether an invariant of the flag is among what it broke.
    """

    violations: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    flag: bool = False
    text: str = ""
    svg: str = ""
    trouble: str = ""


class _Trouble(Exception):
    """A run says nothing that can be used: the reason, and what it printed."""


@dataclass(frozen=True)
class _Side:
    """What one side works with: where it runs, the files that it writes, and what it prints."""

    name: str
    folder: Path
    tests: Path
    json: Path
    svg: Path
    compared: Path
    txt: Path

    @classmethod
    def below(cls, scratch: Path, name: str) -> _Side:
        """The side whose files are in ``scratch``."""
        kinds = ("folder", "tests", "json", "svg", "compared", "txt")
        return cls(name, *(scratch / f"{name}.{kind}" for kind in kinds))

    def whole(self) -> ExplorerReport | None:
        """The report on its schedules, if it is all there."""
        with suppress(OSError, ValueError):
            return parse(ExplorerReport, self.json.read_text(encoding="utf-8"))
        return None

    def sound(self, run: Run) -> list[Path]:
        """What of a side that was ended too early need not be done again: its tests, or all.

        What speaks against patched wheels is done again, as it may have come of the same cause.
        """
        may_fail = self.name == OFFICIAL
        tests, found = run.report, self.whole()
        if tests is None or tests.collected != len(tests.tests):
            return []
        if tests.exitstatus not in ((0, 1) if may_fail else (0,)):
            return []
        if found and not found.findings.of_kind(FLAG):
            return [self.tests, self.json]
        # what is drawn is drawn last
        drawn = found is not None and may_fail and self.svg.is_file()
        return [self.tests, self.json, self.svg] if drawn else [self.tests]


def explore(
    suite: Path,
    pair: Sequence[Environment],
    *,
    tier: str,
    timeout: float,
    watch: StepStatus = no_status,
    kept: Path | None = None,
) -> Sides:
    """Run the tests and explore the schedules of a tier on the official and on the patched wheels
    of ``pair``, one process a side, until nothing has moved for ``timeout`` seconds. The official
    side waits for the patched one's report, and runs what broke a differential check there.

    If a side is ended before it is done, what was finished goes into the folder ``kept``, and is
    not done again the next time; when all is done, the folder is removed.
    """
    with tempfile.TemporaryDirectory(prefix="livekit-dispatched-") as scratch:
        official, patched = sides = [
            _Side.below(Path(scratch), name) for name in (OFFICIAL, PATCHED)
        ]
        if kept is not None and kept.is_dir():
            shutil.copytree(kept, scratch, dirs_exist_ok=True)
        against: list[str | Path] = ["--against", patched.json, "--compared", official.compared]
        jobs = []
        for side, place in zip(sides, pair, strict=True):
            side.folder.mkdir()
            words: list[str | Path] = ["--tier", tier, "--json", side.json]
            words += [] if side.tests.is_file() else ["--tests", side.tests]
            if side is official:
                words += [*against, "--svg", side.svg, "--prefer", CANONICAL]
            jobs.append(replace(_job(suite, place, words, side.folder), log=side.txt))
        comparing = replace(_job(suite, pair[0], against, official.folder), log=official.txt)
        with watch(f"tests and schedules, tier {tier}", [side.txt for side in sides]):
            ended = _ended(sides, jobs, comparing, timeout)
        runs = [run_of(side.tests, end, timeout) for side, end in zip(sides, ended, strict=False)]
        if kept is not None:
            _keep(kept, sides, runs, ended)
        svg = official.svg.read_bytes() if official.svg.is_file() else b""
        return Sides((runs[0], runs[1]), _explored(sides, ended, tier), svg)


def _ended(
    sides: Sequence[_Side], jobs: Sequence[Job], comparing: Job, timeout: float
) -> tuple[Exited, ...]:
    """How the official side ended, how the patched one, and how the comparison of both.

    A side whose report is there already is not run.
    """
    known = [side.whole() for side in sides]
    ended = [Exited(int(bool(r and r.findings.of_kind(FLAG))), "") for r in known]
    left = [number for number, report in enumerate(known) if report is None]
    todo = [
        replace(jobs[number], stdin_until=1 if (number, len(left)) == (0, 2) else None)
        for number in left
    ]
    for number, end in zip(left, run_together(todo, timeout=timeout), strict=True):
        ended[number] = end
    compared = ended[0]
    if known[0] and sides[1].json.is_file():
        (compared,) = run_together([comparing], timeout=timeout)
    return (*ended, compared)


def _keep(kept: Path, sides: Sequence[_Side], runs: Sequence[Run], ended: Sequence[Exited]) -> None:
    """Keep what was finished of a proof that was ended too early, and only of such a one."""
    early = any(end.exit_code is None or end.exit_code < 0 for end in ended)
    sound = [path for side, run in zip(sides, runs, strict=True) for path in side.sound(run)]
    with not_writable_errors(kept.parent):
        shutil.rmtree(kept, ignore_errors=True)
        for path in sound if early else ():
            write_whole(kept / path.name, path.read_bytes())


def probe(suite: Path, official: Environment, *, tier: str, timeout: float) -> FaultInjection:
    """Plant a fault on the official wheels, and see which tests and schedules notice it."""
    with tempfile.TemporaryDirectory(prefix="livekit-dispatched-") as scratch:
        folder, tests, file = (Path(scratch, name) for name in ("in", "tests", "json"))
        folder.mkdir()
        words: list[str | Path] = ["--plant", "--tier", tier, "--tests", tests, "--json", file]
        (ended,) = run_together([_job(suite, official, words, folder)], timeout=timeout)
        run = run_of(tests, ended, timeout)
        try:
            found = _report(file, ended, "with a planted fault")
        except _Trouble as trouble:
            return FaultInjection(trouble=str(trouble.args[0]))
    if run.report is None:
        return FaultInjection(trouble=f"with a planted fault {run.trouble}")
    ran = {
        test: outcome.outcome
        for test, outcome in run.report.tests.items()
        if outcome.documented and outcome.check == LOSES_CALLS and outcome.outcome not in NOT_RUN
    }
    missed = tuple(sorted(test for test, outcome in ran.items() if outcome != "failed"))
    losing = [schedule for schedule, broken in found.schedules.items() if LOSS in broken]
    levels = {level: sum(s.startswith(f"{level}/") for s in losing) for level in LEVELS}
    return FaultInjection(len(ran) - len(missed), missed, levels)


def _explored(sides: Sequence[_Side], ended: Sequence[Exited], tier: str) -> Explored:
    wheres = [f"on the {side.name} wheels" for side in sides]
    try:
        if any(end.exit_code is None for end in ended):
            # one side may wait for the other: which has no report is the one that hangs
            unfinished = sorted((0, 1), key=lambda number: sides[number].whole() is not None)
            for number in unfinished:
                _refuse_ended(ended[number], wheres[number])
            _refuse_ended(ended[2], "comparing")
        official, patched = (
            _report(side.json, end, where)
            for side, end, where in zip(sides, ended[:2], wheres, strict=True)
        )
        if trouble := _unlike(official, patched, tier):
            return Explored(None, trouble)
        comparison = _comparison(sides[0].compared, ended[2])
    except _Trouble as trouble:
        return Explored(None, *trouble.args)
    wanted = patched.to_compare()
    if comparison.compared != len(wanted):
        reason = f"{len(wanted)} results were to be compared, and {comparison.compared} were"
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


def replay(
    suite: Path,
    environments: Sequence[Environment],
    schedule: str,
    *,
    timeout: float,
    colour: bool = False,
) -> tuple[Replay, ...]:
    """Run ``schedule`` in each of ``environments``, side by side, and draw it."""
    with tempfile.TemporaryDirectory(prefix="livekit-dispatched-") as scratch:
        folder = Path(scratch)
        stems = [folder / f"{number}" for number in range(len(environments))]
        words = [
            ["--replay", schedule, "--json", f"{stem}.json", "--svg", f"{stem}.svg"]
            for stem in stems
        ]
        jobs = [
            _job(suite, place, options, folder, colour=colour)
            for place, options in zip(environments, words, strict=True)
        ]
        ended = run_together(jobs, timeout=timeout)
        return tuple(_replayed(stem, end, schedule) for stem, end in zip(stems, ended, strict=True))


def telling(
    suite: Path, pair: Sequence[Environment], sides: Sides, *, timeout: float
) -> tuple[bytes, str]:
    """The schedule that speaks most plainly, as SVG: one on which the patched wheels do what they
    must not, which comes as text too, else the simplest on which the official ones lose a call;
    nothing if there is none.
    """
    found = sides.explored.exploration
    if found is None or not found.failing:
        return sides.svg if found else b"", ""
    (shown,) = replay(suite, [pair[1]], found.failing, timeout=timeout)
    return shown.svg.encode(), shown.text


def _job(
    suite: Path,
    place: Environment,
    words: Sequence[str | Path],
    folder: Path,
    *,
    colour: bool = False,
) -> Job:
    env = {**surroundings(place), **({"FORCE_COLOR": "1"} if colour else {})}
    return Job([place.python, suite.resolve() / SCRIPT, *words], folder, env)


def _read(path: Path, ended: Exited, expected: Sequence[int], where: str) -> str:
    """What a run wrote. Raises _Trouble unless it ended with one of the exit codes expected."""
    code = _refuse_ended(ended, where)
    if code not in expected or not path.is_file():
        reason = f"{where} the explorer {how_ended(code)}"
        raise _Trouble(f"{reason}{'' if path.is_file() else ' and no report'}", ended.output)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _Trouble(f"{where} the explorer's report is not UTF-8: {error}", "") from error


def _refuse_ended(ended: Exited, where: str) -> int:
    """The exit code of a run. Raises _Trouble if it was ended, as it hung."""
    if ended.exit_code is None:
        reason = f"{where} the explorer was ended, as nothing moved: {how_far(ended.output)}"
        raise _Trouble(reason, ended.output)
    return ended.exit_code


def _report(path: Path, ended: Exited, where: str) -> ExplorerReport:
    text = _read(path, ended, (0, 1, 3), where)
    try:
        report = parse(ExplorerReport, text)
    except Malformed as error:
        raise _Trouble(f"{where} {error}", ended.output) from error
    if (ended.exit_code == 1) != bool(report.findings.of_kind(FLAG)):
        raise _Trouble(f"{where} exit code {ended.exit_code} contradicts the report", ended.output)
    return report


def _comparison(path: Path, ended: Exited) -> Comparison:
    text = _read(path, ended, (0, 1, 3), "comparing")
    try:
        return parse(ComparisonReport, text)
    except Malformed as error:
        raise _Trouble(f"comparing: {error}", ended.output) from error


def _replayed(stem: Path, ended: Exited, schedule: str) -> Replay:
    try:
        text = _read(stem.with_suffix(".json"), ended, (0, 1), "replaying")
        broken = parse(Replays, text).replays[schedule]
        drawn = stem.with_suffix(".svg").read_text(encoding="utf-8")
    except _Trouble as trouble:
        return Replay(text=trouble.args[1], trouble=trouble.args[0])
    except KeyError:
        return Replay(text=ended.output, trouble=f"replaying: the report lacks {schedule}")
    except (Malformed, OSError) as error:
        return Replay(text=ended.output, trouble=f"replaying: {error}")
    flag = ended.exit_code == 1
    return Replay(broken.violations, broken.recorded, flag, ended.output, drawn)


def _unlike(official: ExplorerReport, patched: ExplorerReport, tier: str) -> str:
    if official.python != patched.python:
        return f"Python {official.python} explored one side, {patched.python} the other"
    if {official.tier, patched.tier} != {tier} or official.seed != patched.seed:
        return "the two sides did not explore the same tier with the same seed"
    return ""
