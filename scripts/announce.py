"""Write what the daily watch posts to the maintainers: a pull request, an issue, both, or nothing.

Example:
    nox -s release -- new --json > outcome.json
    git diff > change.patch
    python scripts/announce.py outcome.json --change change.patch --out announcement

New variants and rows in patches/ make a pull request. A release that cannot be carried, or whose
proof says anything but `publish`, makes an issue, with the conflict report if there is one; if it
is the only one, what changes in patches/ waits with it, unless that one is fixed. The folder gets
`kind` (which of these, in words), and a title and a text for each, as in `issue.title` and
`issue.md`, which GitHub's own `gh` posts; nothing is sent from here.
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
from toolkit.pipeline.announcement import announce, write
from toolkit.util.errors import CommandFailed
from toolkit.util.strict_json import load, value_of


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    arguments = Arguments(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = arguments.add_argument
    add("outcome", metavar="FILE", type=Path, help="what `release --json` printed")
    add("--change", metavar="FILE", type=Path, required=True, help="the diff of patches/")
    add("--refresh", metavar="DIR", type=Path, default=Path("dist/refresh"), help="%(default)s")
    add("--out", metavar="DIR", type=Path, required=True)
    options = arguments.parse_args(argv)

    try:
        rows = value_of(load(options.outcome.read_bytes(), "it"), list, "the outcome")
        diff = options.change.read_text("utf-8")
        announcements = announce(rows, diff, options.refresh)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandFailed(
            f"{options.outcome} is not what `release --json` prints: {error}",
            next_step="see what the release itself said",
        ) from error
    print(write(announcements, options.out))


if __name__ == "__main__":
    sys.exit(main())
