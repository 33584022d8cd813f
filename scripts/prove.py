"""Run the race suite on official and on patched wheels, and say what that proves.

Examples:
    python scripts/prove.py 1.8.9 1.4.6 --tier full
    python scripts/prove.py 1.8.9 --replay agent/openai/call/fresh-copy-history:3g3dAh
    python scripts/prove.py --release 1.8.9 --uploaded 2026-10-24T02:32:37Z \\
        --official OFFICIAL/*.whl --patched PATCHED/*.whl --out verdict.json

A release (without one, the newest) is fetched and patched first, and what came of it is remembered:
`status` shows it, and `release` proves nothing again. ``--replay`` runs one schedule on
both sides and shows what happens; a verdict names the schedules that are worth it.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from toolkit.cli import add_options, add_timeout, each, parser, verb, workspace_of
from toolkit.environments.pair import prepare
from toolkit.proof import explorer, summary
from toolkit.proof.exploration import TIERS
from toolkit.proof.prove import PATIENCE, RACE_SUITE, SUBCLASSES, prove
from toolkit.proof.store import Judged, Outcomes
from toolkit.proof.upstream_tests import Asker
from toolkit.proof.verdict import Proof, Verdict
from toolkit.releases.official import fetched
from toolkit.util.console import step_status
from toolkit.util.errors import NotProved, PatchConflict
from toolkit.util.files import not_writable_errors, write_whole
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import Workspace

__all__ = ["RACE_SUITE", "SUBCLASSES", "main", "prove"]

_NEXT = {
    "fixed": "if the tier full says so too of the newest release, `nox -s retire` ends the series",
    "conflict": "refresh the series for this release",
    "regressed": "replay the schedule, or run the suite in the patched environment",
    "inconclusive": "remove the cause and prove again; nothing was proved either way",
}


@dataclass(frozen=True)
class Wheels:
    """What is to be proved.

    ``others`` are patched wheels for other platforms, ``key`` is where the outcome is remembered,
    which is nowhere for wheels that were named by hand and for other tests than this project's.
    """

    official: Sequence[Path]
    patched: Sequence[Path]
    release: str
    uploaded: datetime
    series: str
    others: Sequence[Path] = ()
    key: str = ""


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
    from toolkit.environments.platforms import fitting
    from toolkit.patches.series import Series
    from toolkit.releases.repack import repack_release

    found = fetched(name, options, workspace)
    series = Series.load(workspace.patches)
    outcomes = Outcomes.open(workspace.outcomes, options.python)
    key = outcomes.key(found.release, series.digest(found.release.version), options.tier)
    with workspace.scratch() as folder:
        try:
            made = repack_release(found, series, workspace, folder)
        except PatchConflict as error:
            outcomes.write(key, error)
            raise
        # of several platforms, only one can run here
        patched = fitting([*made.wheels, *made.passthrough], options.python)
        yield Wheels(
            fitting(made.official, options.python),
            patched,
            str(made.release.version),
            made.release.uploaded,
            made.series_digest,
            [wheel for wheel in made.wheels if wheel not in patched],
            key if options.suite == RACE_SUITE else "",
        )


def prove_one(wheels: Wheels, options: argparse.Namespace, workspace: Workspace) -> Verdict:
    """Prove, write what was asked for, remember it as `release` does, and print what came of it."""
    with workspace.scratch(small=True) as folder:
        drawn = folder / "picture.svg"
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
            picture=drawn,
            others=wheels.others,
            watch=step_status,
            upstream=Asker.of(options, workspace),
        )
        picture = drawn.read_bytes() if drawn.is_file() else b""
    if wheels.key:
        outcomes = Outcomes.open(workspace.outcomes, options.python)
        outcomes.write(wheels.key, Judged.of(verdict), Proof.of(verdict))
        _write(outcomes.picture(wheels.key), picture)
    if options.out and not outlives(options.out, verdict):
        _write(options.out, verdict.to_json().encode())
        _write(options.out.with_suffix(".svg"), picture)
    print(json.dumps(json.loads(verdict.to_json())) if options.json else summary.of(verdict))
    return verdict


def _write(target: Path, data: bytes) -> None:
    if data:
        with not_writable_errors(target.parent):
            write_whole(target, data)


def replay_one(wheels: Wheels, options: argparse.Namespace, workspace: Workspace) -> None:
    """Run one schedule on both sides and show both pictures, one after the other.

    Raises NotProved if the patched wheels break what they must not, or more than the official ones.
    """
    pair = prepare(
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
                timeout=options.timeout,
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
            _write(options.out.with_suffix(f".{side}.svg"), shown.svg.encode())
    broken = {
        side: {"violations": shown.violations, "recorded": shown.recorded}
        for side, shown in sides.items()
    }
    document = {"schedule": options.replay, **broken}
    if options.out:
        _write(options.out, f"{json.dumps(document, indent=2)}\n".encode())
    if options.json:
        print(json.dumps(document))
    else:
        for side, shown in sides.items():
            print(f"{side} wheels of {wheels.release}\n\n{shown.text}")
    official, patched = (sides[side] for side in ("official", "patched"))
    worse = [n for n in patched.violations if patched.flag or n not in official.violations]
    if worse:
        raise NotProved(
            f"{options.replay} breaks {', '.join(worse)} on the patched wheels",
            next_step="look in the picture for what they do there; no proof lets such wheels pass",
        )


def outlives(target: Path, verdict: Verdict) -> bool:
    """Whether the verdict in a file says more than a new one: the tier full, of the same things."""
    try:
        known = Verdict.parse(target.read_text(encoding="utf-8"))
    except (OSError, Malformed, UnicodeDecodeError):
        return False
    tiers = [one.exploration.tier if one.exploration else "" for one in (known, verdict)]
    same = all(
        getattr(known, one) == getattr(verdict, one) for one in ("wheels", "series", "suite")
    )
    return same and tiers == ["full", "quick"] and verdict.verdict == "publish"


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Prove releases; exit code 0 only if every verdict is ``publish``."""
    chosen = _options(argv)

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


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.prog = "prove.py"
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help="such as 1.8.9 (default: the newest)")
    add("--tier", choices=TIERS, default="quick", help="how many schedules (default: %(default)s)")
    add("--replay", metavar="SCHEDULE", help="run this one schedule on both sides")
    add("--python", help="the Python to prove on (default: the running one)")
    add("--suite", type=Path, default=RACE_SUITE, help="the race suite (default: this project's)")
    add_timeout(arguments, PATIENCE)
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
