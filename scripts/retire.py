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

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from toolkit.cli import add_index, add_proof, parser, proof_settings_of, settings_of, verb
from toolkit.proof.settings import STANDSTILL, TIERS
from toolkit.util.console import step_status
from toolkit.util.files import not_writable_errors, write_whole

if TYPE_CHECKING:
    from toolkit.proof.verdict import Verdict


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    arguments = parser(__doc__, without=("yanked",))
    add = arguments.add_argument
    add_index(arguments)
    add_proof(arguments, STANDSTILL, tier=False, upstream=False)
    change = arguments.add_mutually_exclusive_group()
    change.add_argument("--yes", action="store_true", help="do it")
    change.add_argument("--undo", action="store_true", help="take it back, at once")
    source = arguments.add_mutually_exclusive_group()
    source.add_argument(
        "--verdict", metavar="FILE", type=Path, help="take what --out wrote, perhaps elsewhere"
    )
    add("--out", metavar="FILE", type=Path, help="write the verdict")
    source.add_argument(
        "--prove", action="store_true", help="run the tier full if no verdict is remembered"
    )
    options = arguments.parse_args(argv)
    if options.yes and (options.as_of or options.offline):
        arguments.error("--yes asks what is newest today: not with --as-of, nor with --offline")

    # slow to import, and not needed to refuse a command line
    from toolkit.index.report import Report
    from toolkit.index.retire import last_bundle, retire, undo
    from toolkit.patches.series import Series
    from toolkit.proof.store import FIXED, VerdictStore
    from toolkit.proof.unpatched import FULL, cached_unpatched, prove_unpatched, require_fixed
    from toolkit.proof.verdict import read_verdict

    # take it back
    if options.undo:
        report = Report(options.json)
        report.retired(undo(options.index))
        report.end()
        return
    settings = settings_of(options)
    release = settings.find(None)
    official = settings.fetch(release)
    # the verdict: from a file, by a proof, or remembered
    store = VerdictStore.open(settings.workspace.outcomes, options.python)
    verdict: Verdict | None
    if options.verdict:
        verdict = read_verdict(options.verdict)
    elif options.prove:
        proof = replace(proof_settings_of(options, settings), tier=FULL)
        verdict = prove_unpatched(official, store, proof, watch=step_status)
    else:
        verdict = cached_unpatched(store, release) or cached_unpatched(store, release, TIERS[0])
    if verdict and options.out:
        with not_writable_errors(options.out):
            write_whole(options.out, verdict.to_json().encode())
    # end the series, or say what that would change
    verdict = require_fixed(release, verdict)
    bundle = last_bundle(official, verdict, Series.load(settings.workspace.patches))
    retirement = retire(options.index, bundle, dry_run=not options.yes)
    report = Report(options.json, dry_run=not options.yes)
    about = {"release": str(release.version), "verdict": FIXED, "reason": verdict.reason}
    report.add(about, [": ".join(about.values())])
    report.retired(retirement)
    report.end()


if __name__ == "__main__":
    sys.exit(main())
