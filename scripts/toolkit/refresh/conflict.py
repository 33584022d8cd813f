"""What a human must resolve before the series fits a release: as text, as JSON and as an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher, unified_diff
from pathlib import Path

from packaging.version import Version

from toolkit.patches.hunks import ENCODING, ERRORS, split_lines
from toolkit.proof.verdict import Verdict
from toolkit.refresh.merge_sides import RebasedHunk
from toolkit.refresh.rebase import RebaseStopped
from toolkit.util.errors import InvalidSeries, NotProved, PatchConflict
from toolkit.util.files import not_writable_errors, write_whole
from toolkit.util.strict_json import decode, encode, load, value_of
from toolkit.util.templates import text_template

FORMAT = 1
INCONCLUSIVE = "inconclusive"
REPORT, STATE, TREE = "report.md", "report.json", "tree"
# Keys of STATE that are made of the others.
_DERIVED = ("tree", "command")
_TEMPLATE = Path(__file__).parent / "templates" / "conflict.md.j2"


@dataclass(frozen=True)
class ConflictHunk:
    """A hunk that cannot be merged: ``hunk`` is what the patch does in ``path`` of the old release,
    ``upstream`` what upstream did there, in ``places`` of the new one."""

    path: str
    places: tuple[str, ...]
    title: str
    hunk: str
    upstream: str


@dataclass(frozen=True)
class RebaseConflict:
    """One conflict, whose tree is in ``folder``. ``since`` is the first release that has it.

    ``verdict`` is set if everything was merged, and the proof does not come to `publish`. With
    ``patch`` as well, conflicts in it were resolved automatically, and the proof rejects that.
    """

    release: str
    base: str
    folder: str
    patch: str = ""
    variant: str = ""
    trouble: str = ""
    since: str = ""
    verdict: str = ""
    reason: str = ""
    failing: tuple[str, ...] = ()
    hunks: tuple[ConflictHunk, ...] = ()

    @classmethod
    def of(
        cls,
        release: Version,
        base: Version,
        folder: Path,
        stopped: RebaseStopped | None,
        verdict: Verdict | None,
    ) -> RebaseConflict:
        """Make it of a rebase that stopped, of a verdict, or of both."""
        conflict = cls(str(release), str(base), str(folder))
        if verdict:
            tests = (t for t, both in verdict.tests.items() if both.patched in ("failed", "error"))
            failing = tuple(sorted(tests))
            conflict = replace(
                conflict, verdict=verdict.verdict, reason=verdict.reason, failing=failing
            )
        if stopped:
            patch, since = stopped.variant.patch, stopped.variant.since
            conflict = replace(
                conflict, patch=patch, variant=f"{since}.patch", trouble=stopped.reason
            )
        return conflict

    @classmethod
    def read(cls, folder: Path) -> RebaseConflict:
        """Read the conflict in ``folder``; raise InvalidSeries if there is none."""
        try:
            document = value_of(load((folder / STATE).read_bytes(), STATE), dict, STATE)
            state = {key: value for key, value in document.items() if key not in _DERIVED}
            return replace(decode(cls, state, STATE, version=FORMAT), folder=str(folder))
        except (OSError, ValueError) as error:
            raise InvalidSeries(
                f"{folder} holds no refresh that waits: {error}",
                next_step="name the folder that `nox -s refresh` printed, or remove it",
            ) from error

    @property
    def command(self) -> str:
        """What to run when the tree is finished."""
        return f"nox -s refresh -- --continue {self.folder}"

    def write(self, draft: Path | None = None) -> None:
        """Write both reports into the folder, or into a ``draft`` of it."""
        folder = draft or Path(self.folder)
        derived = dict(zip(_DERIVED, (str(Path(self.folder) / TREE), self.command), strict=True))
        state = {"format": FORMAT, **encode(self), **derived}
        with not_writable_errors(folder):
            write_whole(folder / REPORT, text_template(_TEMPLATE).render(state).encode())
            write_whole(folder / STATE, f"{json.dumps(state, indent=1)}\n".encode())

    def error(self) -> PatchConflict:
        """Return the error that names the conflict, and the way on."""
        if not self.patch:
            what = f"rebased from {self.base}, but the proof says {self.verdict}: {self.reason}"
        else:
            what = f"patch {self.patch}, variant {self.variant}: {self.trouble}"
            what += "".join(f"\n    {hunk.title}" for hunk in self.hunks)
            what += f"\n    since {self.since}" if self.since else ""
        return PatchConflict(
            f"{self.release}: {what}\n  report: {Path(self.folder) / REPORT}",
            next_step=f"finish {Path(self.folder) / TREE}, then `{self.command}` "
            f"(or remove {self.folder} to begin anew)",
        )


class Inconclusive(NotProved):
    """The proof of a rebased series is inconclusive; the cause may be gone the next time."""

    def __init__(self, base: Version, verdict: Verdict) -> None:
        super().__init__(
            f"{verdict.release}: rebased from {base}, but the proof says "
            f"{verdict.verdict}: {verdict.reason}",
            next_step="remove the cause, and run the same command again; it begins anew",
        )
        self.verdict = verdict


def conflict_hunk(
    hunk: RebasedHunk, old: Mapping[str, bytes], new: Mapping[str, bytes]
) -> ConflictHunk:
    """Show a hunk beside what upstream changed there between the files ``old`` and ``new``."""
    text = _lines(old.get(hunk.path))
    wanted = [line.value for line in hunk.hunk if not line.is_added]
    # the hunk may hold lines of the patches before it, which upstream's text does not have
    blocks = SequenceMatcher(None, text, wanted, autojunk=False).get_matching_blocks()
    ends = [line for block in blocks if block.size > 1 for line in (block.a, block.a + block.size)]
    span = (min(ends), max(ends)) if ends else (0, 0)
    upstream = [_upstream(text, _lines(new.get(path)), span) for path in hunk.targets]
    shown = str(hunk.hunk).rstrip("\n")
    return ConflictHunk(hunk.path, hunk.targets, hunk.title, shown, "\n".join(upstream))


def _lines(text: bytes | None) -> list[str]:
    return [line.decode(ENCODING, ERRORS) for line in split_lines(text or b"")]


def _upstream(old: list[str], new: list[str], span: tuple[int, int]) -> str:
    """Return upstream's own hunk that touches a span of lines of ``old``; empty if none does."""
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for group in matcher.get_grouped_opcodes(3):
        first, last = group[0], group[-1]
        if first[1] <= span[1] and last[2] >= span[0]:
            spans = [(first[1], last[2]), (first[3], last[4])]
            before, after = (f"{start + 1},{end - start}" for start, end in spans)
            pair = old[first[1] : last[2]], new[first[3] : last[4]]
            body = list(unified_diff(*pair, n=len(old)))[3:]
            return "".join([f"@@ -{before} +{after} @@\n", *body]).rstrip("\n")
    return ""
