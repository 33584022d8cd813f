"""Fetch the official wheels of a release: livekit-agents and the plugin that goes with it.

The wheels are checked against PyPI's hashes and kept in a cache by content; the paths are
printed. Without a release the newest stable one that is not yanked is taken.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

import json
from collections.abc import Sequence

from toolkit.cli import parser, selected_releases, settings_of, verb
from toolkit.releases.select import HELP, for_each_release


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("release", nargs="*", metavar="RELEASE", help=HELP)
    options = arguments.parse_args(argv)

    settings = settings_of(options)
    names = selected_releases(options, settings.workspace)
    for official in for_each_release(names, settings.fetch):
        if options.json:
            row = {
                "release": str(official.release.version),
                "uploaded": official.release.uploaded.isoformat(),
                "official": [str(path) for path in official.paths],
            }
            print(json.dumps(row))
        else:
            print(*official.paths, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
