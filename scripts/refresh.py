"""Carry the series to a release that it does not fit: new variants in patches/, or a question.

Every idea is merged by git from the nearest release that the series fits, and follows text that
upstream moved, copied or split. patches/ changes only when the proof of the result says `publish`,
and only by the variants of ideas that had to change. What a human must decide is left, with a
report, as a tree to finish; --continue goes on from there. A proof that is inconclusive leaves
nothing but the error: the next run begins anew.

Examples:
    python scripts/refresh.py 1.9.0
    python scripts/refresh.py --continue dist/refresh/1.9.0
    python scripts/apply.py 1.8.9 --tree ../tree        # change it there, one commit an idea
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

from toolkit.cli import add_proof, parser, proof_settings_of, settings_of, verb
from toolkit.patches.export import export, new_files, write_files
from toolkit.proof.prove import STANDSTILL
from toolkit.refresh.conflict import Conflict
from toolkit.refresh.refresher import Refreshed, Refresher, known
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.sources import series_applies
from toolkit.util.errors import InvalidSeries

FOLDER = Path("dist/refresh")


def show(done: Refreshed, patches: Path, *, as_json: bool) -> None:
    """Print what was rebased."""
    if as_json:
        said = {"release": str(done.release), "base": str(done.base), "written": done.written}
        print(json.dumps({**said, "taken": done.taken, "verdict": done.verdict.verdict}, indent=1))
        return
    print(f"{done.release}: rebased from {done.base}, and proved: {done.verdict.verdict}")
    lines = [f"  {patches.name}/{name}" for name in done.written]
    lines += [f"  upstream has {idea}: it ends before {done.release}" for idea in done.taken]
    print(*lines, sep="\n")


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("release", nargs="?", metavar="RELEASE", help="such as 1.8.9 (default: the newest)")
    add("--tree", metavar="DIR", type=Path, help=f"where a question goes ({FOLDER}/RELEASE)")
    add_proof(arguments, STANDSTILL, upstream=False)
    instead = arguments.add_mutually_exclusive_group()
    add = instead.add_argument
    add("--continue", dest="go_on", metavar="DIR", type=Path, help="the tree there is finished")
    add("--export", metavar="DIR", type=Path, help="take a changed tree of apply into patches/")
    add(
        "--check",
        action="store_true",
        help="is each variant (of RELEASE), byte for byte, what git exports?",
    )
    options = arguments.parse_args(argv)

    settings = settings_of(options)
    workspace = settings.workspace
    proof = proof_settings_of(options, settings)
    refresher = Refresher(settings, proof, Catalogue.read(workspace.catalogue))
    if options.check:
        only = options.release and known(refresher.catalogue, options.release).version
        if wrong := list(refresher.mismatched_variants(only)):
            raise InvalidSeries(
                "\n".join(["not what git exports:", *wrong]),
                next_step="apply that release with --tree, then refresh -- RELEASE --export DIR",
            )
    elif options.go_on:
        waiting = Conflict.read(options.go_on)
        new, old = (
            refresher.fetch(replace(settings, yanked=True).find(version))
            for version in (waiting.release, waiting.base)
        )
        show(refresher.resume(new, old, options.go_on), workspace.patches, as_json=options.json)
    elif options.export:
        found = settings.fetch(options.release)
        version = found.release.version
        steps = export(options.export, refresher.series, version)
        written = write_files(workspace.patches, new_files(workspace.patches, version, steps))
        print(*(written or ["nothing changed"]), sep="\n")
    else:
        found = settings.fetch(options.release)
        version = found.release.version
        if series_applies(found, refresher.series):
            print(json.dumps({"written": []}) if options.json else f"the series fits {version}")
            return
        folder = options.tree or FOLDER / str(version)
        show(refresher.refresh(found, folder), workspace.patches, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
