"""What became of releases, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from toolkit.proof.store import FIXED, VerdictSummary
from toolkit.proof.unpatched import FULL
from toolkit.releases.release import Release
from toolkit.util.console import print_table
from toolkit.util.errors import (
    NotProved,
    PatchConflict,
    SomeReleasesFailed,
    ToolkitError,
    printable,
)
from toolkit.util.files import sha256_of
from toolkit.util.markdown import cell, fence, table

if TYPE_CHECKING:
    from toolkit.index.bundle import Bundle
    from toolkit.index.publish import ConsumeLines
    from toolkit.refresh.refresher import Refreshed

# With more releases than these, the lines of one have to do for all.
MANY = 4
COLUMNS = ("release", "verdict", "official loses", "patched loses", "why")


@dataclass(frozen=True)
class Result:
    """What came of one release: a verdict and its publication, an error, or why it is left out.

    ``label`` is its version, or the name it was asked for by. ``bundle`` is what may be published,
    and ``new`` what of it is new in the index.
    """

    label: str
    release: Release | None = None
    summary: VerdictSummary | None = None
    bundle: Bundle | None = None
    new: tuple[str, ...] = ()
    lines: ConsumeLines | None = None
    error: ToolkitError | None = None
    left_out: str = ""
    rebased: Refreshed | None = None

    @property
    def word(self) -> str:
        """The verdict in one word, or two."""
        if isinstance(self.error, PatchConflict):
            return "conflict"
        if self.left_out:
            return "left out"
        word = self.summary.verdict if self.summary else "error"
        # one that was proved, and that the index refuses, is not published
        return "error" if self.error and word == "publish" else word

    @property
    def note(self) -> str:
        """Why nothing was published, in a line; empty if something was."""
        if self.summary and self.summary.verdict != "publish":
            return self.summary.reason
        problem = self.error.problem.partition("\n")[0] if self.error else ""
        return self.left_out or problem.removeprefix(f"{self.label}: ")

    def as_json(self) -> dict[str, object]:
        """The row of the table, for machines."""
        row: dict[str, object] = {"release": self.label, "verdict": self.word, "new": self.new}
        if self.summary:
            row |= {
                "reason": self.summary.reason,
                "revision": self.summary.revision,
                "wheels": dict(self.summary.wheels),
                "official": vars(self.summary.official),
                "patched": vars(self.summary.patched),
            }
        if self.lines:
            row |= {"pip": self.lines.pip, "uv": self.lines.uv}
        if self.left_out:
            row |= {"reason": self.left_out}
        if self.rebased:
            row |= {"carried_from": str(self.rebased.base), "written": self.rebased.written}
        if self.error:
            row |= {"error": str(self.error), "exit_code": self.error.exit_code}
        return row


def refusal(release: Release, summary: VerdictSummary, tier: str) -> NotProved | None:
    """Say why a release is not published, and what to do about it; None if it may be."""
    if summary.verdict == "publish":
        return None
    step = f"`nox -s prove -- {release.version}` shows it; nothing was published for this release"
    if summary.verdict == FIXED and FULL in (tier, summary.tier):
        step = "see `nox -s retire`; nothing needs publishing"
    elif summary.verdict == FIXED:
        step = f"the tier {FULL} decides: `nox -s release -- {release.version} --tier {FULL}`; "
        step += "nothing was published"
    problem = f"{release.version}: the verdict is {summary.verdict}: {summary.reason}"
    return NotProved(problem, next_step=step)


def show(results: Sequence[Result]) -> None:
    """Print the table, and the lines that a user of pip and a user of uv paste."""
    rows = [_row(result) for result in results]
    shown_columns = len(COLUMNS) if any(note for *_, note in rows) else len(COLUMNS) - 1
    print_table(
        COLUMNS[:shown_columns],
        [(*cells, printable(note))[:shown_columns] for *cells, note in rows],
        folded=COLUMNS[-1:],
    )

    # How to install them: each, or the newest for all
    good = [result for result in results if result.lines]
    shown = good
    if len(good) > MANY:
        print(f"{sum(bool(result.new) for result in good)} of {len(good)} are new in the index.")
        shown = [max(good, key=lambda result: Version(result.label))]
    for result in shown:
        if result.summary and result.lines:
            print(f"{result.label} with the fix:")
            for wheel in sorted(result.summary.wheels):
                print(f"  {wheel}{' (new)' if wheel in result.new else ''}")
            print(f"\n  {result.lines.pip}\n\n  {result.lines.uv}\n")
    if len(shown) < len(good):
        print("--json prints these lines for each of the releases.")


def tell(results: Sequence[Result], *, as_json: bool) -> None:
    """Print what became of releases, as one JSON document or for people."""
    if as_json:
        print(json.dumps([result.as_json() for result in results], indent=2))
    elif len(results) > 1 or any(result.summary or result.left_out for result in results):
        show(results)
    elif not results:
        print("nothing new")


def require_all(results: Sequence[Result], *, single: bool = False) -> None:
    """Raise SomeReleasesFailed if one failed, or its own error if there was only this one."""
    total = sum(not result.left_out for result in results)
    failed = [(result.label, result.error) for result in results if result.error]
    if single and failed:
        raise failed[0][1]
    if failed:
        raise SomeReleasesFailed(
            "\n".join(
                [f"{len(failed)} of {total} releases failed:"]
                + [f"{label}: {type(error).__name__}: {error}" for label, error in failed]
            ),
            next_step="run again for one of these"
            + ("; the others are published" if len(failed) < total else ""),
        )


def summary_of(results: Sequence[Result], *, lines: bool) -> str:
    """Return the same as Markdown; ``lines`` says whether others reach the index."""
    parts = [table(COLUMNS, [_row(result) for result in results])]
    for result in results:
        if lines and result.lines:
            code = fence(f"{result.lines.pip}\n\n{result.lines.uv}")
            summary = f"Install {cell(result.label)} with the fix"
            parts.append(f"<details><summary>{summary}</summary>\n\n{code}\n\n</details>")
    return "\n\n".join(parts) if results else "Nothing new."


def _row(result: Result) -> list[str]:
    summary = result.summary
    loses = [str(summary.official), str(summary.patched)] if summary else ["", ""]
    return [result.label, result.word, *loses, result.note]


def hashes_below(folder: Path) -> dict[str, str]:
    """The sha256 of each file below a folder, by its path there."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}


def show_changes(before: Mapping[str, str], folder: Path) -> None:
    """Print which files of the series are other than they were: what is to be committed."""
    now = hashes_below(folder)
    changed = [path for path in sorted({*before, *now}) if before.get(path) != now.get(path)]
    if changed:
        print(f"To be committed in {folder.name}/:")
        print(*(f"  {path}{'' if path in before else ' (new)'}" for path in changed), sep="\n")
