"""Apply the series to a release: a git repository with one commit a patch, and no fuzz.

The tree holds the official files that the series touches, at upstream's monorepo paths.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

import json
from collections.abc import Sequence

from toolkit.cli import parser, settings_of, verb
from toolkit.patches.series import Series
from toolkit.releases.sources import by_member, make_series_tree


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("release", metavar="RELEASE", help="such as 1.8.9")
    arguments.add_argument(
        "--tree",
        metavar="DIR",
        type=Path,
        required=True,
        help="the folder to make (or an empty one)",
    )
    options = arguments.parse_args(argv)

    settings = settings_of(options)
    series = Series.load(settings.workspace.patches)
    official = settings.fetch(options.release)
    tree = make_series_tree(official, series, options.tree)
    changed = {n: sorted(members) for n, members in sorted(by_member(series, tree.changed).items())}
    if options.json:
        facts = {"release": str(official.release.version), "tree": str(tree.path)}
        print(json.dumps({**facts, "commit": tree.commit, "changed": changed}))
    else:
        print(f"{tree.path} at {tree.commit}")
        for name, members in changed.items():
            print(*(f"  {name}: {member}" for member in members), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
