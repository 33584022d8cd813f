"""From PyPI releases to a private index: fetch, apply, repack, prove, publish.

Without a release the newest stable one that is not yanked is taken. Only wheels whose verdict is
`publish` reach the index. Releases are independent: they are worked on side by side, one that
fails stops no other, and what was done before with the same inputs is not done again.

A release that patches/releases.toml does not know is put there first, with all else that is new
on PyPI; `new` takes just these. If the series does not fit a release that was never published, it
is carried there: patches/ then holds new variants that are proved and ready to be committed, or
nothing new, and what a human must decide is in --refresh DIR. With more than four releases in one
run, their environments are made for the proof and thrown away after it.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

from collections.abc import Sequence
from dataclasses import replace

from toolkit.cli import add_index, add_proof, parser, proof_settings_of, settings_of, verb
from toolkit.proof.settings import STANDSTILL
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.official import Settings
from toolkit.releases.select import HELP, NEW, Selection, select, takeable
from toolkit.releases.update import additions, update_catalogue
from toolkit.util.markdown import append
from toolkit.util.parallel import cores

# Each environment takes some 40 MB besides what uv shares: those of more releases are not kept.
KEPT_ENVIRONMENTS = 4
_NEWS = "all of which PyPI has wheels that patches/releases.toml did not know"


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the flow for every release selected; return the exit code."""
    # The command line
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help=f"{HELP}. Alone, {NEW}: {_NEWS}")
    add_index(arguments)
    add(
        "--refresh",
        metavar="DIR",
        type=Path,
        default=Path("dist/refresh"),
        help="where a release waits for a human (%(default)s)",
    )
    add(
        "--verdicts",
        metavar="DIR",
        type=Path,
        help="write each verdict there as soon as it is known: `publish --from` takes them",
    )
    add("--summary", metavar="FILE", type=Path, help="add a table to it, as Markdown")
    add("--jobs", type=int, default=cores(), metavar="N", help="releases at a time (%(default)s)")
    add_proof(arguments, STANDSTILL)
    options = arguments.parse_args(argv)
    if NEW in options.release and (len(options.release) > 1 or options.offline):
        arguments.error(f"{NEW} goes with no other release, and not with --offline")

    # Which releases, and what they share; the flow imports all rooms, which --help needs not
    from toolkit.pipeline import results as outcome
    from toolkit.pipeline.flow import release_all
    from toolkit.pipeline.session import Session

    settings = settings_of(options)
    proof = proof_settings_of(options, settings)
    patches = settings.workspace.patches
    before = outcome.hashes_below(patches)
    chosen = choose(options.release, settings)
    total = len(chosen.names)
    session = Session(
        settings,
        replace(proof, keep_environments=total <= KEPT_ENVIRONMENTS),
        index=options.index,
        conflicts=options.refresh,
        verdicts_out=options.verdicts,
        jobs=options.jobs,
        single=total == 1,
    )
    # The flow, and what came of it
    results = release_all(chosen.names, session)
    results += [outcome.Result(str(one.version), left_out=one.reason) for one in chosen.left_out]
    outcome.tell(results, as_json=options.json)
    if options.summary:
        append(options.summary, outcome.summary_of(results, lines=False))
    if not options.json:
        outcome.show_changes(before, patches)
    if options.release != [NEW]:
        chosen.require()
    outcome.require_all(results, single=total == 1)


def choose(names: list[str], settings: Settings) -> Selection:
    """Return the releases that are named; `new` brings the catalogue up to date first."""
    known = Catalogue.read(settings.workspace.catalogue)
    if names != [NEW]:
        return select(names, known, yanked=settings.yanked, as_of=settings.as_of)
    with settings.open() as pypi:
        update_catalogue(settings.workspace, pypi)
    now = Catalogue.read(settings.workspace.catalogue)
    return takeable([now[version] for version in additions(known, now)], yanked=settings.yanked)


if __name__ == "__main__":
    sys.exit(main())
