"""A folder for upstream: the series as mails, a bug report, and a script that shows the loss."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from toolkit.environments.pair import prepare
from toolkit.forward import bug_report
from toolkit.forward.bug_report import REPORT, SCRIPT, Demonstration
from toolkit.forward.mails import Clone, Sender, check_mails, write_mails
from toolkit.patches.series import Series
from toolkit.proof.exploration import Exploration
from toolkit.proof.settings import TIERS
from toolkit.proof.store import VerdictStore, VerdictSummary
from toolkit.releases.official import OfficialWheels
from toolkit.releases.repack import repack_release
from toolkit.releases.sources import touched_files
from toolkit.util.errors import NotWritable
from toolkit.util.files import not_writable_errors, replacing
from toolkit.util.workspace import Workspace

_MAIL = re.compile(r"(v\d+-)?\d{4}-[^/]*\.patch")


@dataclass(frozen=True)
class Proposal:
    """The ``files`` that were written, and the names of the trees to which the mails apply."""

    files: tuple[Path, ...]
    applies: tuple[str, ...]
    demonstration: Demonstration


def write_proposal(
    official: OfficialWheels, workspace: Workspace, out: Path, sender: Sender, clone: Clone | None
) -> Proposal:
    """Write everything for a release into ``out``, in place of an earlier proposal.

    The mails are tried on the official files, and on the ``clone``. Raises NotWritable if there
    is anything else in ``out``; PatchConflict, UnknownRelease, NotProved.
    """
    _refuse_other_files(out)
    release = official.release
    series = Series.load(workspace.patches)
    variants = series.variants_for(release.version)
    files = touched_files(official, series, variants)
    with workspace.scratch() as scratch, not_writable_errors(out.parent), replacing(out) as draft:
        # Write the mails, and try them.
        draft.mkdir(parents=True)
        letter = (series.why, bug_report.cover(release, series))
        _, *mails = write_mails(variants, files, scratch / "series", draft, letter, sender)
        trees = {f"the official files of {release.version}": files}
        if clone:
            trees[str(clone)] = clone.files(sorted(files))
        for number, (name, tree) in enumerate(trees.items()):
            check_mails(mails, tree, scratch / f"check{number}", name)
        # Write the script, and report what it shows on both sides.
        (draft / SCRIPT).write_text(bug_report.script_for(release), "utf-8")
        repacked = repack_release(official, series, workspace, scratch / "wheels")
        pair = prepare(repacked.pair(), workspace.environments)
        exploration, figures = _read_proof(official, series, workspace)
        demonstration = bug_report.demonstrate(draft / SCRIPT, pair, exploration)
        text = bug_report.report(release, series, variants, demonstration, figures)
        (draft / REPORT).write_text(text, "utf-8")
        written = tuple(out / name for name in sorted(path.name for path in draft.iterdir()))
        shutil.rmtree(out, ignore_errors=True)
    return Proposal(written, tuple(trees), demonstration)


def _refuse_other_files(out: Path) -> None:
    """Raise NotWritable if a folder holds anything but an earlier proposal."""
    with not_writable_errors(out.parent):
        names = {path.name for path in out.iterdir()} if out.exists() else set()
    others = {name for name in names - {SCRIPT, REPORT} if not _MAIL.fullmatch(name)}
    if names and (others or not names.issuperset((SCRIPT, REPORT))):
        raise NotWritable(
            f"{out} holds something else: {min(others or names)}",
            next_step="name a folder to be made",
        )


def _read_proof(
    official: OfficialWheels, series: Series, workspace: Workspace
) -> tuple[Exploration | None, tuple[str, str] | None]:
    """Return what this machine explored of a release, and how much each side loses, if proved."""
    store = VerdictStore.open(workspace.outcomes)
    for tier in reversed(TIERS):
        key = store.key(official.release, series.digest(official.release.version), tier)
        summary = store.read(key)
        if isinstance(summary, VerdictSummary) and summary.verdict == "publish":
            verdict = store.verdict(key)
            figures = (str(summary.official), str(summary.patched))
            return (verdict.exploration if verdict else None), figures
    return None, None
