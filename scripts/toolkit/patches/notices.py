"""The series without the notices that Apache-2.0 (section 4b) wants in files that we changed.

Upstream's own files have none: what is sent there must leave them out, and whether upstream took a
patch is seen without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from toolkit.patches.apply import conflict
from toolkit.patches.patchfile import FileChange, Variant
from toolkit.util.errors import InvalidSeries

if TYPE_CHECKING:
    from unidiff.patch import Hunk, PatchedFile

_NOTICE = re.compile(r"# Modified by [^\n]*\n")


def without_notices(variant: Variant) -> tuple[FileChange, ...]:
    """What a variant does besides leaving notices.

    Raises InvalidSeries if that is nothing.
    """
    from unidiff.patch import PatchSet

    text = "".join(_plain(change.diff) for change in variant.changes)
    if not text:
        raise InvalidSeries(
            f"{variant.patch}/{variant.path.name} does nothing but leave notices",
            next_step="correct patches/ and run again",
        )
    return tuple(FileChange(diff.path, diff.is_added_file, diff) for diff in PatchSet(text))


def apply_without_notices(
    variants: Sequence[Variant], files: Mapping[str, bytes]
) -> Iterator[tuple[Variant, dict[str, bytes]]]:
    """Each variant with the files (by monorepo path) as they are after it, without notices.

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
    """The patches that the files contain already: those that apply in reverse.

    The last one is tried first, and taken back where it can be, as patches overlap.
    """
    texts, found = dict(files), set()
    for variant in reversed(variants):
        undone = {c.path: c.undone(texts.get(c.path, b"")) for c in without_notices(variant)}
        if None not in undone.values():
            texts |= {path: text for path, text in undone.items() if text is not None}
            found.add(variant.patch)
    return found


def _plain(diff: PatchedFile) -> str:
    hunks = [text for hunk in diff if (text := _hunk(hunk))]
    if not hunks:
        return ""
    head = f"diff --git a/{diff.path} b/{diff.path}\n"
    mode = "new file mode 100644\n" if diff.is_added_file else ""
    return f"{head}{mode}--- {diff.source_file}\n+++ {diff.target_file}\n{''.join(hunks)}"


def _hunk(hunk: Hunk) -> str:
    """The hunk as text with its lines counted anew; nothing if it did no more than the notice."""
    lines = [line for line in hunk if not _NOTICE.fullmatch(line.value)]
    if not any(line.is_added or line.is_removed for line in lines):
        return ""
    source = sum(line.is_context or line.is_removed for line in lines)
    target = sum(line.is_context or line.is_added for line in lines)
    places = f"-{hunk.source_start},{source} +{hunk.target_start},{target}"
    return f"@@ {places} @@ {hunk.section_header}\n" + "".join(map(str, lines))
