"""Explore every interleaving of the race scenarios on the livekit that this Python has.

    python tests/race/explore.py [--tier quick|full] [--seed N] [--json FILE]
    python tests/race/explore.py --replay SCHEDULE … [--svg FILE] [--json FILE]
                                                          run schedules again, with their picture
    python tests/race/explore.py --against REPORT …       which violations has only that report?

A report is JSON: ``format`` 1, ``tier``, ``seed``, ``python``, ``distributions``; ``levels`` maps
"session" and "agent" to how many ``schedules`` were decided by how many that were ``explored``, in
how many ``seconds``, of how many ``scenarios``, how many of those ``exhausted``; ``violations``
maps each broken invariant to its ``kind`` (see ``kit/explore/judge.py``), ``count`` and
``shortest`` schedule; ``recorded`` counts what is allowed; ``schedules`` maps those that broke
anything to what they broke; ``digest`` covers every schedule and its result. The tier full adds
``whole``: how many ``schedules`` were also run one by one, and those ``unlike`` their class.

``--against`` takes the report of a patched release, on the official one: it runs the schedules of
that report that broke what is compared only, and fails for each violation that is not here too.

``--replay`` with ``--json`` writes what each schedule breaks: ``replays`` maps it to its
``violations`` and what was ``recorded``. ``--svg`` draws the last one.

Exit codes: 0 no invariant of the flag is broken (or: nothing was added); 1 one is; 2 wrong usage,
or a schedule that this release cannot run; 3 the reduced space and the whole one disagree.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HASH_SEED = "0"
FORMAT = 1


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    from kit import clock

    clock.install()
    quieten()
    try:
        if options.replay:
            return _replay(options)
        if options.against:
            return _against(options.against, options.json)
        return _explore(options)
    except (LookupError, ValueError) as error:
        print(f"explore: {error}", file=sys.stderr)
        return 2


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Explore every interleaving of the race scenarios.", allow_abbrev=False
    )
    parser.add_argument("--tier", choices=("quick", "full"), default="quick")
    parser.add_argument("--seed", type=int, default=0, help="of what is sampled (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there")
    parser.add_argument("--replay", nargs="+", metavar="SCHEDULE", help="run these again")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="with --replay: draw it there")
    parser.add_argument("--against", type=Path, metavar="REPORT", help="a patched release's report")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="scenarios with this in their id"
    )
    parser.add_argument("--verbose", action="store_true", help="a line for each scenario")
    return parser.parse_args(argv)


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
    from kit.explore.judge import FLAG
    from kit.features import distributions

    def progress(scenario: Any, space: Any, runs: int, seconds: float) -> None:
        if options.verbose:
            bounded = "" if space.complete else " (bounded)"
            print(f"{scenario.id}: {space.schedules} schedules by {runs} runs{bounded} "
                  f"in {seconds:.2f} s", flush=True)  # fmt: skip

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
        _tell(report["violations"][broken[0]]["shortest"], options)
    return 1 if broken else 3 if unlike else 0


def _whole(options: argparse.Namespace, report: dict[str, Any]) -> list[str]:
    """Run the small scenarios one schedule after the other."""
    from kit.explore import tiers
    from kit.explore.selection import SMALL, among

    count = 0
    unlike: list[str] = []
    began = time.perf_counter()
    for scenario in tiers.scenarios():
        if among(scenario.id, SMALL) and options.only in scenario.id:
            schedules, others = tiers.whole(scenario)
            count, unlike = count + schedules, unlike + others
    seconds = round(time.perf_counter() - began, 3)
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
    from kit.explore.judge import FLAG

    return set(FLAG)


def _against(path: Path, target: Path | None) -> int:
    from kit.explore.judge import DIFFERENTIAL
    from kit.explore.tiers import replay

    theirs = json.loads(path.read_text(encoding="utf-8"))["schedules"]
    compared, added = 0, {}
    for schedule, violations in sorted(theirs.items()):
        if wanted := set(violations) & set(DIFFERENTIAL):
            compared += 1
            if more := sorted(wanted - set(replay(schedule).violations)):
                added[schedule] = more
    _write(target, {"format": FORMAT, "compared": compared, "added": added})
    for schedule, names in added.items():
        print(f"only there: {', '.join(names)} on {schedule}")
    print(f"{compared} schedules compared, {len(added)} are worse there")
    return int(bool(added))


def _write(path: Path | None, report: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
