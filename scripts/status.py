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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import chain

from packaging.version import Version

from toolkit.cli import parser, verb, workspace_of
from toolkit.forward.github import GitHub
from toolkit.forward.newest_release import NewestRelease, newest_of
from toolkit.forward.pull_requests import PullRequest, links_of, watch
from toolkit.patches.git_repo import Repository
from toolkit.patches.series import Series
from toolkit.pipeline.pythons import groups, jobs, pythons_of
from toolkit.pipeline.support_matrix import Line, Lookup
from toolkit.proof.store import Outcomes
from toolkit.releases.catalogue import Catalogue, Entry, Row
from toolkit.releases.select import ALL, HELP, select
from toolkit.util.errors import CommandFailed, UnknownRelease, printable
from toolkit.util.markdown import append, cell, table
from toolkit.util.names import MAIN
from toolkit.util.workspace import Workspace

# GitHub runs no more jobs for one matrix.
MOST_JOBS = 256


HEAD = ("release", "official loses calls", "verdict", "rev.", "variants of", "wheels", "remarks")


def rows_of(lines: Sequence[Line]) -> Iterator[tuple[str, ...]]:
    """The rows of the table under HEAD; of the variants they name the newest."""
    words = {True: "yes", False: "no", None: "?"}
    for line in lines:
        loses = f"{words[line.loses]} ({line.official})" if line.official else words[line.loses]
        remarks = [
            f"yanked: {line.yanked or 'no reason given'}" if line.yanked is not None else "",
            "gone from PyPI" if line.gone else "",
            f"plugin {line.partner}" if line.partner not in ("", line.release) else "",
            line.reason if line.verdict != "publish" else "",
            "" if line.current or line.verdict == "unknown" else "proved with other code",
        ]
        yield (
            line.release,
            loses,
            line.verdict,
            str(line.revision or ""),
            str(max(map(Version, line.variants.values()), default="")),
            " ".join(sorted(w.partition("-")[0].rpartition("_")[2] for w in line.wheels)),
            printable("; ".join(filter(None, remarks))),
        )


def show(lines: Sequence[Line]) -> None:
    """Print the table, for people."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    shown = Table(*HEAD[:4], box=SIMPLE_HEAD)
    for name in HEAD[4:]:
        shown.add_column(name, overflow="fold")
    for row in rows_of(lines):
        shown.add_row(*row)
    # a log has no width to fit into
    width = None if sys.stdout.isatty() else 160
    Console(highlight=False, markup=False, width=width).print(shown)


def summary_of(
    lines: Sequence[Line], changes: Sequence[PullRequest], found: NewestRelease | None
) -> str:
    """The same as Markdown."""
    titles = [f"  ({change.title})" if change.title else "" for change in changes]
    said = [f"- {cell(f'{one.name}: {one}{t}')}" for one, t in zip(changes, titles, strict=True)]
    said += [f"- {cell(str(found))}"] if found else []
    return "\n\n".join([table(HEAD, rows_of(lines)), "\n".join(said)])


def tell(changes: Sequence[PullRequest], found: NewestRelease | None) -> None:
    """Print what became of the changes upstream, and how its newest release does."""
    width = max((len(change.name) for change in changes), default=0)
    for change in changes:
        title = f"  ({change.title})" if change.title else ""
        print(f"{change.name:<{width}}  {change}{title}")
    if found:
        print(found)


def command_line() -> argparse.ArgumentParser:
    """The options, and what they mean."""
    arguments = parser(__doc__, without=("pypi", "yanked", "offline"))
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help=f"{HELP.partition('; yanked')[0]}")
    add(
        "--index", metavar="DIR", type=Path, default=Path("dist/index"), help="default: %(default)s"
    )
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

    workspace = workspace_of(options)
    catalogue = Catalogue.read(workspace.catalogue)
    words = options.release or [ALL]
    if options.groups and not options.since:
        # PyPI may have names that the catalogue does not know yet
        named = select(words, catalogue, yanked=False, as_of=options.as_of)
        named.require()
        print(json.dumps({"include": groups([*map(str, named.names)], options.groups)}))
        return
    entries = entries_of(words, catalogue, options.as_of)
    if options.since:
        before = recorded_at(options.since, workspace)
        entries = [e for e in entries if e.row and e.row != before.get(e.version)]
    if options.groups:
        names = [str(entry.version) for entry in entries]
        print(json.dumps({"include": groups(names, options.groups)}))
        return
    if options.matrix:
        taken = entries if options.release else [e for e in entries if e.yanked is None]
        print(json.dumps({"include": matrix_of(taken, options.jobs, arguments)}))
        return
    existing = {v: e for v, e in catalogue.items() if e.existed(options.as_of)}
    outcomes = Outcomes.open(workspace.outcomes, options.python)
    lookup = Lookup(Series.load(workspace.patches), outcomes, options.index)
    lines = [lookup.line(entry) for entry in entries]
    changes: tuple[PullRequest, ...] = ()
    if not options.offline:
        changes = watch(links_of(lookup.series), GitHub(workspace.watched), uploads(existing))
    found = newest_of(existing, lookup.series, workspace, lambda e: lookup.line(e).loses)
    if options.json:
        document = {
            "releases": [asdict(line) for line in lines],
            "upstream": [asdict(change) for change in changes],
            "newest": found and asdict(found),
        }
        print(json.dumps(document, indent=1))
    else:
        show(lines)
        tell(changes, found)
    if options.summary:
        append(options.summary, summary_of(lines, changes, found))


def matrix_of(
    entries: Sequence[Entry], most: int, arguments: argparse.ArgumentParser
) -> list[dict[str, str]]:
    """The CI matrix of releases and their Pythons; a usage error if ``most`` jobs are too few."""
    supported = {str(e.version): pythons_of(e.release) for e in _carried(entries)}
    if most < (least := len({*chain(*supported.values())})):
        arguments.error(f"--jobs {most}: {least} versions of Python need a job each")
    return jobs(supported, most)


def entries_of(words: Sequence[str], catalogue: Catalogue, as_of: datetime | None) -> list[Entry]:
    """The releases that the command line names, also those that cannot be taken, the oldest first.

    Raises UnknownRelease.
    """
    chosen = select(words, catalogue, yanked=True, as_of=as_of)
    left_out = [one.version for one in chosen.left_out]
    entries = [_entry(catalogue, name) for name in (*chosen.names, *left_out)]
    return sorted(entries, key=lambda entry: entry.version)


def recorded_at(commit: str, workspace: Workspace) -> dict[Version, Row]:
    """The rows of releases.toml as of a commit of the repository around it; none if it was not."""
    path = workspace.catalogue
    try:
        data = Repository(path.parents[1]).read(commit, f"{path.parent.name}/{path.name}")
    except CommandFailed as error:
        raise CommandFailed(
            f"{path.parents[1]} has no commit {commit}: {error.problem}",
            next_step="name one that `git log` shows",
        ) from error
    return Catalogue.parse(data or b"", path).rows()


def uploads(catalogue: Mapping[Version, Entry]) -> dict[Version, datetime]:
    """When each release was whole on PyPI."""
    return {
        version: max(a.upload_time for a in entry.official if a.distribution == MAIN)
        for version, entry in catalogue.items()
        if any(a.distribution == MAIN for a in entry.official)
    }


def _carried(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Those of which something was published; the others are told on standard error."""
    for entry in entries:
        if entry.row:
            yield entry
        else:
            why = "nothing was published of it" if entry.partner else "no plugin goes with it"
            print(f"{entry.version} is left out: {why}", file=sys.stderr)


def _entry(catalogue: Catalogue, name: Version | str | None) -> Entry:
    if isinstance(name, Version) and name in catalogue and catalogue[name].official:
        return catalogue[name]
    raise UnknownRelease(
        f"patches/releases.toml has no {MAIN} {name}", next_step="run update, or choose another"
    )


if __name__ == "__main__":
    sys.exit(main())
