"""Drop each hunk of the series in turn and see a race test fail: can the proof fail at all?

A mutant is the patched release without one hunk; later hunks that do not fit without it go with
it. Hunks whose absence changes no code (comments, notices, docstrings) are skipped. Each mutant
runs under the race suite up to the first failure, in a private copy of the environment that the
proof uses. What became of a mutant is kept, and not run again for the same inputs.
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
from dataclasses import dataclass

from toolkit.cli import parser, settings_of, verb
from toolkit.environments.pair import prepare
from toolkit.patches.mutants import Mutant, mutants_of
from toolkit.patches.series import Series
from toolkit.proof.mutation_testing import Bite, Change, Teeth
from toolkit.proof.prove import RACE_SUITE
from toolkit.releases.official import Settings
from toolkit.releases.repack import repack_release
from toolkit.util.console import progress_bar
from toolkit.util.errors import MutantSurvived
from toolkit.util.parallel import cores

RELEASES = ("1.4.6", "1.8.9")
SKIPPED = Bite("skipped", message="dropping it changes no code")


@dataclass(frozen=True)
class Tested:
    """One release's mutants with their outcomes, and how many tests pass without a mutant."""

    release: str
    passing: int
    mutants: tuple[tuple[Mutant, Bite], ...]

    @property
    def survivors(self) -> list[Mutant]:
        """The mutants that no test caught."""
        return [mutant for mutant, bite in self.mutants if bite.outcome == "survived"]

    def as_json(self) -> dict[str, object]:
        """The release's rows of the table, for machines."""
        rows = [
            {
                "patch": mutant.patch,
                "file": mutant.path,
                "hunk": mutant.hunk,
                "along": mutant.along,
                "outcome": bite.outcome,
                "by": bite.by,
                "message": bite.message,
            }
            for mutant, bite in self.mutants
        ]
        return {"release": self.release, "passing": self.passing, "mutants": rows}


def mutate(name: str, options: argparse.Namespace, settings: Settings) -> Tested:
    """Test every mutant of one release."""
    workspace = settings.workspace
    series = Series.load(workspace.patches)
    official = settings.fetch(name)
    variants = series.variants_for(official.release.version)
    files = {}
    for path in {change.path for variant in variants for change in variant.changes}:
        distribution, member = series.locate(path)
        wheel = next(official.each(distribution))
        if member in wheel.members:
            files[path] = wheel.read(member)
    mutants = list(mutants_of(variants, files))
    # the environment in which the proof tests the patched wheels
    pair = repack_release(official, series, workspace).pair(options.python)
    _, place = prepare(pair, workspace.environments, python=options.python)
    with workspace.scratch() as folder:
        teeth = Teeth(options.suite, place, folder, workspace.mutants)
        changes = {m: (series.locate(m.path)[1], m.text) for m in mutants if not m.inert}
        bites: dict[Change, Bite] = {}
        with progress_bar(f"{name}: mutants", len(changes)) as tell:
            for change, bite in teeth.bite(list(changes.values()), options.jobs):
                bites[change] = bite
                tell(bite.by)
    tested = tuple((m, bites[changes[m]] if m in changes else SKIPPED) for m in mutants)
    return Tested(name, teeth.passing, tested)


def show(tested: Sequence[Tested]) -> None:
    """Print a table a release."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    width = None if sys.stdout.isatty() else 140
    console = Console(highlight=False, markup=False, width=width)
    for release in tested:
        table = Table(title=f"{release.release}, {release.passing} tests", box=SIMPLE_HEAD)
        for name in ("patch", "file", "hunk"):
            table.add_column(name, no_wrap=True)
        table.add_column("outcome", overflow="fold")
        for mutant, bite in release.mutants:
            hunk = mutant.hunk.rpartition(" @@")[0].removeprefix("@@ ")
            hunk += f" and {len(mutant.along)} later" * bool(mutant.along)
            said = f"{bite.outcome}: {bite.by or bite.message}".removesuffix(": ")
            table.add_row(mutant.patch, Path(mutant.path).name, hunk, said)
        console.print(table)


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help=f"default: {' and '.join(RELEASES)}")
    add("--python", help="the Python to run the suite on (default: the running one)")
    add("--suite", type=Path, default=RACE_SUITE, help="the race suite (default: this project's)")
    add("--jobs", type=int, default=cores(), help="at a time (default: %(default)s)")
    options = arguments.parse_args(argv)

    settings = settings_of(options)
    names = dict.fromkeys(options.release or RELEASES)
    tested = [mutate(name, options, settings) for name in names]
    if options.json:
        print(json.dumps([release.as_json() for release in tested], indent=2))
    else:
        show(tested)
    survived = [
        f"{release.release}: {mutant.patch}, {mutant.path} {mutant.hunk}"
        for release in tested
        for mutant in release.survivors
    ]
    if survived:
        raise MutantSurvived(
            "\n".join(["no race test fails without these hunks:", *survived]),
            next_step="add a race test for what each is there for, or drop the hunk",
        )


if __name__ == "__main__":
    sys.exit(main())
