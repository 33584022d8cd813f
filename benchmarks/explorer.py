"""How fast the race suite's explorer is, with the livekit of the Python that runs this file.

    ENVIRONMENT/bin/python benchmarks/explorer.py [--seconds S] [--replays N] [--whole]

For each level: how many schedules a second are really run, set-up and rest included, and how many
are decided by the reduction in scenarios that are exhausted. `--replays` also runs N explored
schedules again, twice, and counts those that differ in any event; `--whole` runs every single
schedule of the small scenarios and compares each with the one that stands for it in the reduced
space.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

RACE = Path(__file__).resolve().parents[1] / "tests/race"
sys.path.insert(0, str(RACE))

RUN = {"session": "session/openai/call/two-phase-tail", "agent": "agent/openai/call/fresh-copy"}
EXHAUSTED = {
    "session": ["stale-snapshot", "trimmed", "emptied", "moved", "close", "own-call", "asked"],
    "agent": ["stale-snapshot", "fresh-copy-history", "loaded", "asked", "saved"],
}


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    from kit import clock

    clock.install()
    from explore import quieten

    quieten()
    for level in RUN:
        print(f"{level}: {_run(level, options.seconds):.0f} schedules a second are run")
        print(f"{level}: {_decide(level)}")
    differ = _replay(options.replays) if options.replays else 0
    return 1 if differ or (options.whole and _whole()) else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How fast the explorer is, on this Python.")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each level (default 5)")
    parser.add_argument("--replays", type=int, default=0, help="run so many schedules twice more")
    parser.add_argument("--whole", action="store_true", help="run the small spaces whole")
    return parser.parse_args(argv)


def _run(level: str, seconds: float) -> float:
    """Random schedules of one scenario, one after the other."""
    from kit.explore.run import at_random, perform
    from kit.explore.tiers import find

    scenario = find(RUN[level])
    perform(scenario, "", choose=at_random("warm"))
    began = time.perf_counter()
    for count in itertools.count(1):
        perform(scenario, "", choose=at_random(str(count)))
        if (passed := time.perf_counter() - began) > seconds:
            return count / passed
    raise AssertionError("unreachable")


def _decide(level: str) -> str:
    """Exhaust some scenarios by reduction."""
    from kit.explore.tiers import Bounds, explore_one, find

    schedules = runs = 0
    began = time.perf_counter()
    for name in EXHAUSTED[level]:
        space, made = explore_one(find(f"{level}/openai/call/{name}"), Bounds(100_000, 0, 0), 0)
        schedules, runs = schedules + space.schedules, runs + made
    passed = time.perf_counter() - began
    return (
        f"{schedules} schedules are decided by {runs} runs in {passed:.1f} s, "
        f"{schedules / passed:.0f} a second"
    )


def _replay(wanted: int) -> int:
    """Explore, and run what was found twice more from its text; return how many differ."""
    from kit.explore.tiers import explore, replay

    found = sorted(explore("quick", 1).results.items())
    chosen = found[:: max(1, len(found) // wanted)][:wanted]
    differ = [
        schedule
        for schedule, result in chosen
        if not result == replay(schedule) == replay(schedule)
    ]
    print(f"{len(chosen)} schedules replayed twice, {len(differ)} differ", *differ)
    return len(differ)


def _whole() -> int:
    from kit.explore.selection import SMALL, among
    from kit.explore.tiers import scenarios, whole

    unlike = []
    for scenario in scenarios():
        if among(scenario.id, SMALL):
            began = time.perf_counter()
            count, others = whole(scenario)
            unlike += others
            print(
                f"{scenario.id}: {count} schedules one by one in "
                f"{time.perf_counter() - began:.1f} s, {len(others)} unlike",
                flush=True,
            )
    return len(unlike)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
