"""Where upstream's text went: a patch follows it into files that were moved, copied or split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from typing import TYPE_CHECKING

from toolkit.patches.git_repo import Repository
from toolkit.patches.patchfile import ENCODING, ERRORS, split_lines

if TYPE_CHECKING:
    from unidiff.patch import Hunk

# A file of which git calls so much new (in percent) is not the old one any more.
REWRITTEN = 60
# Lines of upstream's around a hunk by which its place is recognised.
AROUND = 8
# How much of them a file must hold to be such a place, and how close to the best it must come.
ENOUGH, CLOSE = 0.5, 0.8


@dataclass(frozen=True)
class Renames:
    """What became of the files of one release in another.

    ``places`` maps each file that went elsewhere, or into several, to where most of its text is;
    ``changed`` are all files of the new release that the old one has not, byte for byte.
    """

    old: Mapping[str, bytes]
    new: Mapping[str, bytes]
    places: Mapping[str, tuple[str, ...]]
    changed: tuple[str, ...]

    @classmethod
    def between(
        cls, repository: Repository, old: Mapping[str, bytes], new: Mapping[str, bytes], ids: str
    ) -> Renames:
        """Find them by git's similarity of whole files; ``ids`` names two commits, as ``a..b``."""
        rows = repository.renames(*ids.split(".."))
        left = {
            source
            for status, source, _ in rows
            if status == "D" or (status[0] == "M" and int(status[1:] or 0) >= REWRITTEN)
        }
        moved = [(source, target) for status, source, target in rows if status[0] in "RC"]
        places = {
            path: tuple(
                ([path] if path in new and path not in left else [])
                + [target for source, target in moved if source == path]
            )
            for path in left | {source for source, _ in moved}
        }
        changed = tuple(path for path, data in new.items() if old.get(path) != data)
        return cls(old, new, places, changed)

    def of(self, path: str, hunk: Hunk, text: bytes) -> tuple[str, ...]:
        """The files of the new release in which a hunk belongs; ``text`` is what it applies to.

        One whose file stayed stays there. Of several files each that holds the hunk's
        surroundings is taken: where a file was copied, the fault was copied with it. If none of
        them does, they are looked for in every file that did not hold them before. Nothing if
        upstream has no such text any more and deleted the file.
        """
        likely = self.places.get(path, (path,))  # so too a file that the idea adds
        if likely == (path,):
            return likely
        own = set(_telling(self.old.get(path, b"")))
        around = [line for line in _around(hunk, text) if line in own]
        found = self._holding(around, likely) or tuple(
            other
            for other in self._holding(around, self.changed)
            if _share(around, _telling(self.old.get(other, b""))) < ENOUGH
        )
        return found or ((path,) if path in self.new else likely[:1])

    def _holding(self, around: Sequence[str], paths: Sequence[str]) -> tuple[str, ...]:
        scores = {path: _share(around, self._lines(path)) for path in paths}
        best = max(scores.values(), default=0.0)
        least = max(ENOUGH, CLOSE * best)
        return tuple(path for path, score in scores.items() if score >= least)

    def _lines(self, path: str) -> tuple[str, ...]:
        return _telling(self.new[path])


@cache
def _telling(text: bytes) -> tuple[str, ...]:
    """The lines that say something."""
    lines = (line.strip() for line in text.decode(ENCODING, ERRORS).splitlines())
    return tuple(line for line in lines if len(line) > 5)


def _around(hunk: Hunk, text: bytes) -> tuple[str, ...]:
    start = max(hunk.source_start - 1 - AROUND, 0)
    end = hunk.source_start - 1 + hunk.source_length + AROUND
    return _telling("".join(split_lines(text)[start:end]).encode(ENCODING, ERRORS))


def _share(wanted: Sequence[str], there: Sequence[str]) -> float:
    matcher = SequenceMatcher(None, wanted, there, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / max(len(wanted), 1)
