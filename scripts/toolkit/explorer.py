"""Run the race suite and its explorer inside environments and read what they report."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .environment import Environment
from .exploration import (
    FLAG,
    LOSS,
    Exploration,
    Explored,
    Report,
    document_of,
    schedules_of,
)
from .judging import LOSES_CALLS, NOT_RUN
from .probe import LEVELS, Probe
from .progress import Watch, unwatched
from .run import Ended, Job, run_together
from .strict import Malformed, members
from .suite import Run, run_of, surroundings

SCRIPT = "explore.py"
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


def explore(
    suite: Path,
    pair: Sequence[Environment],
    *,
    tier: str,
    timeout: float,
    watch: Watch = unwatched,
) -> Sides:
    """Run the tests and explore the schedules of a tier on the official and on the patched wheels
    of ``pair``, one process a side, for at most ``timeout`` seconds. The official side waits for
    the patched one's report, and runs what broke a differential check there.
    """
    with tempfile.TemporaryDirectory(prefix="livekit-dispatched-") as scratch:
        folders = [Path(scratch, side) for side in ("official", "patched")]
        for folder in folders:
            folder.mkdir()
        tests, files, said, compared, drawn = (
            [Path(scratch, f"{folder.name}.{kind}") for folder in folders]
            for kind in ("tests", "json", "txt", "compared", "svg")
        )
        words: list[list[str | Path]] = [
            ["--tier", tier, "--tests", tests[n], "--json", files[n]] for n in (0, 1)
        ]
        words[0] += ["--against", files[1], "--compared", compared[0]]
        words[0] += ["--svg", drawn[0], "--prefer", CANONICAL]
        sides = zip(pair, words, folders, strict=True)
        official, patched = (_job(suite, *side) for side in sides)
        jobs = [replace(official, after=1, says=said[0]), replace(patched, says=said[1])]
        with watch(f"tests and schedules, tier {tier}", said):
            ended = run_together(jobs, timeout=timeout)
        runs = [run_of(path, end, timeout) for path, end in zip(tests, ended, strict=True)]
        svg = drawn[0].read_bytes() if drawn[0].is_file() else b""
        return Sides((runs[0], runs[1]), _explored(files, compared[0], ended, tier), svg)


def probe(suite: Path, official: Environment, *, tier: str, timeout: float) -> Probe:
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
            return Probe(trouble=str(trouble.args[0]))
    if run.report is None:
        return Probe(trouble=f"with a planted fault {run.trouble}")
    ran = {
        test: outcome.outcome
        for test, outcome in run.report.tests.items()
        if outcome.documented and outcome.check == LOSES_CALLS and outcome.outcome not in NOT_RUN
    }
    missed = tuple(sorted(test for test, outcome in ran.items() if outcome != "failed"))
    losing = [schedule for schedule, broken in found.schedules.items() if LOSS in broken]
    levels = {level: sum(s.startswith(f"{level}/") for s in losing) for level in LEVELS}
    return Probe(len(ran) - len(missed), missed, levels)


def _explored(files: Sequence[Path], compared: Path, ended: Sequence[Ended], tier: str) -> Explored:
    try:
        official = _report(files[0], ended[0], "on the official wheels")
        patched = _report(files[1], ended[1], "on the patched wheels")
        if trouble := _unlike(official, patched, tier):
            return Explored(None, trouble)
        comparison = _comparison(compared, ended[0])
    except _Trouble as trouble:
        return Explored(None, *trouble.args)
    wanted = patched.to_compare()
    if comparison["compared"] != len(wanted):
        reason = f"{len(wanted)} results were to be compared, and {comparison['compared']} were"
        return Explored(None, reason)
    sides = official.findings, patched.findings
    return Explored(Exploration(tier, official.seed, *sides, **comparison))


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


def _read(path: Path, ended: Ended, expected: Sequence[int], where: str) -> str:
    """What a run wrote. Raises _Trouble unless it ended with one of the exit codes expected."""
    if ended.exit_code is None:
        raise _Trouble(f"{where} the explorer did not end in time", ended.output)
    if ended.exit_code not in expected or not path.is_file():
        reason = f"{where} the explorer ended with exit code {ended.exit_code}"
        raise _Trouble(f"{reason}{'' if path.is_file() else ' and no report'}", ended.output)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _Trouble(f"{where} the explorer's report is not UTF-8: {error}", "") from error


def _report(path: Path, ended: Ended, where: str) -> Report:
    text = _read(path, ended, (0, 1, 3), where)
    try:
        report = Report.parse(text)
    except Malformed as error:
        raise _Trouble(f"{where} {error}", ended.output) from error
    if (ended.exit_code == 1) != bool(report.findings.of_kind(FLAG)):
        raise _Trouble(f"{where} exit code {ended.exit_code} contradicts the report", ended.output)
    return report


def _comparison(path: Path, ended: Ended) -> dict[str, Any]:
    text = _read(path, ended, (0, 1, 3), "comparing")
    keys: dict[str, type] = dict.fromkeys(("compared", "schedules", "pairs"), int)
    try:
        found = document_of(text, {**keys, "added": dict}, {})
        found["added"] = schedules_of(found["added"], "added")
    except Malformed as error:
        raise _Trouble(f"comparing: {error}", ended.output) from error
    found["covered"] = found.pop("schedules")
    return found


def _replayed(stem: Path, ended: Ended, schedule: str) -> Replay:
    try:
        text = _read(stem.with_suffix(".json"), ended, (0, 1), "replaying")
        found = document_of(text, {"replays": dict}, {})["replays"]
        result = members(found.get(schedule), schedule, {"violations": list, "recorded": list}, {})
        drawn = stem.with_suffix(".svg").read_text(encoding="utf-8")
    except _Trouble as trouble:
        return Replay(text=trouble.args[1], trouble=trouble.args[0])
    except (Malformed, OSError) as error:
        return Replay(text=ended.output, trouble=f"replaying: {error}")
    broken, recorded = (tuple(map(str, result[name])) for name in ("violations", "recorded"))
    return Replay(broken, recorded, ended.exit_code == 1, ended.output, drawn)


def _unlike(official: Report, patched: Report, tier: str) -> str:
    if official.python != patched.python:
        return f"Python {official.python} explored one side, {patched.python} the other"
    if {official.tier, patched.tier} != {tier} or official.seed != patched.seed:
        return "the two sides did not explore the same tier with the same seed"
    return ""
