"""Conflicts that git leaves though only one answer makes sense.

git asks a human as soon as two changes touch. Where one side only put lines in, or each side
changed lines of its own, both changes can be kept; whether that was right, the proof says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONFLICT = re.compile(
    rb"^<<<<<<< [^\n]*\n(.*?)^\|\|\|\|\|\|\| [^\n]*\n(.*?)^=======\n(.*?)^>>>>>>> [^\n]*\n",
    re.M | re.S,
)
_MARKER = re.compile(rb"^(<<<<<<< |\|\|\|\|\|\|\| |>>>>>>> )", re.M)

Lines = Sequence[bytes]


def resolve(text: bytes) -> bytes | None:
    """``text`` without its conflicts, in git's style `diff3`; None if a human must decide one."""
    open_ones = 0

    def answer(found: re.Match[bytes]) -> bytes:
        nonlocal open_ones
        ours, base, theirs = (part.splitlines(keepends=True) for part in found.groups())
        lines = _both(base, ours, theirs)
        if lines is None:
            open_ones += 1
            return found[0]
        return b"".join(lines)

    result = _CONFLICT.sub(answer, text)
    return None if open_ones or _MARKER.search(result) else result


def has_markers(text: bytes) -> bool:
    """Whether a conflict is left in ``text``."""
    return _MARKER.search(text) is not None


def _both(base: Lines, ours: Lines, theirs: Lines) -> list[bytes] | None:
    """Both changes of ``base``, upstream's being ``ours``; None if they exclude each other."""
    put_in = _inserted(base, theirs)
    if put_in is not None:
        start, new = put_in
        if start == 0:
            return [*new, *ours]
        if start == len(base):
            return [*ours, *new]
        # what it was put between is gone
        return list(new) if not ours else None
    if len(base) == len(ours) == len(theirs):
        rows = list(zip(base, ours, theirs, strict=True))
        if all(old in (mine, other) for old, mine, other in rows):
            return [other if old == mine else mine for old, mine, other in rows]
    return None


def _inserted(base: Lines, changed: Lines) -> tuple[int, Lines] | None:
    """Where in ``base`` lines were put in, and which, if that is all that was done to it."""
    size = len(changed) - len(base)
    for start in range(len(base) + 1):
        if [*changed[:start], *changed[start + size :]] == list(base) and size > 0:
            return start, changed[start : start + size]
    return None
