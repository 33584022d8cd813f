"""The series for upstream: mails for `git am`, a bug report, and a script that shows the loss.

Examples:
    python scripts/forward.py 1.8.9 --author "Name <address>"
    python scripts/forward.py 1.7.0 --repo ~/src/agents --ref main

Everything is checked before it is written: the mails apply to the official files in upstream's
layout (and to a clone's, with --repo), and the script loses a call on the official wheels and keeps
it on the patched ones. Nothing is sent.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

import json
from collections.abc import Sequence
from email.utils import parseaddr

from toolkit.cli import parser, settings_of, verb

FOLDER = Path("dist/forward")


def _author(text: str) -> str:
    name, address = parseaddr(text)
    if not name or "@" not in address:
        raise ValueError(text)
    return f"{name} <{address}>"


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("release", nargs="?", metavar="RELEASE", help="such as 1.8.9 (default: the newest)")
    add("--out", metavar="DIR", type=Path, help=f"default: {FOLDER}/RELEASE")
    add("--author", metavar="NAME <ADDRESS>", type=_author, help="who sends them")
    add("--reroll", metavar="N", type=int, default=1, help="the series is sent for the Nth time")
    add("--repo", metavar="PATH", type=Path, help="a clone of upstream, to try the mails on")
    add("--ref", help="the commit to try them on (default: the release's tag)")
    options = arguments.parse_args(argv)

    from toolkit.forward.mails import TAG, Clone, Sender
    from toolkit.forward.proposal import write_proposal

    # Write the proposal.
    settings = settings_of(options)
    official = settings.fetch(options.release)
    version = official.release.version
    out = (options.out or FOLDER / str(version)).absolute()
    ref = options.ref or TAG.format(release=version)
    clone = Clone(options.repo, ref) if options.repo else None
    sender = Sender(options.author, options.reroll)
    proposal = write_proposal(official, settings.workspace, out, sender, clone)
    # Print where it is.
    files = [str(path) for path in proposal.files]
    if options.json:
        document = {
            "release": str(version),
            "files": files,
            "applies": proposal.applies,
            "schedule": proposal.demonstration.schedule,
            "shortest": proposal.demonstration.shortest,
        }
        print(json.dumps(document, indent=1))
    else:
        print(*files, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
