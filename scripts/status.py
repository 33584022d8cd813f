"""The support matrix: which releases lose calls, what carries the series, what was published.

The figures come from the verdicts that this machine knows, or else from the index; what was
published, from patches/releases.toml. What became of the changes that patches/series.toml names
comes from GitHub (with the token in GITHUB_TOKEN or GH_TOKEN, if there is one), and whether the
newest release contains patches already, from its wheels. --matrix prints the releases that were
published, and the Python versions that they support, for a CI matrix (GitHub's `fromJSON`) instead.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

from packaging.version import Version

from toolkit.catalogue import Catalogue, Entry
from toolkit.errors import PatchConflict, UnknownRelease, printable, run_verb
from toolkit.exploration import TIERS
from toolkit.github import GitHub
from toolkit.outcome import FIXED, Judged, Outcomes
from toolkit.pythons import jobs, pythons_of
from toolkit.release import MAIN
from toolkit.retiring import FULL
from toolkit.selection import ALL, HELP, select
from toolkit.series import Series
from toolkit.verbs import parser, workspace_of
from toolkit.verdict import Verdict
from toolkit.watching import Change, Newest, links_of, newest_of, watch

# GitHub runs no more jobs for one matrix.
MOST_JOBS = 256


@dataclass(frozen=True)
class Line:
    """What is known of a release. ``variants`` maps ideas to the releases that began them.

    ``loses``: whether the official one loses calls (None: not decided). ``verdict`` is "unknown"
    if there is none, and ``current`` says that it rests on today's patches and tests.
    """

    release: str
    uploaded: str
    partner: str
    yanked: str | None
    gone: bool
    pythons: tuple[str, ...]
    variants: Mapping[str, str]
    loses: bool | None
    official: str
    patched: str
    verdict: str
    current: bool
    reason: str
    revision: int | None
    wheels: Mapping[str, str]


@dataclass(frozen=True)
class Lookup:
    """Where verdicts are looked for."""

    series: Series
    outcomes: Outcomes
    index: Path

    def line(self, entry: Entry) -> Line:
        """The matrix's line for a release of the catalogue."""
        verdict, variants, judged, alone = "unknown", {}, None, None
        pythons: tuple[str, ...] = ()
        reason = f"not proved on this machine: nox -s release -- {entry.version}"
        try:
            pythons = pythons_of(entry.release)
            alone = self.alone(entry)
            variants = {p.name: str(since) for p, since in self.series.chosen(entry.version)}
            judged = self.judged(entry, alone)
        except PatchConflict as error:
            verdict, reason = "conflict", error.problem
        except UnknownRelease as error:
            reason = error.problem
        current = judged is not None or verdict == "conflict"
        judged = judged or self.published(entry)
        said = judged or alone
        loses = said.loses if said else None
        if judged and verdict == "unknown":
            verdict, reason = judged.claim.verdict, judged.claim.reason
        elif entry.row and verdict == "unknown":
            # recorded after a verdict that is not at hand
            verdict, reason, loses = "publish", "", True
        if verdict == FIXED and loses is None:
            reason = f"the tier {FULL} decides: nox -s release -- {entry.version} --tier {FULL}"
        return Line(
            release=str(entry.version),
            uploaded=f"{max(a.upload_time for a in entry.official):%Y-%m-%d}",
            partner=entry.partner,
            yanked=entry.yanked,
            gone=entry.gone,
            pythons=pythons,
            variants=variants,
            loses=loses,
            official=str(said.official) if said else "",
            patched=str(judged.patched) if judged else "",
            verdict=verdict,
            current=current,
            reason=reason,
            revision=entry.row.revision if entry.row else None,
            wheels=dict(entry.row.wheels) if entry.row else {},
        )

    def alone(self, entry: Entry) -> Judged | None:
        """What the official wheels alone do under today's tests; the tier full decides."""
        for tier in reversed(TIERS):
            found = self.outcomes.read(self.outcomes.key(entry.release, "", tier))
            if isinstance(found, Judged):
                return found
        return None

    def judged(self, entry: Entry, alone: Judged | None) -> Judged | None:
        """What this machine knows of the release under today's patches and tests.

        The tier full decides before quick, official wheels that may need no series before patched
        ones, and what will stay before what was inconclusive. Raises PatchConflict.
        """
        series = self.series.digest(entry.version)
        passing, conflict = None, None
        for tier in reversed(TIERS):
            if alone and (alone.claim.verdict, alone.tier) == (FIXED, tier):
                return alone
            found = self.outcomes.last(self.outcomes.key(entry.release, series, tier))
            if isinstance(found, PatchConflict):
                conflict = found
            elif found and found.fits(entry.row):
                outweighed = alone and alone.loses and found.claim.verdict == FIXED
                if found.lasts and not outweighed:
                    return found
                passing = passing or (None if found.lasts else found)
        if conflict:
            raise conflict
        return passing

    def published(self, entry: Entry) -> Judged | None:
        """The verdict in the index, by which the recorded wheels were published."""
        if entry.row is None:
            return None
        name = f"{entry.version}+{self.series.name}.{entry.row.revision}.json"
        try:
            verdict = Verdict.parse((self.index / "verdicts" / name).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        found = Judged.of(verdict)
        return found if found.fits(entry.row) else None


def show(lines: Sequence[Line]) -> None:
    """Print the table, for people; of the variants it names the newest."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("release", "official loses calls", "verdict", "rev.", box=SIMPLE_HEAD)
    for name in ("variants of", "wheels", "remarks"):
        table.add_column(name, overflow="fold")
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
        table.add_row(
            line.release,
            loses,
            line.verdict,
            str(line.revision or ""),
            str(max(map(Version, line.variants.values()), default="")),
            " ".join(sorted(w.partition("-")[0].rpartition("_")[2] for w in line.wheels)),
            printable("; ".join(filter(None, remarks))),
        )
    # a log has no width to fit into
    width = None if sys.stdout.isatty() else 160
    Console(highlight=False, markup=False, width=width).print(table)


def tell(changes: Sequence[Change], found: Newest | None) -> None:
    """Print what became of the changes upstream, and how its newest release does."""
    width = max((len(change.name) for change in changes), default=0)
    for change in changes:
        title = f"  ({change.title})" if change.title else ""
        print(f"{change.name:<{width}}  {change}{title}")
    if found:
        print(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    arguments = parser(__doc__, releases=False)
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help=f"{HELP.partition(' (default')[0]}")
    add(
        "--index", metavar="DIR", type=Path, default=Path("dist/index"), help="default: %(default)s"
    )
    add("--python", help="whose verdicts (default: the running one's)")
    add("--matrix", action="store_true", help="print a CI matrix instead")
    add("--jobs", type=int, default=MOST_JOBS, metavar="N", help="most jobs in it (%(default)s)")
    add(
        "--offline", action="store_true", help="do not ask GitHub what became of upstream's changes"
    )
    options = arguments.parse_args(argv)

    def body() -> None:
        workspace = workspace_of(options)
        catalogue = Catalogue.read(workspace.catalogue)
        words = options.release or [ALL]
        chosen = select(words, catalogue, yanked=True, as_of=options.as_of)
        left_out = [one.version for one in chosen.left_out]
        entries = [_entry(catalogue, name) for name in (*chosen.names, *left_out)]
        entries.sort(key=lambda entry: entry.version)
        if options.matrix:
            taken = entries if options.release else [e for e in entries if e.yanked is None]
            supported = {str(e.version): pythons_of(e.release) for e in _carried(taken)}
            if options.jobs < (least := len({*chain(*supported.values())})):
                arguments.error(
                    f"--jobs {options.jobs}: {least} versions of Python need a job each"
                )
            print(json.dumps({"include": jobs(supported, options.jobs)}))
            return
        existing = {v: e for v, e in catalogue.items() if e.existed(options.as_of)}
        outcomes = Outcomes.open(workspace.outcomes, options.python)
        lookup = Lookup(Series.load(workspace.patches), outcomes, options.index)
        lines = [lookup.line(entry) for entry in entries]
        changes: tuple[Change, ...] = ()
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

    return run_verb(body)


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
