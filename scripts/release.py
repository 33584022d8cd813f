"""From a PyPI release to a private index: fetch, apply, repack, prove, publish.

Without a release the newest stable one that is not yanked is taken. Only wheels whose verdict is
`publish` reach the index; a release with nothing new to do costs next to nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prove import SUBCLASSES, prove
from toolkit.errors import NotProved, PatchConflict, SomeReleasesFailed, ToolkitError, run_verb
from toolkit.files import sha256_of
from toolkit.index import ConsumeLines, consume_lines, publish
from toolkit.ledger import Row, record
from toolkit.repacking import RepackedRelease, repack_release
from toolkit.series import Series
from toolkit.verbs import fetched, parser, workspace_of
from toolkit.verdict import Side, Verdict
from toolkit.workspace import Workspace


@dataclass(frozen=True)
class Outcome:
    """What became of one release: a verdict and its publication, or the error that ended it."""

    release: str
    verdict: Verdict | None = None
    new: tuple[str, ...] = ()
    lines: ConsumeLines | None = None
    error: ToolkitError | None = None

    @property
    def word(self) -> str:
        """The verdict in one word."""
        if isinstance(self.error, PatchConflict):
            return "conflict"
        return self.verdict.verdict if self.verdict else "error"

    @property
    def sides(self) -> tuple[Side, ...]:
        """The official wheels and the patched ones under the suite; empty if nothing ran."""
        return (self.verdict.official, self.verdict.patched) if self.verdict else ()

    def as_json(self) -> dict[str, object]:
        """The row of the table, for machines."""
        row: dict[str, object] = {"release": self.release, "verdict": self.word, "new": self.new}
        if self.verdict:
            row |= {
                "reason": self.verdict.reason,
                "revision": self.verdict.revision,
                "wheels": dict(self.verdict.wheels),
            }
        if self.lines:
            row |= {"pip": self.lines.pip, "uv": self.lines.uv}
        if self.error:
            row |= {"error": str(self.error), "exit_code": self.error.exit_code}
        return row


def release_one(
    name: str | None, options: argparse.Namespace, series: Series, workspace: Workspace
) -> Outcome:
    """Take one release through the flow; an error of the toolkit's own becomes its outcome."""
    label = name or "newest"
    verdict = None
    try:
        official = fetched(name, options, workspace)
        label = str(official.release.version)
        with workspace.scratch() as folder:
            with telling(f"{label}: apply and repack"):
                repacked = repack_release(official, series, workspace, folder)
            with telling(f"{label}: prove"):
                verdict = _prove(repacked, workspace, options)
            if verdict.verdict != "publish":
                raise NotProved(
                    f"{label}: the verdict is {verdict.verdict}: {verdict.reason}",
                    next_step="see what it says; nothing was published for this release",
                )
            wheels = [*repacked.wheels, *repacked.passthrough]
            published = publish(wheels, verdict, options.index)
            _record(repacked, workspace)
        lines = consume_lines(options.index, verdict)
        return Outcome(label, verdict, published.new, lines)
    except ToolkitError as error:
        return Outcome(label, verdict, error=error)


def _prove(repacked: RepackedRelease, workspace: Workspace, options: argparse.Namespace) -> Verdict:
    return prove(
        repacked.official,
        [*repacked.wheels, *repacked.passthrough],
        release=str(repacked.release.version),
        uploaded=repacked.release.uploaded,
        environments=workspace.environments,
        verdicts=workspace.verdicts,
        series=repacked.series_digest,
        python=options.python,
        optional=SUBCLASSES,
    )


def _record(repacked: RepackedRelease, workspace: Workspace) -> None:
    sums = {path.name: sha256_of(path) for path in repacked.wheels}
    row = Row(repacked.revision, repacked.series_digest, sums)
    record(workspace.ledger, repacked.release.version, row)


@contextmanager
def telling(step: str) -> Iterator[None]:
    """Show what is going on, on a terminal; say nothing in a log."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(step):
        yield


def show(outcomes: Sequence[Outcome]) -> None:
    """Print the table, and the lines that a user of pip and a user of uv paste."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("release", "verdict", "official loses", "patched loses", box=SIMPLE_HEAD)
    for outcome in outcomes:
        loses = [f"{len(s.lost)} of {s.passed + s.failed} tests" for s in outcome.sides]
        table.add_row(outcome.release, outcome.word, *(loses or ["", ""]))
    Console(highlight=False).print(table)
    for outcome in outcomes:
        if outcome.verdict and outcome.lines:
            print(f"{outcome.release} with the fix:")
            for wheel in sorted(outcome.verdict.wheels):
                print(f"  {wheel}{' (new)' if wheel in outcome.new else ''}")
            print(f"\n  {outcome.lines.pip}\n\n  {outcome.lines.uv}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the flow for every release named; return the exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("release", nargs="*", metavar="RELEASE", help="such as 1.8.9")
    arguments.add_argument(
        "--index", metavar="DIR", type=Path, default=Path("dist/index"), help="default: %(default)s"
    )
    arguments.add_argument("--python", help="the Python to prove on (default: the running one)")
    options = arguments.parse_args(argv)

    def body() -> None:
        workspace = workspace_of(options)
        series = Series.load(workspace.patches)
        names = list(dict.fromkeys(options.release)) or [None]
        outcomes = [release_one(name, options, series, workspace) for name in names]
        if options.json:
            print(json.dumps([outcome.as_json() for outcome in outcomes], indent=2))
        elif any(outcome.verdict for outcome in outcomes):
            show(outcomes)
        failed = [outcome for outcome in outcomes if outcome.error]
        if len(outcomes) == 1 and failed and failed[0].error:
            raise failed[0].error
        if failed:
            raise SomeReleasesFailed(
                "\n".join(
                    [f"{len(failed)} of {len(outcomes)} releases failed:"]
                    + [f"{o.release}: {type(o.error).__name__}: {o.error}" for o in failed]
                ),
                next_step="run again for one of these; the others are published",
            )

    return run_verb(body)


if __name__ == "__main__":
    sys.exit(main())
