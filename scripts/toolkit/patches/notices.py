"""The series without the notices that Apache-2.0 (section 4b) requires in changed files.

Upstream's own files have none: patches for upstream leave them out, and so does the check
whether upstream took a patch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from toolkit.patches.apply import conflict
from toolkit.patches.hunks import FileChange
from toolkit.patches.patchfile import Variant
from toolkit.util.errors import InvalidSeries

if TYPE_CHECKING:
    from unidiff.patch import Hunk, Line

_NOTICE = re.compile(r"# Modified by [^\n]*\n")


def without_notices(variant: Variant) -> tuple[FileChange, ...]:
    """Return a variant's changes without the lines that leave notices.

    Raises InvalidSeries if nothing remains.
    """
    changes = []
    for change in variant.changes:
        diff = copy(change.diff)
        diff[:] = [plain for hunk in change.diff if any(map(_edits, plain := _plain(hunk)))]
        if diff:
            changes.append(replace(change, diff=diff))
    if not changes:
        raise InvalidSeries(
            f"{variant.patch}/{variant.path.name} does nothing but leave notices",
            next_step="correct patches/ and run again",
        )
    return tuple(changes)


def _plain(hunk: Hunk) -> Hunk:
    plain = copy(hunk)
    plain[:] = [line for line in hunk if not _NOTICE.fullmatch(line.value)]
    return plain


def _edits(line: Line) -> bool:
    return line.is_added or line.is_removed


def apply_without_notices(
    variants: Sequence[Variant], files: Mapping[str, bytes]
) -> Iterator[tuple[Variant, dict[str, bytes]]]:
    """Yield each variant with the files (by monorepo path) after it, without notices.

    Raises PatchConflict at the first that does not fit.
    """
    texts = dict(files)
    for variant in variants:
        for change in without_notices(variant):
            after = change.applied(texts.get(change.path, b""))
            if after is None:
                raise conflict(variant, f"does not fit {change.path}")
            texts[change.path] = after
        yield variant, dict(texts)


def taken_patches(variants: Sequence[Variant], files: Mapping[str, bytes]) -> set[str]:
    """Return the names of the patches that the files contain: those that apply in reverse.

    The last one is tried first and taken back where that is possible, as patches overlap.
    """
    texts, taken = dict(files), set()
    for variant in reversed(variants):
        undone = {c.path: c.undone(texts.get(c.path, b"")) for c in without_notices(variant)}
        if None not in undone.values():
            texts |= {path: text for path, text in undone.items() if text is not None}
            taken.add(variant.patch)
    return taken
