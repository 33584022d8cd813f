"""Find the files to which upstream moved, copied or split the text that a hunk changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from typing import TYPE_CHECKING

from toolkit.patches.git_repo import Repository
from toolkit.patches.hunks import ENCODING, ERRORS, split_lines

if TYPE_CHECKING:
    from unidiff.patch import Hunk

# A file of which git calls so many percent new counts as another file.
REWRITTEN = 60
# Lines before and after a hunk by which its place is recognised.
CONTEXT_LINES = 8
# The share of these lines that a file must hold, and how near to the best share it must come.
MIN_SHARE, NEAR_BEST = 0.5, 0.8


@dataclass(frozen=True)
class Renames:
    """The files of the release ``old`` as they are in ``new``; both by monorepo path.

    ``targets`` maps each file that moved, or was split or copied, to the files that hold most of
    its text now; ``changed`` are all files of ``new`` that ``old`` does not have byte for byte.
    """

    old: Mapping[str, bytes]
    new: Mapping[str, bytes]
    targets: Mapping[str, tuple[str, ...]]
    changed: tuple[str, ...]

    @classmethod
    def between(
        cls,
        repository: Repository,
        old: Mapping[str, bytes],
        new: Mapping[str, bytes],
        commits: tuple[str, str],
    ) -> Renames:
        """Find them by git's similarity of whole files; ``commits`` hold ``old`` and ``new``."""
        rows = repository.renames(*commits)
        gone = {
            source
            for status, source, _ in rows
            if status == "D" or (status[0] == "M" and int(status[1:] or 0) >= REWRITTEN)
        }
        moved = [(source, target) for status, source, target in rows if status[0] in "RC"]
        targets = {
            path: (
                *([path] if path in new and path not in gone else []),
                *(target for source, target in moved if source == path),
            )
            for path in gone | {source for source, _ in moved}
        }
        changed = tuple(path for path, data in new.items() if old.get(path) != data)
        return cls(old, new, targets, changed)

    def of(self, path: str, hunk: Hunk, text: bytes) -> tuple[str, ...]:
        """Return the files of the new release to which a hunk for ``text`` in ``path`` belongs.

        If the file still exists, the hunk stays in it. If it was split or copied, every copy that
        contains the hunk's context is returned: the fault was copied with it. If no copy does,
        the context is looked for in all files that did not contain it before. Returns nothing if
        upstream deleted the file and has no such text any more.
        """
        likely = self.targets.get(path, (path,))  # also a file that the patch adds
        if likely == (path,):
            return likely
        own = set(_significant(self.old.get(path, b"")))
        context = [line for line in _context(hunk, text) if line in own]
        return (
            self._holding(context, likely)
            or tuple(
                other
                for other in self._holding(context, self.changed)
                if _share(context, _significant(self.old.get(other, b""))) < MIN_SHARE
            )
            or ((path,) if path in self.new else likely[:1])
        )

    def _holding(self, context: Sequence[str], paths: Sequence[str]) -> tuple[str, ...]:
        shares = {path: _share(context, _significant(self.new[path])) for path in paths}
        least = max(MIN_SHARE, NEAR_BEST * max(shares.values(), default=0.0))
        return tuple(path for path, share in shares.items() if share >= least)


@cache
def _significant(text: bytes) -> tuple[str, ...]:
    """Return the lines that are long enough to be recognised, without their indentation."""
    lines = (line.strip() for line in text.decode(ENCODING, ERRORS).splitlines())
    return tuple(line for line in lines if len(line) > 5)


def _context(hunk: Hunk, text: bytes) -> tuple[str, ...]:
    start = max(hunk.source_start - 1 - CONTEXT_LINES, 0)
    end = hunk.source_start - 1 + hunk.source_length + CONTEXT_LINES
    return _significant(b"".join(split_lines(text)[start:end]))


def _share(wanted: Sequence[str], lines: Sequence[str]) -> float:
    """Return which share of ``wanted`` stands in ``lines``, in the same order."""
    blocks = SequenceMatcher(None, wanted, lines, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / max(len(wanted), 1)
