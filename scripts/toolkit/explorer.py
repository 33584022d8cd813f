"""Run the explorer of the race suite inside environments and read what it reports."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
from .run import Ended, Job, run_together
from .strict import Malformed, members
from .suite import surroundings

SCRIPT = "explore.py"
# The loss in its simplest form: an agent started with a history is told of a call, and passes on
# a fresh copy of its own context.
CANONICAL = "agent/openai/call/fresh-copy-history:3g3dAh"


@dataclass(frozen=True)
class Replay:
    """One schedule, run again: what it broke, the picture as text and as SVG, or the trouble."""

    violations: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    text: str = ""
    svg: str = ""
    trouble: str = ""


class _Trouble(Exception):
    """A run says nothing that can be used: the reason, and what it printed."""


def explore(suite: Path, pair: Sequence[Environment], *, tier: str, timeout: float) -> Explored:
    """Explore a tier on the official and on the patched wheels of ``pair``, side by side, and run
    on the official ones what broke a differential check on the patched.

    ``timeout`` (seconds) is for each of the two steps.
    """
    with tempfile.TemporaryDirectory(prefix="livekit-dispatched-") as scratch:
        folder = Path(scratch)
        files = [folder / "official.json", folder / "patched.json"]
        words = [["--tier", tier, "--json", str(file)] for file in files]
        try:
            ended = _run(suite, pair, words, folder, timeout)
            official = _report(files[0], ended[0], "on the official wheels")
            patched = _report(files[1], ended[1], "on the patched wheels")
            if trouble := _unlike(official, patched, tier):
                return Explored(None, trouble)
            target = folder / "added.json"
            compare = ["--against", str(files[1]), "--json", str(target)]
            (end,) = _run(suite, pair[:1], [compare], folder, timeout)
            compared, added = _added(target, end)
        except _Trouble as trouble:
            return Explored(None, *trouble.args)
    wanted = patched.to_compare()
    if compared != len(wanted) or not set(wanted).issuperset(added):
        return Explored(None, f"{len(wanted)} schedules were to be compared, and {compared} were")
    return Explored(
        Exploration(tier, official.seed, official.findings, patched.findings, compared, added)
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
        ended = _run(suite, environments, words, folder, timeout, colour=colour)
        return tuple(_replayed(stem, end, schedule) for stem, end in zip(stems, ended, strict=True))


def telling(
    suite: Path, pair: Sequence[Environment], exploration: Exploration, *, timeout: float
) -> Replay:
    """The schedule that speaks most plainly: one on which the patched wheels do what they must
    not, else the simplest on which the official ones lose a call; an empty one if there is none.
    """
    official, patched = pair
    if exploration.failing:
        return replay(suite, [patched], exploration.failing, timeout=timeout)[0]
    if not exploration.loses:
        return Replay()
    canonical = replay(suite, [official], CANONICAL, timeout=timeout)[0]
    if LOSS in canonical.violations:
        return canonical
    shortest = exploration.official.violations[LOSS].shortest
    return replay(suite, [official], shortest, timeout=timeout)[0]


def _run(
    suite: Path,
    environments: Sequence[Environment],
    words: Sequence[Sequence[str]],
    folder: Path,
    timeout: float,
    *,
    colour: bool = False,
) -> tuple[Ended, ...]:
    script, colours = suite.resolve() / SCRIPT, {"FORCE_COLOR": "1" if colour else None}
    jobs = [
        Job([place.python, script, *options], folder, {**surroundings(place), **colours})
        for place, options in zip(environments, words, strict=True)
    ]
    return run_together(jobs, timeout=timeout)


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


def _added(path: Path, ended: Ended) -> tuple[int, dict[str, tuple[str, ...]]]:
    text = _read(path, ended, (0, 1), "comparing")
    try:
        found = document_of(text, {"compared": int, "added": dict}, {})
        return found["compared"], schedules_of(found["added"], "added")
    except Malformed as error:
        raise _Trouble(f"comparing: {error}", ended.output) from error


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
    return Replay(broken, recorded, ended.output, drawn)


def _unlike(official: Report, patched: Report, tier: str) -> str:
    if official.python != patched.python:
        return f"Python {official.python} explored one side, {patched.python} the other"
    if {official.tier, patched.tier} != {tier} or official.seed != patched.seed:
        return "the two sides did not explore the same tier with the same seed"
    return ""
