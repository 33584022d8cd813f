"""What became of releases, for people and for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from toolkit.index.publish import ConsumeLines
from toolkit.proof.store import FIXED, Judged
from toolkit.proof.unpatched import FULL
from toolkit.refresh.refresher import Refreshed
from toolkit.util.errors import (
    NotProved,
    PatchConflict,
    SomeReleasesFailed,
    ToolkitError,
    printable,
)
from toolkit.util.files import sha256_of
from toolkit.util.markdown import cell, fence, table

# With more releases than these, the lines of one have to do for all.
MANY = 4


@dataclass(frozen=True)
class Outcome:
    """What became of one release: a verdict and its publication, an error, or why it was left."""

    release: str
    judged: Judged | None = None
    new: tuple[str, ...] = ()
    lines: ConsumeLines | None = None
    error: ToolkitError | None = None
    left_out: str = ""
    carried: Refreshed | None = None

    @property
    def word(self) -> str:
        """The verdict in one word, or two."""
        if isinstance(self.error, PatchConflict):
            return "conflict"
        if self.left_out:
            return "left out"
        word = self.judged.claim.verdict if self.judged else "error"
        # one that was proved, and that the index refuses, is not published
        return "error" if self.error and word == "publish" else word

    @property
    def note(self) -> str:
        """Why nothing was published, in a line; or nothing."""
        if self.judged and self.judged.claim.verdict != "publish":
            return self.judged.claim.reason
        problem = self.error.problem.partition("\n")[0] if self.error else ""
        return self.left_out or problem.removeprefix(f"{self.release}: ")

    def as_json(self) -> dict[str, object]:
        """The row of the table, for machines."""
        row: dict[str, object] = {"release": self.release, "verdict": self.word, "new": self.new}
        if self.judged:
            row |= {
                "reason": self.judged.claim.reason,
                "revision": self.judged.revision,
                "wheels": dict(self.judged.claim.wheels),
                "official": vars(self.judged.official),
                "patched": vars(self.judged.patched),
            }
        if self.lines:
            row |= {"pip": self.lines.pip, "uv": self.lines.uv}
        if self.left_out:
            row |= {"reason": self.left_out}
        if self.carried:
            row |= {"carried_from": str(self.carried.base), "written": self.carried.written}
        if self.error:
            row |= {"error": str(self.error), "exit_code": self.error.exit_code}
        return row


def refusal(label: str, judged: Judged, tier: str) -> NotProved:
    """Why a release that was judged in a tier is not published, and what to do about it."""
    word = judged.claim.verdict
    step = f"`nox -s prove -- {label}` shows it; nothing was published for this release"
    if word == FIXED and FULL in (tier, judged.tier):
        step = "see `nox -s retire`; nothing needs publishing"
    elif word == FIXED:
        step = f"the tier {FULL} decides: `nox -s release -- {label} --tier {FULL}`; "
        step += "nothing was published"
    return NotProved(f"{label}: the verdict is {word}: {judged.claim.reason}", next_step=step)


@contextmanager
def telling(step: str) -> Iterator[None]:
    """Show what is going on, on a terminal; say nothing in a log."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(step):
        yield


def show(outcomes: Sequence[Outcome]) -> None:
    """Print the table, and the lines that a user of pip and a user of uv paste."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("release", "verdict", "official loses", "patched loses", box=SIMPLE_HEAD)
    noted = any(outcome.note for outcome in outcomes)
    if noted:
        table.add_column("why", overflow="fold")
    for outcome in outcomes:
        judged = outcome.judged
        loses = [str(judged.official), str(judged.patched)] if judged else ["", ""]
        note = [printable(outcome.note)] if noted else []
        table.add_row(outcome.release, outcome.word, *loses, *note)
    # a log has no width to fit into
    width = None if sys.stdout.isatty() else 160
    Console(highlight=False, markup=False, width=width).print(table)
    good = [outcome for outcome in outcomes if outcome.lines]
    shown = good
    if len(good) > MANY:
        print(f"{sum(bool(outcome.new) for outcome in good)} of {len(good)} are new in the index.")
        shown = [max(good, key=lambda outcome: Version(outcome.release))]
    for outcome in shown:
        if outcome.judged and outcome.lines:
            print(f"{outcome.release} with the fix:")
            for wheel in sorted(outcome.judged.claim.wheels):
                print(f"  {wheel}{' (new)' if wheel in outcome.new else ''}")
            print(f"\n  {outcome.lines.pip}\n\n  {outcome.lines.uv}\n")
    if len(shown) < len(good):
        print("--json prints these lines for each of the releases.")


def tell(outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    """Print what became of releases, as one JSON document or for people."""
    if as_json:
        print(json.dumps([outcome.as_json() for outcome in outcomes], indent=2))
    elif len(outcomes) > 1 or any(one.judged or one.left_out for one in outcomes):
        show(outcomes)
    elif not outcomes:
        print("nothing new")


def require_all(outcomes: Sequence[Outcome], *, alone: bool = False) -> None:
    """Raise SomeReleasesFailed if one failed, or its own error if there was only this one."""
    total = sum(not outcome.left_out for outcome in outcomes)
    failed = [(outcome.release, outcome.error) for outcome in outcomes if outcome.error]
    if alone and failed:
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


def summary_of(outcomes: Sequence[Outcome], *, lines: bool) -> str:
    """The same as Markdown; ``lines`` says whether an index that others reach has the wheels."""
    said = [(one, one.judged) for one in outcomes]
    rows = [
        [one.release, one.word, *([str(j.official), str(j.patched)] if j else ["", ""]), one.note]
        for one, j in said
    ]
    parts = [table(("release", "verdict", "official loses", "patched loses", "why"), rows)]
    for one in outcomes:
        if lines and one.lines:
            code = fence(f"{one.lines.pip}\n\n{one.lines.uv}")
            summary = f"Install {cell(one.release)} with the fix"
            parts.append(f"<details><summary>{summary}</summary>\n\n{code}\n\n</details>")
    return "\n\n".join(parts) if outcomes else "Nothing new."


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
