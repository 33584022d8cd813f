"""Run the race suite on official and on patched wheels, and print what that proves.

Examples:
    python scripts/prove.py 1.8.9 1.4.6 --tier full
    python scripts/prove.py 1.8.9 --replay agent/openai/call/fresh-copy-history:3g3dAh
    python scripts/prove.py --release 1.8.9 --uploaded 2026-10-24T02:32:37Z \\
        --official OFFICIAL/*.whl --patched PATCHED/*.whl --out verdict.json

A release (without one, the newest) is fetched and patched first, and its verdict is stored:
`status` shows it, and `release` does not prove it again. ``--replay`` runs one schedule on both
sides and shows what happens; a verdict names the schedules that are worth it.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from toolkit.cli import add_proof, parser, proof_settings_of, settings_of, verb
from toolkit.proof.settings import RACE_SUITE, STANDSTILL, ProofSettings
from toolkit.releases.select import for_each_release

if TYPE_CHECKING:
    from toolkit.environments.pair import WheelPair


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Prove releases; exit code 0 only if every verdict is ``publish``."""
    options = _options(argv)
    # imported for work, not for help
    from toolkit.environments.pair import WheelPair
    from toolkit.proof import one_release

    settings = settings_of(options)
    proof = replace(proof_settings_of(options, settings), race_suite=options.suite)
    work = replay_one if options.replay else prove_one
    if options.official:
        sides = tuple(options.official), tuple(options.patched)
        pair = WheelPair(*sides, options.named, options.uploaded, options.series)
        work(pair, "", options, proof)
        return

    def one(name: str | None) -> None:
        with one_release.repacked_pair(name, settings, proof) as (pair, key):
            work(pair, key, options, proof)

    for_each_release(options.release, one)


def prove_one(pair: WheelPair, key: str, options: Namespace, proof: ProofSettings) -> None:
    """Prove, and print and write the verdict. Raises NotProved unless it is ``publish``."""
    from toolkit.proof import one_release, summary

    verdict, svg = one_release.prove_pair(pair, key, proof)
    if options.out:
        one_release.write_verdict(options.out, verdict, svg)
    print(json.dumps(json.loads(verdict.to_json())) if options.json else summary.describe(verdict))
    one_release.require_publish(pair.release, verdict)


def replay_one(pair: WheelPair, _key: str, options: Namespace, proof: ProofSettings) -> None:
    """Run one schedule on both sides, and print and write both pictures, one after the other."""
    from toolkit.proof import one_release

    colour = sys.stdout.isatty() and not options.json
    replayed = one_release.replay_pair(pair, options.replay, proof, colour=colour)
    if options.out:
        replayed.write(options.out)
    texts = [f"{side} wheels of {pair.release}\n\n{r.text}" for side, r in replayed.sides.items()]
    print(json.dumps(replayed.document) if options.json else "\n".join(texts))
    replayed.require_not_worse()


def _options(argv: Sequence[str] | None) -> Namespace:
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
