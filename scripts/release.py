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

import argparse
from collections.abc import Sequence

from toolkit.cli import add_options, add_timeout, parser, verb, workspace_of
from toolkit.index.publish import read_list
from toolkit.patches.series import Series
from toolkit.pipeline.release import Run
from toolkit.pipeline.results import (
    Outcome,
    hashes_below,
    require_all,
    show_changes,
    summary_of,
    tell,
)
from toolkit.proof.exploration import TIERS
from toolkit.proof.prove import PATIENCE, prove
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.pypi import PyPI
from toolkit.releases.select import HELP, NEW, Selection, among, select
from toolkit.releases.update import additions, renew
from toolkit.util.markdown import append
from toolkit.util.parallel import cores
from toolkit.util.workspace import Workspace

# Each environment takes some 40 MB besides what uv shares: those of more releases are not kept.
KEPT_ENVIRONMENTS = 4
_NEWS = "all of which PyPI has wheels that patches/releases.toml did not know"


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the flow for every release selected; return the exit code."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help=f"{HELP}. Alone, {NEW}: {_NEWS}")
    add(
        "--index", metavar="DIR", type=Path, default=Path("dist/index"), help="default: %(default)s"
    )
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
    add("--python", help="the Python to prove on (default: the running one)")
    add("--tier", choices=TIERS, default=TIERS[0], help="how many schedules (%(default)s)")
    add("--jobs", type=int, default=cores(), metavar="N", help="releases at a time (%(default)s)")
    add_timeout(arguments, PATIENCE)
    add_options(arguments)
    options = arguments.parse_args(argv)
    if NEW in options.release and (len(options.release) > 1 or options.offline):
        arguments.error(f"{NEW} goes with no other release, and not with --offline")

    workspace = workspace_of(options)
    before = hashes_below(workspace.patches)
    chosen = choose(options, workspace)
    total = len(chosen.names)
    run = Run(
        options,
        workspace,
        Series.load(workspace.patches),
        Catalogue.read(workspace.catalogue),
        read_list(options.index),
        alone=total == 1,
        keep_environments=total <= KEPT_ENVIRONMENTS,
        prove=prove,
    )
    ended = run.work(chosen.names)
    run.carry(ended)
    outcomes = run.publish([ended[name] for name in chosen.names])
    outcomes += [Outcome(str(one.version), left_out=one.reason) for one in chosen.left_out]
    tell(outcomes, as_json=options.json)
    if options.summary:
        append(options.summary, summary_of(outcomes, lines=False))
    if not options.json:
        show_changes(before, workspace.patches)
    if options.release != [NEW]:
        chosen.require()
    require_all(outcomes, alone=total == 1)


def choose(options: argparse.Namespace, workspace: Workspace) -> Selection:
    """The releases that the command line means; for `new` the catalogue is brought up to date."""
    known = Catalogue.read(workspace.catalogue)
    if options.release != [NEW]:
        return select(options.release, known, yanked=options.yanked, as_of=options.as_of)
    with PyPI(options.pypi, workspace=workspace, as_of=options.as_of) as pypi:
        renew(workspace, pypi)
    now = Catalogue.read(workspace.catalogue)
    return among([now[one] for one in additions(known, now)], yanked=options.yanked)


if __name__ == "__main__":
    sys.exit(main())
