"""Resolve conflicts that git reports although only one result makes sense.

git reports a conflict as soon as two changes touch. Where one side only inserted lines, or each
side changed lines of its own, both changes can be kept. Whether that was right, the proof decides.
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
    """Return ``text`` with both changes kept in each conflict; None if they exclude each other.

    The conflicts are in git's style `diff3`, with upstream's change first.
    """

    def both(conflict: re.Match[bytes]) -> bytes:
        upstream, base, patch = (part.splitlines(keepends=True) for part in conflict.groups())
        lines = _keep_both(base, upstream, patch)
        return conflict[0] if lines is None else b"".join(lines)

    result = _CONFLICT.sub(both, text)
    return None if has_markers(result) else result


def has_markers(text: bytes) -> bool:
    """Return whether ``text`` holds an unresolved conflict."""
    return _MARKER.search(text) is not None


def _keep_both(base: Lines, upstream: Lines, patch: Lines) -> list[bytes] | None:
    """Apply both changes of ``base``; None if they exclude each other."""
    insertion = _insertion(base, patch)
    if insertion:
        start, new = insertion
        if start == 0:
            return [*new, *upstream]
        if start == len(base):
            return [*upstream, *new]
        # upstream removed the lines on both sides of the insertion
        return None if upstream else list(new)
    if len(base) == len(upstream) == len(patch):
        rows = list(zip(base, upstream, patch, strict=True))
        if all(old in (left, right) for old, left, right in rows):
            return [right if old == left else left for old, left, right in rows]
    return None


def _insertion(base: Lines, changed: Lines) -> tuple[int, Lines] | None:
    """Return the place in ``base`` and the new lines, if ``changed`` only inserts lines there."""
    size = len(changed) - len(base)
    for start in range(len(base) + 1):
        if size > 0 and [*changed[:start], *changed[start + size :]] == list(base):
            return start, changed[start : start + size]
    return None
