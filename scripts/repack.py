"""Make the patched wheels of a release: fetch, apply, repack. The new wheels' paths are printed.

Without a release the newest stable one that is not yanked is taken. The same release and series
give the same bytes on any machine.
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

from toolkit.cli import parser, selected_releases, settings_of, verb
from toolkit.patches.series import Series
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.repack import RepackedRelease, repack_release
from toolkit.releases.select import HELP, for_each_release


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    # The command line
    arguments = parser(__doc__)
    arguments.add_argument("release", nargs="*", metavar="RELEASE", help=HELP)
    arguments.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("dist/wheels"), help="default: %(default)s"
    )
    arguments.add_argument(
        "--no-cache", action="store_true", help="apply and repack even if that was done before"
    )
    options = arguments.parse_args(argv)

    # Each release, the good ones to their end
    settings = settings_of(options)
    workspace = settings.workspace
    series, catalogue = Series.load(workspace.patches), Catalogue.read(workspace.catalogue)

    def work(name: Version | str | None) -> RepackedRelease:
        return repack_release(
            settings.fetch(settings.find(name, catalogue)),
            series,
            workspace,
            options.out,
            catalogue=catalogue,
            cached=not options.no_cache,
        )

    for repacked in for_each_release(selected_releases(options, workspace), work):
        if options.json:
            print(json.dumps(_as_json(repacked)))
        else:
            print(*repacked.wheels, sep="\n")


def _as_json(repacked: RepackedRelease) -> dict[str, object]:
    return {
        "release": str(repacked.release.version),
        "uploaded": repacked.release.uploaded.isoformat(),
        "revision": repacked.revision,
        "series": repacked.series_digest,
        "wheels": [str(path) for path in repacked.wheels],
        "passthrough": [str(path) for path in repacked.passthrough],
        "official": [str(path) for path in repacked.official],
    }


if __name__ == "__main__":
    sys.exit(main())
