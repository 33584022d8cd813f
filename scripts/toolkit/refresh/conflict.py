"""What a human must decide before the series fits a release, as text, as JSON and as an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher, unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from packaging.version import Version

from toolkit.patches.patchfile import split_lines
from toolkit.proof.verdict import Verdict
from toolkit.refresh.rebase import RebasedHunk, RebaseStopped
from toolkit.util.errors import InvalidSeries, NotProved, PatchConflict
from toolkit.util.files import not_writable_errors, write_whole
from toolkit.util.markdown import fence
from toolkit.util.strict_json import Malformed, members

if TYPE_CHECKING:
    import jinja2

FORMAT = 1
INCONCLUSIVE = "inconclusive"
REPORT, STATE, TREE = "report.md", "report.json", "tree"
Item = TypeVar("Item")


@dataclass(frozen=True)
class ConflictHunk:
    """A hunk that cannot be merged: ``hunk`` is what the idea does in ``path`` of the old release,
    ``upstream`` what upstream did there, in ``places`` of the new one."""

    path: str
    places: tuple[str, ...]
    title: str
    hunk: str
    upstream: str


@dataclass(frozen=True)
class Conflict:
    """One question. ``since`` is the first release that raises it; ``folder`` holds the tree.

    ``verdict`` is set if all was merged, and the proof does not come to `publish`. What git would
    not merge may have been merged after all, but not to the proof's liking: then both are set.
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
        stuck: RebaseStopped | None,
        verdict: Verdict | None,
    ) -> Conflict:
        """The question that a merge, or else a verdict, leaves."""
        found = cls(str(release), str(base), str(folder))
        if verdict:
            tests = (t for t, both in verdict.tests.items() if both.patched in ("failed", "error"))
            failing = tuple(sorted(tests))
            found = replace(found, verdict=verdict.verdict, reason=verdict.reason, failing=failing)
        if stuck:
            patch, since = stuck.variant.patch, stuck.variant.since
            found = replace(found, patch=patch, variant=f"{since}.patch", trouble=stuck.reason)
        return found

    @classmethod
    def read(cls, folder: Path) -> Conflict:
        """The question that waits in ``folder``; raise InvalidSeries if there is none."""
        try:
            raw = json.loads((folder / STATE).read_text("utf-8"))
            texts = dict.fromkeys(_TEXTS, str) | {"command": str, "tree": str}
            kinds = {**texts, "format": int, "failing": list, "hunks": list}
            found = members(raw, STATE, kinds, {})
            if found["format"] != FORMAT:
                raise Malformed(f"format {found['format']}")
            hunks = tuple(_parsed(hunk) for hunk in found["hunks"])
        except (OSError, ValueError) as error:
            raise InvalidSeries(
                f"{folder} holds no refresh that waits: {error}",
                next_step="name the folder that `nox -s refresh` printed, or remove it",
            ) from error
        told = {name: found[name] for name in _TEXTS}
        return cls(**{**told, "folder": str(folder)}, failing=tuple(found["failing"]), hunks=hunks)

    @property
    def command(self) -> str:
        """What to run when the tree is finished."""
        return f"nox -s refresh -- --continue {self.folder}"

    def with_upstream(
        self, stuck: RebaseStopped, old: Mapping[str, bytes], new: Mapping[str, bytes]
    ) -> Conflict:
        """The same, with the hunks, and what upstream did where they belong."""
        return replace(self, hunks=tuple(_place(change, old, new) for change in stuck.changes))

    def write(self, draft: Path | None = None) -> None:
        """Put both reports into the folder, or into a ``draft`` of it."""
        folder = draft or Path(self.folder)
        tree = str(Path(self.folder) / TREE)
        facts = {"format": FORMAT, **asdict(self), "tree": tree, "command": self.command}
        text = _template().render(facts)
        with not_writable_errors(folder):
            write_whole(folder / REPORT, text.encode())
            write_whole(folder / STATE, f"{json.dumps(facts, indent=1)}\n".encode())

    def error(self) -> PatchConflict:
        """The error that names the question, and the way on."""
        if not self.patch:
            what = f"carried from {self.base}, but the proof says {self.verdict}: {self.reason}"
        else:
            what = f"patch {self.patch}, variant {self.variant}: {self.trouble}"
            what += "".join(f"\n    {place.title}" for place in self.hunks)
            what += f"\n    since {self.since}" if self.since else ""
        return PatchConflict(
            f"{self.release}: {what}\n  report: {Path(self.folder) / REPORT}",
            next_step=f"finish {Path(self.folder) / TREE}, then `{self.command}` "
            f"(or remove {self.folder} to begin anew)",
        )


_TEXTS = tuple(name for name in Conflict.__dataclass_fields__ if name not in ("failing", "hunks"))


def _parsed(raw: object) -> ConflictHunk:
    kinds = dict.fromkeys(ConflictHunk.__dataclass_fields__, str) | {"places": list}
    found = members(raw, "hunk", kinds, {})
    return ConflictHunk(**{**found, "places": tuple(found["places"])})


class Inconclusive(NotProved):
    """The proof of what was carried is inconclusive; the cause may be gone the next time."""

    def __init__(self, base: Version, verdict: Verdict) -> None:
        super().__init__(
            f"{verdict.release}: carried from {base}, but the proof says "
            f"{verdict.verdict}: {verdict.reason}",
            next_step="remove the cause, and run the same command again; it begins anew",
        )
        self.verdict = verdict


def first_that(holds: Callable[[Item], bool], items: Sequence[Item]) -> Item | None:
    """The first item for which it holds, as it does for all after it; None if for none."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if holds(items[middle]):
            high = middle
        else:
            low = middle + 1
    return items[low] if low < len(items) else None


def _template() -> jinja2.Template:
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    style = jinja2.Environment(  # noqa: S701 - no HTML
        loader=loader, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    style.filters["fence"] = fence
    return style.get_template("conflict.md.j2")


def _place(change: RebasedHunk, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> ConflictHunk:
    hunk = change.hunk
    title = f"{change.path}, hunk {change.number} of {change.of}"
    title += f" ({hunk.section_header})" if hunk.section_header else ""
    text = split_lines(old.get(change.path, b""))
    wanted = [line.value for line in hunk if not line.is_added]
    # the hunk may hold lines of the ideas before it, which upstream's text has not
    blocks = SequenceMatcher(None, text, wanted, autojunk=False).get_matching_blocks()
    lines = [line for block in blocks if block.size > 1 for line in (block.a, block.a + block.size)]
    span = (min(lines), max(lines)) if lines else (0, 0)
    found = [_between(text, split_lines(new.get(p, b"")), span) for p in change.places]
    return ConflictHunk(change.path, change.places, title, str(hunk).rstrip("\n"), "\n".join(found))


def _between(old: list[str], new: list[str], span: tuple[int, int]) -> str:
    """Upstream's own hunks that touch a span of lines."""
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
