"""The support matrix: which releases lose calls, what carries the series, what was published.

The figures come from the verdicts that this machine knows, or else from the index; what was
published, from patches/releases.toml. What became of the changes that patches/series.toml names
comes from GitHub (with the token in GITHUB_TOKEN or GH_TOKEN, if there is one), and whether the
newest release contains patches already, from its wheels. --matrix prints the releases that were
published, and the Python versions that they support, for a CI matrix (GitHub's `fromJSON`) instead.
--groups prints all releases that are named, spread over so many jobs, in the same form.
--since COMMIT keeps to the releases of which releases.toml records other wheels of ours than at a
commit of this repository.
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
from dataclasses import asdict

from toolkit.cli import add_index, parser, verb, workspace_of
from toolkit.pipeline.ci_matrix import Matrix, groups_of, jobs_of
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.select import ALL, HELP, entries_of, select

# GitHub runs no more jobs for one matrix.
MOST_JOBS = 256


def command_line() -> argparse.ArgumentParser:
    """The options, and what they mean."""
    arguments = parser(__doc__, without=("pypi", "yanked", "offline"))
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help=f"{HELP.partition('; yanked')[0]}")
    add_index(arguments)
    add("--python", help="whose verdicts (default: the running one's)")
    add("--since", metavar="COMMIT", help="only what was recorded since then")
    add("--groups", type=int, metavar="N", help="print a CI matrix of at most N groups instead")
    add("--summary", metavar="FILE", type=Path, help="add the table to it, as Markdown")
    add("--matrix", action="store_true", help="print a CI matrix instead")
    add("--jobs", type=int, default=MOST_JOBS, metavar="N", help="most jobs in it (%(default)s)")
    add(
        "--offline", action="store_true", help="do not ask GitHub what became of upstream's changes"
    )
    return arguments


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    arguments = command_line()
    options = arguments.parse_args(argv)
    if options.groups is not None and options.groups < 1:
        arguments.error("--groups takes a number from 1 on")

    # a CI matrix of names, of recorded releases, or of these and their Pythons
    workspace = workspace_of(options)
    catalogue = Catalogue.read(workspace.catalogue)
    names = options.release or [ALL]
    if options.groups and not options.since:
        # PyPI may have names that the catalogue does not know yet
        selection = select(names, catalogue, yanked=False, as_of=options.as_of)
        selection.require()
        print_matrix(groups_of(selection.names, options.groups))
        return
    entries = entries_of(names, catalogue, options.as_of)
    if options.since:
        from toolkit.pipeline.status import recorded_at

        before = recorded_at(options.since, workspace)
        entries = [e for e in entries if e.row and e.row != before.get(e.version)]
    if options.groups:
        print_matrix(groups_of([entry.version for entry in entries], options.groups))
    elif options.matrix:
        taken = entries if options.release else [e for e in entries if e.yanked is None]
        try:
            print_matrix(jobs_of(taken, options.jobs))
        except ValueError as error:
            arguments.error(f"--jobs {options.jobs}: {error}")
    # or what is known of each release
    else:
        from toolkit.patches.series import Series
        from toolkit.pipeline.status import StatusReport
        from toolkit.pipeline.support_matrix import SupportMatrix
        from toolkit.proof.store import VerdictStore
        from toolkit.util.markdown import append

        existing = {v: e for v, e in catalogue.items() if e.existed(options.as_of)}
        verdicts = VerdictStore.open(workspace.outcomes, options.python)
        matrix = SupportMatrix(Series.load(workspace.patches), verdicts, options.index)
        report = StatusReport.of(entries, existing, matrix, workspace, offline=options.offline)
        if options.json:
            print(json.dumps(asdict(report), indent=1))
        else:
            report.print()
        if options.summary:
            append(options.summary, report.markdown())


def print_matrix(include: Matrix) -> None:
    """Print a CI matrix, as GitHub's `fromJSON` reads it."""
    print(json.dumps({"include": include}))


if __name__ == "__main__":
    sys.exit(main())
