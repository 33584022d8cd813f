"""Write what is on PyPI into patches/releases.toml: every release, its official wheels, its plugin.

Running it again changes nothing but what changed on PyPI. A release that PyPI has no more keeps
its table, marked as gone. Pages that have less than is known, or say otherwise what never changes,
change nothing: a mirror may lag behind PyPI or hold a part of it. Which wheels of ours were
published for a release stays as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

import json
from collections.abc import Sequence

from packaging.version import Version

from toolkit.cli import parser, verb, workspace_of


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    arguments = parser(__doc__, without=("yanked", "offline"))
    arguments.add_argument(
        "--gone",
        metavar="RELEASE",
        type=Version,
        action="append",
        default=[],
        help="PyPI has removed wheels of this release (of agents or the plugin), as you have seen",
    )
    options = arguments.parse_args(argv)

    from toolkit.releases.pypi import PyPI
    from toolkit.releases.update import update_catalogue

    workspace = workspace_of(options)
    with PyPI(options.pypi, workspace=workspace, as_of=options.as_of) as pypi:
        changes = update_catalogue(workspace, pypi, options.gone)
    document = {str(version): change for version, change in changes.items()}
    if options.json:
        print(json.dumps(document, indent=1))
    else:
        print(*(f"{version}: {change}" for version, change in document.items()), sep="\n")
        print(f"{len(document)} releases changed" if document else "nothing changed")


if __name__ == "__main__":
    sys.exit(main())
