"""Drop each hunk of the series in turn and see a race test fail: can the proof fail at all?

A mutant is the patched release without one hunk; later hunks that do not fit without it go with
it. Hunks whose absence changes no code (comments, notices, docstrings) are skipped. Each mutant
runs under the race suite up to the first failure, in a private copy of the environment that the
proof uses. Results are cached, so the same inputs run nothing again.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from toolkit.cli import parser, settings_of, verb
from toolkit.proof.settings import RACE_SUITE
from toolkit.util.console import print_table
from toolkit.util.errors import MutantSurvived
from toolkit.util.parallel import cores

if TYPE_CHECKING:
    from toolkit.patches.mutants import Mutant
    from toolkit.proof.mutation_testing import MutantResult, MutatedRelease

RELEASES = ("1.4.6", "1.8.9")


def document(tested: MutatedRelease) -> dict[str, object]:
    """Return a release and its rows of the table, for machines."""
    rows = [
        {
            "patch": mutant.patch,
            "file": mutant.path,
            "hunk": mutant.hunk,
            "along": mutant.along,
            "outcome": result.outcome,
            "by": result.by,
            "message": result.message,
        }
        for mutant, result in tested.mutants
    ]
    return {"release": tested.release, "passing": tested.passing, "mutants": rows}


def cells(mutant: Mutant, result: MutantResult) -> tuple[str, ...]:
    """Return a row in short, for people."""
    hunk = mutant.hunk.rpartition(" @@")[0].removeprefix("@@ ")
    hunk += f" and {len(mutant.along)} later" * bool(mutant.along)
    outcome = f"{result.outcome}: {result.by or result.message}".removesuffix(": ")
    return mutant.patch, Path(mutant.path).name, hunk, outcome


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Test the mutants of releases; exit code 23 if one survives."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help=f"default: {' and '.join(RELEASES)}")
    add("--python", help="the Python to run the suite on (default: the running one)")
    add("--suite", type=Path, default=RACE_SUITE, help="the race suite (default: this project's)")
    add("--jobs", type=int, default=cores(), help="at a time (default: %(default)s)")
    options = arguments.parse_args(argv)

    # the mutants of each release; imported for work, not for help
    from toolkit.patches.series import Series
    from toolkit.proof.mutation_testing import mutate

    settings = settings_of(options)
    names = dict.fromkeys(options.release or RELEASES)
    series = Series.load(settings.workspace.patches)
    tested = [
        mutate(
            settings.fetch(name),
            series,
            settings.workspace,
            suite=options.suite,
            python=options.python,
            jobs=options.jobs,
        )
        for name in names
    ]
    # a table of them, and an error if one survived
    if options.json:
        print(json.dumps([document(release) for release in tested], indent=2))
    else:
        head = ("patch", "file", "hunk", "outcome")
        for release in tested:
            title = f"{release.release}, {release.passing} tests"
            rows = [cells(*row) for row in release.mutants]
            print_table(head, rows, folded=("outcome",), title=title, log_width=140)
    survived = [
        f"{release.release}: {mutant.patch}, {mutant.path} {mutant.hunk}"
        for release in tested
        for mutant, result in release.mutants
        if result.outcome == "survived"
    ]
    if survived:
        raise MutantSurvived(
            "\n".join(["no race test fails without these hunks:", *survived]),
            next_step="add a race test for what each is there for, or drop the hunk",
        )


if __name__ == "__main__":
    sys.exit(main())
