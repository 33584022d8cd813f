"""Run the race suite on official and on patched wheels, and say what that proves.

Examples:
    python scripts/prove.py 1.8.9 1.4.6 --tier full
    python scripts/prove.py 1.8.9 --replay agent/openai/call/fresh-copy-history:3g3dAh
    python scripts/prove.py --release 1.8.9 --uploaded 2026-10-24T02:32:37Z \\
        --official OFFICIAL/*.whl --patched PATCHED/*.whl --out verdict.json

A release (without one, the newest) is fetched and patched first. ``--replay`` runs one schedule on
both sides and shows what happens; a verdict names the schedules that are worth it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from toolkit import explorer, proving, summary
from toolkit.errors import NotProved, run_verb
from toolkit.exploration import TIERS
from toolkit.files import sha256_of, write_whole, writing
from toolkit.progress import watching
from toolkit.proving import RACE_SUITE, SUBCLASSES, TIMEOUTS, prove
from toolkit.strict import Malformed
from toolkit.upstream_proof import Asker, add_options
from toolkit.verbs import each, fetched, parser, workspace_of
from toolkit.verdict import Verdict
from toolkit.workspace import Workspace

__all__ = ["RACE_SUITE", "SUBCLASSES", "main", "prove"]

_NEXT = {
    "fixed": "if the tier full says so too of the newest release, `nox -s retire` ends the series",
    "conflict": "refresh the series for this release",
    "regressed": "replay the schedule, or run the suite in the patched environment",
    "inconclusive": "remove the cause and prove again; nothing was proved either way",
}


@dataclass(frozen=True)
class Wheels:
    """What is to be proved."""

    official: Sequence[Path]
    patched: Sequence[Path]
    release: str
    uploaded: datetime
    series: str


@contextmanager
def wheels_of(
    name: str | None, options: argparse.Namespace, workspace: Workspace
) -> Iterator[Wheels]:
    """The wheels named by hand, or those of a release, fetched and repacked."""
    if options.official:
        yield Wheels(
            options.official, options.patched, options.named, options.uploaded, options.series
        )
        return
    from toolkit.platforms import fitting
    from toolkit.repacking import repack_release
    from toolkit.series import Series

    found = fetched(name, options, workspace)
    with workspace.scratch() as folder:
        made = repack_release(found, Series.load(workspace.patches), workspace, folder)
        # of several platforms, only one can run here
        yield Wheels(
            fitting(made.official, options.python),
            fitting([*made.wheels, *made.passthrough], options.python),
            str(made.release.version),
            made.release.uploaded,
            made.series_digest,
        )


def prove_one(wheels: Wheels, options: argparse.Namespace, workspace: Workspace) -> Verdict:
    """Prove, write what was asked for, and print what came of it."""
    target = options.out and out_of(options.out, wheels, options.tier)
    verdict = prove(
        wheels.official,
        wheels.patched,
        release=wheels.release,
        uploaded=wheels.uploaded,
        environments=workspace.environments,
        verdicts=workspace.verdicts,
        series=wheels.series,
        race_suite=options.suite,
        python=options.python,
        tier=options.tier,
        timeout=options.timeout,
        optional=SUBCLASSES,
        picture=target and target.with_suffix(".svg"),
        watch=watching,
        upstream=Asker.of(options, workspace),
    )
    if target:
        with writing(target.parent):
            write_whole(target, verdict.to_json().encode())
    print(json.dumps(json.loads(verdict.to_json())) if options.json else summary.of(verdict))
    return verdict


def replay_one(wheels: Wheels, options: argparse.Namespace, workspace: Workspace) -> None:
    """Run one schedule on both sides and show both pictures, one after the other."""
    pair = proving.prepare(
        wheels.official,
        wheels.patched,
        uploaded=wheels.uploaded,
        environments=workspace.environments,
        python=options.python,
        optional=SUBCLASSES,
    )
    sides = dict(
        zip(
            ("official", "patched"),
            explorer.replay(
                options.suite,
                pair,
                options.replay,
                timeout=options.timeout or TIMEOUTS["quick"],
                colour=sys.stdout.isatty() and not options.json,
            ),
            strict=True,
        )
    )
    for side, shown in sides.items():
        if shown.trouble:
            raise NotProved(
                f"on the {side} wheels: {shown.trouble}\n{shown.text.strip()}",
                next_step="copy a schedule from a verdict, in quotes",
            )
        if options.out:
            with writing(options.out.parent):
                write_whole(options.out.with_suffix(f".{side}.svg"), shown.svg.encode())
    broken = {
        side: {"violations": shown.violations, "recorded": shown.recorded}
        for side, shown in sides.items()
    }
    document = {"schedule": options.replay, **broken}
    if options.out:
        with writing(options.out.parent):
            write_whole(options.out, f"{json.dumps(document, indent=2)}\n".encode())
    if options.json:
        print(json.dumps(document))
        return
    for side, shown in sides.items():
        print(f"{side} wheels of {wheels.release}\n\n{shown.text}")


def out_of(target: Path, wheels: Wheels, tier: str) -> Path | None:
    """Where the verdict goes, or None because one of the tier full stands there already."""
    try:
        known = Verdict.parse(target.read_text(encoding="utf-8"))
    except (OSError, Malformed, UnicodeDecodeError):
        return target
    proved = {wheel.name: sha256_of(wheel) for wheel in wheels.patched}
    full = known.exploration is not None and known.exploration.tier == "full"
    return None if full and tier != "full" and known.wheels == proved else target


def main(argv: Sequence[str] | None = None) -> int:
    """Prove releases; exit code 0 only if every verdict is ``publish``."""
    chosen = _options(argv)

    def body() -> None:
        workspace = workspace_of(chosen)

        def one(name: str | None) -> None:
            with wheels_of(name, chosen, workspace) as wheels:
                if chosen.replay:
                    replay_one(wheels, chosen, workspace)
                    return
                verdict = prove_one(wheels, chosen, workspace)
                if verdict.verdict != "publish":
                    raise NotProved(
                        f"{wheels.release}: {verdict.verdict}: {verdict.reason}",
                        next_step=_NEXT[verdict.verdict],
                    )

        each(chosen.release, one)

    return run_verb(body)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.prog = "prove.py"
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help="such as 1.8.9 (default: the newest)")
    add("--tier", choices=TIERS, default="quick", help="how many schedules (default: %(default)s)")
    add("--replay", metavar="SCHEDULE", help="run this one schedule on both sides")
    add("--python", help="the Python to prove on (default: the running one)")
    add("--suite", type=Path, default=RACE_SUITE, help="the race suite (default: this project's)")
    add("--timeout", type=float, help="seconds for each step of the suite (default: by tier)")
    add("--out", type=Path, help="write the verdict there, and the picture beside it as .svg")
    add_options(arguments)
    by_hand = arguments.add_argument_group("wheels named by hand, instead of a release")
    add = by_hand.add_argument
    add("--official", nargs="+", type=Path, metavar="WHEEL")
    add("--patched", nargs="+", type=Path, metavar="WHEEL")
    add("--release", dest="named", metavar="RELEASE", help="upstream's version")
    add("--uploaded", type=_moment, help="RFC 3339 time of the release's upload")
    add("--series", default="", metavar="DIGEST", help="digest of the series that was applied")
    chosen = arguments.parse_args(argv)
    named = [chosen.official, chosen.patched, chosen.named, chosen.uploaded]
    if any(named) and (not all(named) or chosen.release):
        arguments.error("name releases, or all of --official --patched --release --uploaded")
    if chosen.out and len(chosen.release) > 1:
        arguments.error("--out takes the verdict of one release")
    return chosen


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


if __name__ == "__main__":
    sys.exit(main())
