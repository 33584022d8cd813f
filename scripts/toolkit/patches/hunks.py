"""What one patch does to one file, read by unidiff: the second opinion beside ``git am``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unidiff.patch import Hunk, PatchedFile

# A file's bytes survive the trip through text, whatever their encoding.
ENCODING, ERRORS = "utf-8", "surrogateescape"


@dataclass(frozen=True)
class FileChange:
    """The hunks for one file. ``path`` is the monorepo's, without ``a/`` or ``b/``."""

    path: str
    is_new: bool
    diff: PatchedFile

    @cached_property
    def _sides(self) -> list[tuple[int, list[str], int, list[str]]]:
        return [
            (hunk.source_start, _side(hunk, "-"), hunk.target_start, _side(hunk, "+"))
            for hunk in self.diff
        ]

    def applied(self, official: bytes) -> bytes | None:
        """``official`` with every hunk applied, offset but never fuzzed; None if one does not fit.

        Of several places the one nearest to the hunk's own line is taken, the later one in a
        tie, which is git's rule.
        """
        return _fold(official, [(at, old, new) for _, old, at, new in self._sides])

    def undone(self, patched: bytes) -> bytes | None:
        """``patched`` with every hunk taken back, or None if it does not contain them all."""
        return _fold(patched, [(at, new, old) for at, old, _, new in self._sides])


def _side(hunk: Hunk, own: str) -> list[str]:
    lines: list[str] = []
    last = ""
    for line in hunk:
        if line.line_type == "\\":
            if last in (" ", own):
                lines[-1] = lines[-1].removesuffix("\n")
            continue
        last = line.line_type or " "
        if last in (" ", own):
            lines.append(line.value)
    return lines


def exactly(text: bytes, hunks: Iterable[Hunk]) -> bytes:
    """``text`` with some of the hunks of a diff of it, each at its very place."""
    lines = lines_of(text)
    for hunk in sorted(hunks, key=lambda hunk: hunk.source_start, reverse=True):
        start = max(hunk.source_start - 1, 0)
        lines[start : start + hunk.source_length] = _side(hunk, "+")
    return "".join(lines).encode(ENCODING, ERRORS)


def lines_of(text: bytes) -> list[str]:
    """The lines of ``text`` as git counts them, with their ends."""
    lines = text.decode(ENCODING, ERRORS).split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _fold(text: bytes, hunks: Sequence[tuple[int, list[str], list[str]]]) -> bytes | None:
    lines = lines_of(text)
    for start, old, new in hunks:
        at = _locate(lines, old, max(start - 1, 0))
        if at is None:
            return None
        lines[at : at + len(old)] = new
    return "".join(lines).encode(ENCODING, ERRORS)


def _locate(lines: list[str], wanted: list[str], near: int) -> int | None:
    if not wanted:
        return 0 if not lines else None
    size = len(wanted)
    if lines[near : near + size] == wanted:
        return near
    places = []
    at = -1
    with suppress(ValueError):
        while True:
            at = lines.index(wanted[0], at + 1)
            if lines[at : at + size] == wanted:
                places.append(at)
    return min(places, key=lambda at: (abs(at - near), at < near), default=None)
