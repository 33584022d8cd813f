"""What a patch does to one file: its hunks, placed exactly as ``git apply`` places them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unidiff.patch import Hunk, PatchedFile

# A file's bytes survive the trip through text, whatever their encoding.
ENCODING, ERRORS = "utf-8", "surrogateescape"


@dataclass(frozen=True)
class _Edit:
    """A hunk's two sides, and where the first is looked for: near line ``near``, from 0.

    ``at_start`` and ``at_end`` say that it must begin with the file, or end with it.
    """

    old: list[bytes]
    new: list[bytes]
    near: int
    far: int
    at_start: bool
    at_end: bool

    @classmethod
    def of(cls, hunk: Hunk) -> _Edit:
        """Read a hunk as ``apply_one_fragment`` in git's apply.c does."""
        marks = [line.line_type for line in hunk if line.line_type != "\\"]
        return cls(
            _side(hunk, "-"),
            _side(hunk, "+"),
            max(hunk.target_start - 1, 0),
            max(hunk.source_start - 1, 0),
            hunk.source_start <= 1,
            marks[-1:] != [" "],
        )

    def reverse(self) -> _Edit:
        """Return the edit that takes this one back, wherever its result is."""
        return _Edit(self.new, self.old, self.far, self.near, not self.new, not self.new)


@dataclass(frozen=True)
class FileChange:
    """The hunks for one file. ``path`` is the monorepo's, without ``a/`` or ``b/``."""

    path: str
    is_new: bool
    diff: PatchedFile

    @cached_property
    def _edits(self) -> list[_Edit]:
        return [_Edit.of(hunk) for hunk in self.diff]

    def applied(self, official: bytes) -> bytes | None:
        """Return ``official`` with every hunk applied; None if ``git apply`` would not place one.

        Hunks may be offset, never fuzzed. See :func:`_place` for the rules.
        """
        text, misfit = _apply(official, self._edits)
        return None if misfit is not None else text

    def misfit(self, official: bytes) -> str:
        """Name the first hunk that does not fit ``official``, for a message; empty if all fit."""
        number = _apply(official, self._edits)[1]
        if number is None:
            return ""
        hunk = self.diff[number]
        return (
            f"{self.path}, hunk {number + 1} of {len(self.diff)} "
            f"(@@ -{hunk.source_start},{hunk.source_length} "
            f"+{hunk.target_start},{hunk.target_length} @@)"
        )

    def undone(self, patched: bytes) -> bytes | None:
        """Return ``patched`` with every hunk taken back; None if it does not contain them all."""
        text, misfit = _apply(patched, [edit.reverse() for edit in self._edits])
        return None if misfit is not None else text


def apply_exactly(text: bytes, hunks: Iterable[Hunk]) -> bytes:
    """Return ``text`` with some of the hunks of a diff of it, each at its very place."""
    lines = split_lines(text)
    for hunk in sorted(hunks, key=lambda hunk: hunk.source_start, reverse=True):
        start = max(hunk.source_start - 1, 0)
        lines[start : start + hunk.source_length] = _side(hunk, "+")
    return b"".join(lines)


def split_lines(text: bytes) -> list[bytes]:
    """Return the lines of ``text`` as git counts them, with their ends."""
    return list(BytesIO(text))


def _side(hunk: Hunk, own: str) -> list[bytes]:
    lines: list[bytes] = []
    last = ""
    for line in hunk:
        if line.line_type == "\\":
            if last in (" ", own):
                lines[-1] = lines[-1].removesuffix(b"\n")
            continue
        last = line.line_type or " "
        if last in (" ", own):
            lines.append(line.value.encode(ENCODING, ERRORS))
    return lines


def _apply(text: bytes, edits: Sequence[_Edit]) -> tuple[bytes, int | None]:
    """Make the edits in their order; the second item is the number of the first without a place."""
    lines = split_lines(text)
    # no later hunk may match what an earlier one touched
    free: list[bytes | None] = list(lines)
    for number, edit in enumerate(edits):
        at = _place(free, edit)
        if at is None:
            return text, number
        lines[at : at + len(edit.old)] = edit.new
        free[at : at + len(edit.old)] = [None] * len(edit.new)
    return b"".join(lines), None


def _place(lines: Sequence[bytes | None], edit: _Edit) -> int | None:
    """Find an edit's place, by the rules of ``find_pos`` and ``match_fragment`` in git's apply.c.

    Of several places the one nearest to the hunk's own line is taken, the later one in a tie.
    Where git would take a whole line for one that the patch says has no end, there is none.
    """
    size, last = len(edit.old), len(lines) - len(edit.old)
    near = min(edit.near, len(lines))
    if edit.at_start or edit.at_end:
        near = 0 if edit.at_start else last
        if last < 0 or (edit.at_end and near != last):
            return None
    if edit.old and not edit.at_end and not edit.old[-1].endswith(b"\n"):
        return _place_of_last_line(lines, edit, near)
    if lines[near : near + size] == edit.old:
        return near
    if edit.at_start or edit.at_end:
        return None
    places, at = [], -1
    with suppress(ValueError):
        while True:
            at = lines.index(edit.old[0], at + 1)
            if lines[at : at + size] == edit.old:
                places.append(at)
    return min(places, key=lambda at: (abs(at - near), at < near), default=None)


def _place_of_last_line(lines: Sequence[bytes | None], edit: _Edit, near: int) -> int | None:
    """Find the place of an edit that ends in context without an end; git compares its prefix."""
    *start, end = edit.old
    size = len(edit.old)
    places = []
    for at in range(1 if edit.at_start else len(lines) - size + 1):
        *before, line = lines[at : at + size] or [None]
        if before == start and line is not None and line.startswith(end):
            # git's hash of a line leaves out its blanks
            places += [at] if not line[len(end) :].strip(b" \t\r\n") else []
    at = min(places, key=lambda at: (abs(at - near), at < near), default=-1)
    return at if at >= 0 and lines[at : at + size] == edit.old else None
