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
from collections.abc import Sequence

from toolkit.cli import Arguments, verb


def read_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; exit if its options do not go together."""
    parser = Arguments(
        prog="publish.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("wheels", nargs="*", type=Path, metavar="WHEEL")
    add("--verdict", type=Path, metavar="FILE", help="what prove.py --out wrote of these wheels")
    source = "publish what the verdicts there let in: its wheels are repacked from PyPI's"
    add("--from", dest="source", type=Path, metavar="DIR", help=source)
    add("--pypi", metavar="URL", help="with --from, another simple index than PyPI's (a mirror)")
    add("--summary", type=Path, metavar="FILE", help="with --from, add a table to it, as Markdown")
    add("--url", metavar="URL", help="where others see the index's folder, for the lines to paste")
    add("--patches", metavar="DIR", type=Path, help="another series than the repository's own")
    add("--index", type=Path, required=True, metavar="DIR", help="the index's folder")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--yank", metavar="RELEASE", help="yank a release, or one revision of it")
    change.add_argument("--unyank", metavar="RELEASE", help="undo --yank")
    add("--reason", metavar="TEXT", help="why it is yanked; users see it")
    add("--to", metavar="URL", help="then upload what the server there lacks")
    add("--simple", metavar="URL", help="where that server shows its index, if it is not found")
    add("--dry-run", action="store_true", help="only say what would happen")
    add("--json", action="store_true", help="print the outcome as JSON")
    given = parser.parse_args(argv)
    # which options go together
    change_of = given.yank or given.unyank
    others = given.wheels or change_of or given.to
    wrong = {
        "WHEEL and --verdict go together": bool(given.wheels) != bool(given.verdict),
        "--yank and --reason go together": bool(given.yank) != bool(given.reason),
        "publish and yank one after the other": given.wheels and change_of,
        "--from goes with no WHEEL, --yank, --unyank or --to": given.source and others,
        f"--from: {given.source} is no folder": given.source and not given.source.is_dir(),
        "--summary and --pypi go with --from": (given.summary or given.pypi) and not given.source,
        "--dry-run goes with a WHEEL, --yank, --unyank or --to": given.dry_run and not others,
    }
    for message in (message for message, holds in wrong.items() if holds):
        parser.error(message)
    return given


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Publish, yank or repair, then upload; or publish by verdicts from elsewhere."""
    options = read_options(argv)
    # slow to import, and not needed to refuse a command line
    from toolkit.index.bundle import read_bundle
    from toolkit.index.mirror import mirror
    from toolkit.index.publish import consume_lines, publish, repair
    from toolkit.index.report import Report
    from toolkit.index.server import Server
    from toolkit.index.yank import unyank, yank
    from toolkit.pipeline.publish import publish_verdicts
    from toolkit.pipeline.results import require_all, summary_of, tell
    from toolkit.util.markdown import append
    from toolkit.util.workspace import Workspace

    index, dry_run = options.index, options.dry_run
    workspace = Workspace.default(options.patches)
    if options.source:
        results = publish_verdicts(options.source, index, workspace, options.pypi, options.url)
        tell(results, as_json=options.json)
        if options.summary:
            append(options.summary, summary_of(results, lines=bool(options.url)))
        require_all(results)
        return
    ahead = []
    report = Report(options.json, dry_run)
    if options.wheels:
        bundle = read_bundle(options.wheels, options.verdict, workspace)
        publication = publish(bundle, index, dry_run=dry_run)
        report.published(publication, consume_lines(index, bundle.proof, options.url))
        ahead = [wheel.entry for wheel in bundle.wheels if dry_run]
    elif options.yank:
        report.yanked(yank(index, options.yank, options.reason, dry_run=dry_run), "yank")
    elif options.unyank:
        report.yanked(unyank(index, options.unyank, dry_run=dry_run), "unyank")
    elif not options.to:
        report.repaired(repair(index))
    if options.to:
        with Server.at(options.to, options.simple) as server:
            result = mirror(index, server, dry_run=dry_run, ahead=ahead, log=report.uploading)
        report.mirrored(result, server.simple_url)
    report.end()


if __name__ == "__main__":
    sys.exit(main())
