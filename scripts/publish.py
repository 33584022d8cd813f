"""Put proved wheels into a static simple index, take them back, or copy the index to a server.

Examples:
    python scripts/publish.py --verdict verdict.json --index dist/index WHEEL...
    python scripts/publish.py --index dist/index --from dist/verdicts
    python scripts/publish.py --index dist/index --yank 1.8.9+dispatched.1 --reason "why"
    python scripts/publish.py --index dist/index --to https://host/root/fixed/ --dry-run
    python scripts/publish.py --index dist/index

Nothing that was published is ever changed or deleted, so each of these can be run again: what is
done stays, what was cut is finished. --from takes the verdicts that `release --verdicts` wrote,
perhaps on another machine, and repacks their releases here. The last one makes lost pages again.
Credentials for a server are in UV_PUBLISH_USERNAME and UV_PUBLISH_PASSWORD or UV_PUBLISH_TOKEN
(twine's variables do too), in the keyring or in netrc.
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
from typing import Any

from toolkit.cli import Arguments, verb
from toolkit.index.bundle import VERDICT, Bundle, catalogued_wheels, make_bundle, remake_bundle
from toolkit.index.layout import require_index
from toolkit.index.ledger import Listed
from toolkit.index.mirror import mirror
from toolkit.index.publish import Publication, consume_lines, publish, publish_all, read_list
from toolkit.index.server import Server
from toolkit.index.yank import unyank, yank
from toolkit.patches.series import Series
from toolkit.pipeline.results import Result, require_all, summary_of, tell
from toolkit.proof.store import VerdictSummary
from toolkit.proof.verdict import Proof, read_verdict
from toolkit.util.errors import ToolkitError
from toolkit.util.markdown import append
from toolkit.util.parallel import cores, map_parallel
from toolkit.util.workspace import Workspace


class Said:
    """What happened, line by line for people, or as one JSON document."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.document: dict[str, Any] = {}

    def add(self, members: dict[str, Any], lines: Sequence[str] = ()) -> None:
        self.document |= members
        if not self.as_json:
            for line in lines:
                print(line, flush=True)

    def end(self) -> None:
        if self.as_json:
            print(json.dumps(self.document, indent=2))


def store(chosen: argparse.Namespace, said: Said) -> list[Listed]:
    """Publish the wheels that were named; with --dry-run, what the list would gain."""
    verdict = read_verdict(chosen.verdict)
    picture = chosen.verdict.with_suffix(".svg")
    workspace = Workspace.default(chosen.patches)
    bundle = make_bundle(
        chosen.wheels,
        Proof.of(verdict),
        series=Series.load(workspace.patches),
        official=catalogued_wheels(workspace, verdict.release),
        picture=picture,
    )
    done = publish(bundle, chosen.index, dry_run=chosen.dry_run)
    word = "would publish" if chosen.dry_run else "published"
    lines = [f"{word:14} {name}" for name in done.new]
    lines += [f"already there  {name}" for name in done.known]
    how = consume_lines(chosen.index, verdict, chosen.url)
    if not chosen.dry_run:
        lines.append(f"pip: {how.pip}\nuv:  {how.uv}")
    said.add({**asdict(done), **asdict(how)}, lines)
    return [c.entry for c in bundle.wheels if chosen.dry_run and c.entry.filename in done.new]


def bring(chosen: argparse.Namespace) -> list[Result]:
    """Repack what was proved elsewhere and publish it; what became of each release.

    What one is refused for keeps no other back. Of those with another verdict nothing is done.
    """
    workspace = Workspace.default(chosen.patches)
    series = Series.load(workspace.patches)

    def work(path: Path) -> tuple[Result, Bundle | None]:
        outcome = Result(path.name.removesuffix(VERDICT))
        try:
            verdict = read_verdict(path)
            outcome = Result(verdict.release, summary=VerdictSummary.of(verdict))
            if verdict.verdict != "publish":
                return outcome, None
            picture = path.with_suffix(".svg")
            return outcome, remake_bundle(
                verdict, series, workspace, picture=picture, endpoint=chosen.pypi
            )
        except ToolkitError as error:
            return replace(outcome, error=error), None

    made = dict(map_parallel(work, sorted(chosen.source.rglob(f"*{VERDICT}")), jobs=cores()))
    sorted_ = [made[path] for path in sorted(made)]
    answers = iter(publish_all([bundle for _, bundle in sorted_ if bundle], chosen.index))
    return [_ended(chosen, one, next(answers)) if bundle else one for one, bundle in sorted_]


def _ended(
    chosen: argparse.Namespace, outcome: Result, answer: Publication | ToolkitError
) -> Result:
    if isinstance(answer, ToolkitError):
        return replace(outcome, error=answer)
    assert outcome.summary
    lines = consume_lines(chosen.index, outcome.summary.claim, chosen.url)
    return replace(outcome, new=answer.new, lines=lines)


def take_back(chosen: argparse.Namespace, said: Said) -> None:
    """Yank a release, or undo that."""
    if chosen.yank:
        word = "yank"
        done = yank(chosen.index, chosen.yank, chosen.reason, dry_run=chosen.dry_run)
    else:
        word = "unyank"
        done = unyank(chosen.index, chosen.unyank, dry_run=chosen.dry_run)
    head = f"would {word}" if chosen.dry_run else f"{word}ed"
    lines = [f"{head:14} {name}" for name in done.files] or ["nothing to do"]
    if chosen.yank and not done.left:
        lines.append(
            "note: no patched build of this release is left; ranges now lead to official wheels"
        )
    said.add({f"{word}ed": done.files, "left": done.left}, lines)


def mend(chosen: argparse.Namespace, said: Said) -> None:
    """Make lost and altered pages again, which each of the others does too."""
    require_index(chosen.index)
    publish_all([], chosen.index)
    files = len(read_list(chosen.index))
    said.add({"files": files}, [f"{files} files, all on their pages"])


def upload(chosen: argparse.Namespace, said: Said, ahead: Sequence[Listed]) -> None:
    """Copy the index to a server; ``ahead`` is what a dry run would have put into it before."""
    word = "would upload" if chosen.dry_run else "uploaded"

    def tell(name: str) -> None:
        said.add({}, [f"{word:14} {name}"])

    with Server.at(chosen.to, chosen.simple) as server:
        done = mirror(chosen.index, server, dry_run=chosen.dry_run, ahead=ahead, log=tell)
    lines = [f"withheld       {name}: yanked or quarantined" for name in done.withheld]
    lines.append(
        f"{len(done.uploaded)} {word}, {len(done.known)} already there: {server.simple_url}"
    )
    said.add({"server": {**asdict(done), "simple": server.simple_url}}, lines)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    new = Arguments(
        prog="publish.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = new.add_argument
    add("wheels", nargs="*", type=Path, metavar="WHEEL")
    add("--verdict", type=Path, metavar="FILE", help="what prove.py --out wrote of these wheels")
    add(
        "--from",
        dest="source",
        type=Path,
        metavar="DIR",
        help="publish what the verdicts there let in: its wheels are repacked from PyPI's",
    )
    add("--pypi", metavar="URL", help="with --from, another simple index than PyPI's (a mirror)")
    add("--summary", type=Path, metavar="FILE", help="with --from, add a table to it, as Markdown")
    add("--url", metavar="URL", help="where others see the index's folder, for the lines to paste")
    add("--patches", metavar="DIR", type=Path, help="another series than the repository's own")
    add("--index", type=Path, required=True, metavar="DIR", help="the index's folder")
    back = new.add_mutually_exclusive_group()
    back.add_argument("--yank", metavar="RELEASE", help="yank a release, or one revision of it")
    back.add_argument("--unyank", metavar="RELEASE", help="undo --yank")
    add("--reason", metavar="TEXT", help="why it is yanked; users see it")
    add("--to", metavar="URL", help="then upload what the server there lacks")
    add("--simple", metavar="URL", help="where that server shows its index, if it is not found")
    add("--dry-run", action="store_true", help="only say what would happen")
    add("--json", action="store_true", help="print the outcome as JSON")
    return new


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line says with one index, in the order of its help."""
    arguments = parser()
    chosen = arguments.parse_args(argv)
    withdrawn = chosen.yank or chosen.unyank
    if bool(chosen.wheels) != bool(chosen.verdict):
        arguments.error("WHEEL and --verdict go together")
    if bool(chosen.yank) != bool(chosen.reason):
        arguments.error("--yank and --reason go together")
    if chosen.wheels and withdrawn:
        arguments.error("publish and yank one after the other")
    if chosen.source and (chosen.wheels or withdrawn or chosen.to):
        arguments.error("--from goes with no WHEEL, --yank, --unyank or --to")
    if chosen.source and not chosen.source.is_dir():
        arguments.error(f"--from: {chosen.source} is no folder")
    if (chosen.summary or chosen.pypi) and not chosen.source:
        arguments.error("--summary and --pypi go with --from")
    if chosen.dry_run and not (chosen.wheels or withdrawn or chosen.to):
        arguments.error("--dry-run goes with a WHEEL, --yank, --unyank or --to")

    if chosen.source:
        outcomes = bring(chosen)
        tell(outcomes, as_json=chosen.json)
        if chosen.summary:
            append(chosen.summary, summary_of(outcomes, lines=bool(chosen.url)))
        require_all(outcomes)
        return
    said = Said(chosen.json)
    ahead = store(chosen, said) if chosen.wheels else []
    if withdrawn:
        take_back(chosen, said)
    if not (chosen.wheels or withdrawn or chosen.to):
        mend(chosen, said)
    if chosen.to:
        upload(chosen, said, ahead)
    said.end()


if __name__ == "__main__":
    sys.exit(main())
