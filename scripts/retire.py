"""End the series, once the newest stable official release loses no call by itself.

Only behaviour counts: the verdict on its official wheels must be `fixed` in the tier full, over
today's tests. Without --prove, a verdict that this machine remembers is taken. What became of pull
requests upstream is not asked.

Without --yes it is only told what would happen in the index: the official wheels go in, with a
livekit-dispatched that requires them; patched wheels of that release and of earlier ones are yanked
with a reason that names it; the projects are deprecated with the same reason. Whoever upgrades gets
the official release, and what was pinned or locked is still there.

Examples:
    python scripts/retire.py --prove
    python scripts/retire.py --index dist/index --yes
    python scripts/retire.py --prove --out verdict.json
    python scripts/retire.py --index dist/index --verdict verdict.json --yes
    python scripts/retire.py --index dist/index --undo
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from toolkit.cli import add_index, add_proof, parser, proof_settings_of, settings_of, verb
from toolkit.index.retire import Retirement, last_bundle, retire, undo
from toolkit.patches.series import Series
from toolkit.proof.exploration import TIERS
from toolkit.proof.prove import STANDSTILL
from toolkit.proof.store import FIXED, VerdictStore
from toolkit.proof.unpatched import FULL, alone, remembered, require_fixed
from toolkit.proof.verdict import Verdict, read_verdict
from toolkit.util.console import step_status
from toolkit.util.files import not_writable_errors, write_whole


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    arguments = parser(__doc__, without=("yanked",))
    add = arguments.add_argument
    add_index(arguments)
    add_proof(arguments, STANDSTILL, tier=False, upstream=False)
    what = arguments.add_mutually_exclusive_group()
    what.add_argument("--yes", action="store_true", help="do it")
    what.add_argument("--undo", action="store_true", help="take it back, at once")
    known = arguments.add_mutually_exclusive_group()
    known.add_argument(
        "--verdict", metavar="FILE", type=Path, help="take what --out wrote, perhaps elsewhere"
    )
    add("--out", metavar="FILE", type=Path, help="write the verdict")
    known.add_argument(
        "--prove", action="store_true", help="run the tier full if no verdict is remembered"
    )
    options = arguments.parse_args(argv)
    if options.yes and (options.as_of or options.offline):
        arguments.error("--yes asks what is newest today: not with --as-of, nor with --offline")

    if options.undo:
        say(undo(options.index), options, {}, would=False)
        return
    settings = settings_of(options)
    release = settings.find(None)
    official = settings.fetch(release)
    store = VerdictStore.open(settings.workspace.outcomes, options.python)
    verdict: Verdict | None
    if options.verdict:
        verdict = read_verdict(options.verdict)
    elif options.prove:
        proof = replace(proof_settings_of(options, settings), tier=FULL)
        verdict = alone(official, store, proof, watch=step_status)
    else:
        verdict = remembered(store, release) or remembered(store, release, TIERS[0])
    if verdict and options.out:
        with not_writable_errors(options.out):
            write_whole(options.out, verdict.to_json().encode())
    verdict = require_fixed(release, verdict)
    bundle = last_bundle(official, verdict, Series.load(settings.workspace.patches))
    done = retire(options.index, bundle, dry_run=not options.yes)
    about = {"release": str(release.version), "verdict": FIXED, "reason": verdict.reason}
    say(done, options, about, would=not options.yes)


def say(
    done: Retirement, options: argparse.Namespace, about: dict[str, str], *, would: bool
) -> None:
    """Print what happened, or would."""
    if options.json:
        print(json.dumps({**about, "dry_run": would, **asdict(done)}, indent=2))
        return
    if about:
        print(f"{about['release']}: {about['verdict']}: {about['reason']}")
    print(*done.lines(dry_run=would), sep="\n")
    if would and done:
        print("note: what is pinned or locked stays; a range that excludes this release may lead")
        print("      to official wheels that lose calls; nothing was done yet: --yes does it")


if __name__ == "__main__":
    sys.exit(main())
