"""The two sides of a merge: a patch's hunks, moved to where upstream has their text now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.patches.hunks import apply_exactly
from toolkit.refresh.renames import Renames

if TYPE_CHECKING:
    from unidiff.patch import Hunk


@dataclass(frozen=True)
class RebasedHunk:
    """A hunk of a patch on the old release, and the files of the new one to which it belongs.

    It is hunk ``number`` (from 1) of ``count`` in the file ``path``.
    """

    path: str
    hunk: Hunk
    targets: tuple[str, ...]
    number: int
    count: int

    @property
    def title(self) -> str:
        """Such as ``livekit-agents/engine.py, hunk 1 of 2 (def run)``."""
        section = f" ({self.hunk.section_header})" if self.hunk.section_header else ""
        return f"{self.path}, hunk {self.number} of {self.count}{section}"


def hunks_of(diff: str, texts: Mapping[str, bytes], renames: Renames) -> list[RebasedHunk]:
    """Read the hunks of a patch from its ``diff`` of ``texts``, by path."""
    from unidiff.patch import PatchSet

    return [
        RebasedHunk(file.path, hunk, targets, number, len(file))
        for file in PatchSet(diff)
        for number, hunk in enumerate(file, start=1)
        for targets in [renames.of(file.path, hunk, texts.get(file.path, b""))]
    ]


def sides_of(
    hunks: Sequence[RebasedHunk], texts: Mapping[str, bytes]
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return ``texts`` by their paths in the new release, without and with the hunks."""
    before, after = {}, {}
    for target, path in {(target, hunk.path): None for hunk in hunks for target in hunk.targets}:
        own = [hunk.hunk for hunk in hunks if hunk.path == path and target in hunk.targets]
        if path in texts:
            before[target] = texts[path]
        after[target] = apply_exactly(texts.get(path, b""), own)
    return before, after
