"""Explore every interleaving of the race scenarios on the livekit that this Python has.

    python tests/race/explore.py [--tier quick|full] [--seed N] [--json FILE] [--svg FILE]
                                 [--tests FILE] [--against REPORT --compared FILE] [--plant]
    python tests/race/explore.py --replay SCHEDULE … [--svg FILE] [--json FILE]
                                                          run schedules again, with their picture
    python tests/race/explore.py --against REPORT [--compared FILE]

A report is JSON: ``format`` 2, ``tier``, ``seed``, ``python``, ``distributions``; ``levels`` maps
"session" and "agent" to how many ``schedules`` were decided by how many that were ``explored``, in
how many ``seconds``, of how many ``scenarios``, how many of those ``exhausted``; ``violations``
maps each broken invariant to its ``kind`` (see ``kit/explore/checks.py``), ``count`` and
``shortest`` schedule; ``recorded`` counts what is allowed; ``schedules`` maps those that broke
anything to what they broke; ``digest`` covers every schedule and its result; ``spaces`` are the
parts of exhausted spaces that break what is compared only (``kit/explore/against.py``). The tier
full adds ``whole``: how many ``schedules`` were also run one by one, and those ``unlike`` their
class.

``--tests`` runs the race tests of the tier first, in the same process (to import livekit takes as
long as a third of them), and has their report written. ``--svg`` draws the shortest schedule that
breaks an invariant of the flag, or the one to ``--prefer`` if a call is lost on it.

``--against`` takes the report of a patched release, on the official one: each schedule of that
report, or of the spaces it decided, that broke what is compared only must break it here too. With
``--tier`` this comes last, and only when the standard input has ended: by then the report is there.
``--compared`` writes how many results were ``compared``, how many ``schedules`` these stand for, in
how many ``pairs`` of classes, and what was ``added``.

``--plant`` has every update delete all calls: the tests and the schedules must notice.

``--replay`` with ``--json`` writes what each schedule breaks: ``replays`` maps it to its
``violations`` and what was ``recorded``. ``--svg`` draws the last one.

Exit codes: 0 no invariant of the flag is broken (or: nothing was added); 1 one is; 2 wrong usage,
or a schedule that this release cannot run; 3 the reduced space and the whole one disagree.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HASH_SEED = "0"
FORMAT = 2
# a line for so many runs: on a busy machine it comes every few seconds
PULSE = 200
HERE = Path(__file__).resolve().parent


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    from kit import clock

    clock.install()
    from kit.plant import plant

    quieten()
    try:
        if options.replay:
            return _replay(options)
        if options.against and not options.tier:
            return _against(options)
        options.tier = options.tier or "quick"
        if options.tests:
            _test(options)
        elif options.plant:
            plant()
        ended = _explore(options)
        if options.against:
            _tell_step("comparing")
            sys.stdin.read()
            _against(options)
        return ended
    except (LookupError, ValueError) as error:
        print(f"explore: {error}", file=sys.stderr)
        return 2


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Explore every interleaving of the race scenarios.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--tier", choices=("quick", "full"), help="default: quick")
    add("--seed", type=int, default=0, help="of what is sampled (default 0)")
    add("--json", type=Path, metavar="FILE", help="write the report there")
    add("--tests", type=Path, metavar="FILE", help="run the tests first; write their report there")
    add("--replay", nargs="+", metavar="SCHEDULE", help="run these again")
    add("--svg", type=Path, metavar="FILE", help="draw a schedule there")
    add("--prefer", metavar="SCHEDULE", help="draw this one if a call is lost on it")
    add("--against", type=Path, metavar="REPORT", help="a patched release's report")
    add("--compared", type=Path, metavar="FILE", help="with --against: write there what it says")
    add("--only", default="", metavar="TEXT", help="scenarios with this in their id")
    add("--plant", action="store_true", help="plant a fault, which must be noticed")
    add("--verbose", action="store_true", help="a line for each scenario")
    return parser.parse_args(argv)


def _test(options: argparse.Namespace) -> None:
    """Run the race tests of the tier. Raises ValueError if they do not run to their end."""
    import pytest

    print("tests", flush=True)
    # not by its path, in which pytest takes [ for the begin of a parameter
    words = [".", "-c", "pytest.ini", "-p", "no:cacheprovider", "-p", "no:logging"]
    # the report has the messages; tracebacks can break pytest on 3.11
    words += ["--plant"] if options.plant else []
    options.tests = options.tests.absolute()
    # a line a test, with how many of how many: who watches sees it move on
    words += ["-v", "-o", "console_output_style=count", "-rE", "--tb=no"]
    words += [f"--race-report={options.tests}", f"--tier={options.tier}"]
    before = Path.cwd()
    os.chdir(HERE)
    status = int(pytest.main(words))
    os.chdir(before)
    if not options.tests.is_file():
        raise ValueError(f"the tests ended with exit code {status} and no report")
    said = json.loads(options.tests.read_text(encoding="utf-8"))["exitstatus"]
    if said != status:
        raise ValueError(f"the tests' report says exit code {said}, they ended with {status}")


def _tell_step(step: str) -> None:
    """Print what is done next, and from then on how many runs that took: a sign of life."""
    from kit.explore import run

    count = 0

    def finished() -> None:
        nonlocal count
        count += 1
        if count % PULSE == 0:
            print(f"{step}, {count} runs more", flush=True)

    print(step, flush=True)
    run.WATCHING[:] = [finished]


def quieten() -> None:
    """Collect what the imports left once; drop livekit's log, which the worlds read themselves."""
    import gc
    import logging

    from kit.explore import tiers  # noqa: F401 - the imports are what is frozen

    logging.getLogger("livekit").propagate = False
    logging.getLogger("livekit").addHandler(logging.NullHandler())
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    gc.collect()
    gc.freeze()


def _explore(options: argparse.Namespace) -> int:
    from kit.explore import tiers
    from kit.explore.checks import FLAG
    from kit.features import distributions

    levels: dict[str, int] = {}
    _tell_step("schedules")

    def progress(scenario: Any, space: Any, runs: int, seconds: float) -> None:
        levels[scenario.level] = levels.get(scenario.level, 0) + 1
        if options.verbose:
            bounded = "" if space.complete else " (bounded)"
            print(f"{scenario.id}: {space.schedules} schedules by {runs} runs{bounded} "
                  f"in {seconds:.2f} s", flush=True)  # fmt: skip
        else:
            _tell_step(f"{scenario.level} level, {levels[scenario.level]} scenarios")

    findings = tiers.explore(
        options.tier, options.seed,
        wanted=lambda scenario: options.only in scenario.id, progress=progress,
    )  # fmt: skip
    if not findings.results:
        raise LookupError(f"no scenario has {options.only!r} in its id")
    report = {
        "format": FORMAT,
        "tier": options.tier,
        "seed": options.seed,
        "python": platform.python_version(),
        "distributions": distributions(),
        **findings.report(),
    }
    unlike = _whole(options, report) if options.tier == "full" else []
    _write(options.json, report)
    _summarise(report)
    broken = [name for name in FLAG if name in report["violations"]]
    if broken:
        print()
        _tell(_plainest(report["violations"][broken[0]]["shortest"], options.prefer), options)
    return 1 if broken else 3 if unlike else 0


def _plainest(shortest: str, preferred: str | None) -> str:
    """The schedule that is preferred, if it loses a call here; else the shortest."""
    from kit.explore.checks import FLAG
    from kit.explore.tiers import replay

    with contextlib.suppress(LookupError):
        if preferred and FLAG[0] in replay(preferred).violations:
            return preferred
    return shortest


def _whole(options: argparse.Namespace, report: dict[str, Any]) -> list[str]:
    """Run the small scenarios one schedule after the other."""
    from kit.explore import tiers
    from kit.explore.selection import SMALL, among

    count = 0
    unlike: list[str] = []
    from kit.clock import stopwatch

    began = stopwatch()
    for scenario in tiers.scenarios():
        if among(scenario.id, SMALL) and options.only in scenario.id:
            _tell_step(f"one by one: {scenario.id}")
            schedules, others = tiers.whole(scenario)
            count, unlike = count + schedules, unlike + others
    seconds = round(stopwatch() - began, 3)
    report["whole"] = {"schedules": count, "seconds": seconds, "unlike": unlike}
    return unlike


def _summarise(report: dict[str, Any]) -> None:
    for name, level in report["levels"].items():
        print(
            f"{name}: {level['schedules']} schedules of {level['scenarios']} scenarios decided by "
            f"{level['explored']} runs in {level['seconds']:.1f} s"
        )
    if whole := report.get("whole"):
        print(f"whole: {whole['schedules']} schedules one by one, {len(whole['unlike'])} unlike")
    for name, found in report["violations"].items():
        print(f"{found['kind']}: {name} {found['count']} times, shortest {found['shortest']}")


def _replay(options: argparse.Namespace) -> int:
    results = {schedule: _tell(schedule, options) for schedule in options.replay}
    replays = {
        schedule: {"violations": list(result.violations), "recorded": list(result.recorded)}
        for schedule, result in results.items()
    }
    _write(options.json, {"format": FORMAT, "replays": replays})
    return int(any(set(result.violations) & _flag() for result in results.values()))


def _tell(schedule: str, options: argparse.Namespace) -> Any:
    """Print the picture of a schedule (and its whole story, if asked); return its result."""
    from kit.explore.run import told
    from kit.explore.schedule import split
    from kit.explore.tiers import find
    from kit.features import distributions
    from kit.picture import draw
    from kit.svg import svg
    from kit.terminal import text

    scenario_id, moves = split(schedule)
    result, story = told(find(scenario_id), moves)
    title = f"livekit-agents {distributions()['livekit-agents']}: {schedule}"
    picture = draw(story, title, result.violations)
    if options.verbose:
        print(f"{story.render(400)}\n")
    print(text(picture, colour=sys.stdout.isatty() or "FORCE_COLOR" in os.environ))
    if options.svg:
        options.svg.write_text(svg(picture), encoding="utf-8")
    return result


def _flag() -> set[str]:
    from kit.explore.checks import FLAG

    return set(FLAG)


def _against(options: argparse.Namespace) -> int:
    from kit.explore.tiers import compare

    found = compare(json.loads(options.against.read_text(encoding="utf-8")))
    _write(options.compared, {"format": FORMAT, **vars(found)})
    for schedule, names in found.added.items():
        print(f"only there: {', '.join(names)} on {schedule}")
    print(
        f"{found.compared} results compared, which stand for {found.schedules} schedules; "
        f"{len(found.added)} are worse there"
    )
    return int(bool(found.added))


def _write(path: Path | None, report: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
