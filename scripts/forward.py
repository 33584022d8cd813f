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
import re
import shutil
from collections.abc import Sequence
from email.utils import parseaddr

from toolkit.cli import parser, settings_of, verb
from toolkit.environments.pair import prepare
from toolkit.forward import bug_report
from toolkit.forward.bug_report import REPORT, SCRIPT
from toolkit.forward.mails import TAG, check_mails, files_at, official_files, write_mails
from toolkit.patches.series import Series
from toolkit.proof.exploration import TIERS, Exploration
from toolkit.proof.store import VerdictStore, VerdictSummary
from toolkit.proof.verdict import Verdict
from toolkit.releases.official import Fetched
from toolkit.releases.repack import repack_release
from toolkit.util.errors import NotWritable
from toolkit.util.files import not_writable_errors, replacing
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import Workspace

_OURS = re.compile(r"(v\d+-)?\d{4}-[^/]*\.patch")


def proof_of(
    found: Fetched, series: Series, workspace: Workspace
) -> tuple[Exploration | None, tuple[str, str] | None]:
    """What this machine explored of a release, and how much each side loses, if it was proved."""
    outcomes = VerdictStore.open(workspace.outcomes)
    for tier in reversed(TIERS):
        key = outcomes.key(found.release, series.digest(found.release.version), tier)
        judged = outcomes.read(key)
        if isinstance(judged, VerdictSummary) and judged.verdict == "publish":
            proof = outcomes.proof(key, judged)
            figures = (str(judged.official), str(judged.patched))
            try:
                return (Verdict.parse(proof.data.decode()).exploration if proof else None), figures
            except (Malformed, UnicodeDecodeError):
                return None, figures
    return None, None


def refuse_others(out: Path) -> None:
    """Raise NotWritable if a folder holds anything but an earlier result, which goes."""
    with not_writable_errors(out.parent):
        there = [path.name for path in out.iterdir()] if out.exists() else []
    others = [name for name in there if name not in (SCRIPT, REPORT) and not _OURS.fullmatch(name)]
    if there and (others or not {SCRIPT, REPORT}.issubset(there)):
        raise NotWritable(
            f"{out} holds something else: {min(others or there)}",
            next_step="name a folder to be made",
        )


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
    add("--out", metavar="DIR", type=Path, help="default: dist/forward/RELEASE")
    add("--author", metavar="NAME <ADDRESS>", type=_author, help="who sends them")
    add("--reroll", metavar="N", type=int, default=1, help="the series is sent for the Nth time")
    add("--repo", metavar="PATH", type=Path, help="a clone of upstream, to try the mails on")
    add("--ref", help="the commit to try them on (default: the release's tag)")
    options = arguments.parse_args(argv)

    settings = settings_of(options)
    workspace = settings.workspace
    series = Series.load(workspace.patches)
    found = settings.fetch(options.release)
    release = found.release
    out = (options.out or Path("dist/forward") / str(release.version)).absolute()
    refuse_others(out)
    variants = series.variants_for(release.version)
    files = official_files(found, series, variants)
    with workspace.scratch() as scratch, not_writable_errors(out.parent), replacing(out) as draft:
        draft.mkdir(parents=True)
        mails = write_mails(
            variants,
            files,
            scratch / "series",
            draft,
            subject=series.why,
            blurb=bug_report.cover(release, series),
            author=options.author,
            reroll=options.reroll,
        )
        trees = {f"the official files of {release.version}": files}
        if options.repo:
            ref = options.ref or TAG.format(release=release.version)
            trees[f"{options.repo} at {ref}"] = files_at(options.repo, ref, sorted(files))
        for number, (where, there) in enumerate(trees.items()):
            check_mails(mails[1:], there, scratch / f"check{number}", where)
        (draft / SCRIPT).write_text(bug_report.script_for(release), "utf-8")
        made = repack_release(found, series, workspace, scratch / "wheels")
        pair = prepare(made.pair(), workspace.environments)
        exploration, figures = proof_of(found, series, workspace)
        evidence = bug_report.gather(draft / SCRIPT, pair, exploration)
        text = bug_report.report(release, series, variants, evidence, figures)
        (draft / REPORT).write_text(text, "utf-8")
        names = sorted(path.name for path in draft.iterdir())
        shutil.rmtree(out, ignore_errors=True)
    paths = [str(out / name) for name in names]
    if options.json:
        print(
            json.dumps(
                {
                    "release": str(release.version),
                    "files": paths,
                    "applies": [*trees],
                    "schedule": evidence.schedule,
                    "shortest": evidence.shortest,
                },
                indent=1,
            )
        )
    else:
        print(*paths, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
