"""Rebase the series onto a release that it does not fit: new variants in patches/, or a conflict.

git merges every patch from the nearest release that the series fits; each follows text that
upstream moved, copied or split. patches/ changes only when the proof of the result says `publish`,
and only by the variants of patches that had to change. A conflict that a human must resolve is
left as a tree to finish, with a report; --continue goes on from there. A proof that is
inconclusive leaves nothing but the error: the next run begins anew.

Examples:
    python scripts/refresh.py 1.9.0
    python scripts/refresh.py --continue dist/refresh/1.9.0
    python scripts/apply.py 1.8.9 --tree ../tree        # change it there, one commit a patch
    python scripts/refresh.py 1.8.9 --export ../tree    # and take the change into patches/
    python scripts/refresh.py --check                     # every variant is what git exports
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from toolkit.cli import add_proof, parser, proof_settings_of, settings_of, verb
from toolkit.proof.settings import STANDSTILL
from toolkit.releases.catalogue import Catalogue
from toolkit.util.errors import InvalidSeries

if TYPE_CHECKING:
    from toolkit.refresh.refresher import Refreshed

FOLDER = Path("dist/refresh")


def show(refreshed: Refreshed, patches: Path, *, as_json: bool) -> None:
    """Print what was rebased."""
    release, base, verdict = refreshed.release, refreshed.base, refreshed.verdict.verdict
    if as_json:
        document = {"release": str(release), "base": str(base), "written": refreshed.written}
        print(json.dumps({**document, "taken": refreshed.taken, "verdict": verdict}, indent=1))
        return
    print(f"{release}: rebased from {base}, and proved: {verdict}")
    lines = [f"  {patches.name}/{name}" for name in refreshed.written]
    lines += [f"  upstream has {patch}: it ends before {release}" for patch in refreshed.taken]
    print(*lines, sep="\n")


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("release", nargs="?", metavar="RELEASE", help="such as 1.8.9 (default: the newest)")
    add("--tree", metavar="DIR", type=Path, help=f"where a conflict goes ({FOLDER}/RELEASE)")
    add_proof(arguments, STANDSTILL, upstream=False)
    add = arguments.add_mutually_exclusive_group().add_argument
    add("--continue", dest="resume", metavar="DIR", type=Path, help="the tree there is finished")
    add("--export", metavar="DIR", type=Path, help="take a changed tree of apply into patches/")
    check = "is each variant (of RELEASE), byte for byte, what git exports?"
    add("--check", action="store_true", help=check)
    options = arguments.parse_args(argv)

    from toolkit.patches.export import export, new_files, write_files
    from toolkit.refresh.conflict import RebaseConflict
    from toolkit.refresh.refresher import Refresher
    from toolkit.releases.sources import series_applies

    settings = settings_of(options)
    patches = settings.workspace.patches
    catalogue = Catalogue.read(settings.workspace.catalogue)
    refresher = Refresher(settings, proof_settings_of(options, settings), catalogue)
    # Only compare what is there.
    if options.check:
        only = options.release and catalogue.require(options.release).version
        if mismatched := list(refresher.mismatched_variants(only)):
            raise InvalidSeries(
                "\n".join(["not what git exports:", *mismatched]),
                next_step="apply that release with --tree, then refresh -- RELEASE --export DIR",
            )
        return
    # Go on with what a human resolved.
    if options.resume:
        conflict = RebaseConflict.read(options.resume)
        release, base = (
            refresher.fetch(replace(settings, yanked=True).find(version))
            for version in (conflict.release, conflict.base)
        )
        show(refresher.resume(release, base, options.resume), patches, as_json=options.json)
        return
    # Take a changed tree, or rebase the series if it does not fit.
    release = settings.fetch(options.release)
    version = release.release.version
    if options.export:
        exported = export(options.export, refresher.series, version)
        written = write_files(patches, new_files(patches, version, exported))
        print(*(written or ["nothing changed"]), sep="\n")
    elif series_applies(release, refresher.series):
        print(json.dumps({"written": []}) if options.json else f"the series fits {version}")
    else:
        folder = options.tree or FOLDER / str(version)
        show(refresher.refresh(release, folder), patches, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
