"""Put proved wheels into a static simple index, take them back, or copy the index to a server.

Examples:
    python scripts/publish.py --verdict verdict.json --index dist/index WHEEL...
    python scripts/publish.py --index dist/index --yank 1.8.9+dispatched.1 --reason "why"
    python scripts/publish.py --index dist/index --to https://host/root/fixed/ --dry-run
    python scripts/publish.py --index dist/index

Nothing that was published is ever changed or deleted, so each of these can be run again: what is
done stays, what was cut is finished. The last one makes lost pages again. Credentials for a
server are in UV_PUBLISH_USERNAME and UV_PUBLISH_PASSWORD or UV_PUBLISH_TOKEN (twine's variables
do too), in the keyring or in netrc.
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
from typing import Any

from toolkit.candidate import Proof
from toolkit.errors import Arguments, NotProved, ToolkitError, run_verb
from toolkit.index import Publication, consume_lines, foresee, publish_all, read_list
from toolkit.ledger import Listed
from toolkit.series import Series
from toolkit.server import Server
from toolkit.shelf import require_index
from toolkit.shipping import official_of, parcel_of
from toolkit.strict import Malformed
from toolkit.uploading import mirror
from toolkit.verdict import Verdict
from toolkit.workspace import Workspace
from toolkit.yanking import unyank, yank


def read_verdict(path: Path) -> Verdict:
    """The verdict in a file that prove.py wrote.

    Raises NotProved if there is none, or if it is not one that prove.py would write.
    """
    try:
        return Verdict.parse(path.read_text(encoding="utf-8"))
    except (OSError, Malformed, UnicodeDecodeError) as error:
        raise NotProved(
            f"{path} is no verdict: {error}", next_step="write one with prove.py --out"
        ) from error


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
    parcel = parcel_of(
        chosen.wheels,
        Proof.of(verdict),
        series=Series.load(workspace.patches),
        official=official_of(workspace, verdict.release),
        picture=picture,
    )
    done: Publication | ToolkitError
    if chosen.dry_run:
        done = foresee(parcel, chosen.index)
    else:
        (done,) = publish_all([parcel], chosen.index)
    if isinstance(done, ToolkitError):
        raise done
    word = "would publish" if chosen.dry_run else "published"
    lines = [f"{word:14} {name}" for name in done.new]
    lines += [f"already there  {name}" for name in done.known]
    how = consume_lines(chosen.index, verdict)
    if not chosen.dry_run:
        lines.append(f"pip: {how.pip}\nuv:  {how.uv}")
    said.add({**asdict(done), **asdict(how)}, lines)
    return [c.entry for c in parcel.everything if chosen.dry_run and c.entry.filename in done.new]


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
        done = mirror(chosen.index, server, dry_run=chosen.dry_run, ahead=ahead, tell=tell)
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


def main(argv: Sequence[str] | None = None) -> int:
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
    if chosen.dry_run and not (chosen.wheels or withdrawn or chosen.to):
        arguments.error("--dry-run goes with a WHEEL, --yank, --unyank or --to")

    def body() -> None:
        said = Said(chosen.json)
        ahead = store(chosen, said) if chosen.wheels else []
        if withdrawn:
            take_back(chosen, said)
        if not (chosen.wheels or withdrawn or chosen.to):
            mend(chosen, said)
        if chosen.to:
            upload(chosen, said, ahead)
        said.end()

    return run_verb(body)


if __name__ == "__main__":
    sys.exit(main())
