"""Is this environment patched, complete and untampered, and does it lose tool calls?

Exit codes:
  0  patched (or fixed upstream), as it was proved, and the canonical schedule loses nothing
  3  unpatched: a distribution of another version than the one that was proved
  4  incomplete: a distribution or one of its files is missing
  5  tampered: a file is not what its wheel brought, or belongs to no wheel
  6  livekit cannot be imported
  7  the canonical schedule loses a call
  8  the canonical schedule came to no end
Of several the lowest is given; 1 is Python's own for a crash, 2 a wrong option.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from .condition import (
    INCOMPLETE,
    TAMPERED,
    UNPATCHED,
    Expected,
    examine,
    installed,
    read_expected,
    shadows,
)

NOT_IMPORTABLE = "not importable"
CODES = {
    UNPATCHED: 3,
    INCOMPLETE: 4,
    TAMPERED: 5,
    NOT_IMPORTABLE: 6,
    "lost": 7,
    "undecided": 8,
}


def report(expected: Expected, *, play: bool = True) -> dict[str, Any]:
    """All that ``--json`` prints; ``play``: whether to play the canonical schedule."""
    found = examine(expected)
    schedule = _played() if play else {"outcome": "not played"}
    problems = [vars(problem) for problem in [*found, *shadows(expected)]]
    kinds = [problem["kind"] for problem in problems] + [schedule["outcome"]]
    codes = {kind: CODES[kind] for kind in kinds if kind in CODES}
    good = "fixed" if expected.fixed else "patched"
    worst = min(codes, key=lambda kind: codes[kind], default=good)
    return {
        "format": 1,
        "status": worst,
        "exit_code": codes.get(worst, 0),
        "release": expected.release,
        "revision": expected.revision,
        "series": expected.series,
        "distributions": {
            wanted.name: {"proved": wanted.version, "installed": installed(wanted.name)}
            for wanted in expected.distributions
        },
        "problems": problems,
        "schedule": schedule,
    }


def _played() -> dict[str, Any]:
    try:
        schedule = importlib.import_module(f"{__package__}.schedule")
    except Exception as error:  # noqa: BLE001  a broken dependency may raise anything
        return {"outcome": NOT_IMPORTABLE, "reason": repr(error), "seconds": 0.0, "timeline": []}
    begun = time.perf_counter()
    seen = schedule.observe()
    seconds = round(time.perf_counter() - begun, 3)
    return {**vars(seen), "seconds": seconds, "timeline": list(seen.timeline)}


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is found, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m livekit_dispatched",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--files-only", action="store_true", help="import nothing, play nothing")
    parser.add_argument("--timeline", action="store_true", help="print what the schedule did")
    options = parser.parse_args(argv)
    try:
        expected = read_expected()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"{TAMPERED}: expected.json cannot be read: {error!r}", file=sys.stderr)
        return CODES[TAMPERED]
    found = report(expected, play=not options.files_only)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        _print(found, timeline=options.timeline)
    code: int = found["exit_code"]
    return code


def _print(found: dict[str, Any], *, timeline: bool) -> None:
    for name, versions in found["distributions"].items():
        print(f"{name:<24} {versions['installed'] or 'not installed'}")
    for problem in found["problems"]:
        print(f"{problem['kind']}: {problem['text']}")
    schedule = found["schedule"]
    reason = f": {schedule['reason']}" if "reason" in schedule else ""
    print(f"canonical schedule: {schedule['outcome']}{reason}")
    for line in schedule.get("timeline", ()) if timeline else ():
        print(f"  {line}")
    print(f"{found['status']}: livekit-agents {found['release']}, revision {found['revision']}")


if __name__ == "__main__":
    sys.exit(main())
