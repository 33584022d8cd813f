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
from dataclasses import replace
from datetime import datetime

from toolkit.cli import add_proof, each, parser, proof_settings_of, settings_of, verb
from toolkit.environments.pair import WheelPair, prepare
from toolkit.patches.series import Series
from toolkit.proof import summary
from toolkit.proof.prove import RACE_SUITE, STANDSTILL, ProofSettings, prove
from toolkit.proof.replay import replay
from toolkit.proof.store import VerdictStore, VerdictSummary
from toolkit.proof.verdict import Proof, Verdict
from toolkit.releases.official import Settings
from toolkit.releases.repack import repack_release
from toolkit.util.console import step_status
from toolkit.util.errors import NotProved, PatchConflict
from toolkit.util.files import not_writable_errors, write_whole
from toolkit.util.strict_json import Malformed

_NEXT = {
    "fixed": "if the tier full says so too of the newest release, `nox -s retire` ends the series",
    "conflict": "refresh the series for this release",
    "regressed": "replay the schedule, or run the suite in the patched environment",
    "inconclusive": "remove the cause and prove again; nothing was proved either way",
}


@contextmanager
def wheels_of(
    name: str | None, options: argparse.Namespace, settings: Settings
) -> Iterator[tuple[WheelPair, str]]:
    """Yield the wheels named by hand, or those of a release, and the store's key for the verdict.

    The key is empty for wheels named by hand, and for another race suite than this project's.
    """
    if options.official:
        sides = tuple(options.official), tuple(options.patched)
        yield WheelPair(*sides, options.named, options.uploaded, options.series), ""
        return
    workspace = settings.workspace
    official = settings.fetch(name)
    series = Series.load(workspace.patches)
    store = VerdictStore.open(workspace.outcomes, options.python)
    key = store.key(official.release, series.digest(official.release.version), options.tier)
    with workspace.scratch() as folder:
        try:
            repacked = repack_release(official, series, workspace, folder)
        except PatchConflict as error:
            store.write(key, error)
            raise
        yield repacked.pair(options.python), key if options.suite == RACE_SUITE else ""


def prove_one(
    pair: WheelPair, key: str, options: argparse.Namespace, settings: ProofSettings
) -> Verdict:
    """Prove, write and print the verdict, and remember it under ``key`` as `release` does."""
    workspace = settings.workspace

    def tell(line: str) -> None:
        print(line, file=sys.stderr)

    with workspace.scratch(small=True) as folder:
        drawn = folder / "picture.svg"
        verdict = prove(pair, settings, picture=drawn, tell=tell, watch=step_status)
        picture = drawn.read_bytes() if drawn.is_file() else b""
    if key:
        store = VerdictStore.open(workspace.outcomes, settings.python)
        store.write(key, VerdictSummary.of(verdict), Proof.of(verdict))
        _write(store.picture(key), picture)
    if options.out and not outlives(options.out, verdict):
        _write(options.out, verdict.to_json().encode())
        _write(options.out.with_suffix(".svg"), picture)
    print(json.dumps(json.loads(verdict.to_json())) if options.json else summary.of(verdict))
    return verdict


def _write(target: Path, data: bytes) -> None:
    if data:
        with not_writable_errors(target.parent):
            write_whole(target, data)


def replay_one(pair: WheelPair, options: argparse.Namespace, settings: ProofSettings) -> None:
    """Run one schedule on both sides and show both pictures, one after the other.

    Raises NotProved if the patched wheels break what they must not, or more than the official ones.
    """
    environments = prepare(pair, settings.workspace.environments, python=settings.python)
    colour = sys.stdout.isatty() and not options.json
    pictures = replay(
        settings.race_suite,
        environments,
        options.replay,
        timeout=settings.timeout,
        colour=colour,
    )
    sides = dict(zip(("official", "patched"), pictures, strict=True))
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
            print(f"{side} wheels of {pair.release}\n\n{shown.text}")
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
    options = _options(argv)
    settings = settings_of(options)
    proof = replace(proof_settings_of(options, settings), race_suite=options.suite)

    def one(name: str | None) -> None:
        with wheels_of(name, options, settings) as (pair, key):
            if options.replay:
                replay_one(pair, options, proof)
                return
            verdict = prove_one(pair, key, options, proof)
            if verdict.verdict != "publish":
                raise NotProved(
                    f"{pair.release}: {verdict.verdict}: {verdict.reason}",
                    next_step=_NEXT[verdict.verdict],
                )

    each(options.release, one)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.prog = "prove.py"
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help="such as 1.8.9 (default: the newest)")
    add("--replay", metavar="SCHEDULE", help="run this one schedule on both sides")
    add("--suite", type=Path, default=RACE_SUITE, help="the race suite (default: this project's)")
    add("--out", type=Path, help="write the verdict there, and the picture beside it as .svg")
    add_proof(arguments, STANDSTILL)
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
