"""A series applied to official files in memory, exactly as ``git am`` applies it to a tree."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from toolkit.patches.hunks import FileChange
from toolkit.patches.patchfile import Variant
from toolkit.util.errors import PatchConflict


def apply_in_memory(variants: Sequence[Variant], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return ``files`` (bytes by monorepo path) as they are after the last variant.

    Hunks may be offset, never fuzzed or merged. Raises PatchConflict, with each hunk that does
    not fit, at the first variant that ``git am`` refuses or that has no effect.
    """
    texts = dict(files)
    for variant in variants:
        for change in variant.changes:
            _require_path(variant, change, texts)
        before = {change.path: texts.get(change.path, b"") for change in variant.changes}
        if all(change.undone(before[change.path]) is not None for change in variant.changes):
            raise conflict(
                variant, "no effect: the release contains it already; upstream may have taken it"
            )
        after = {change.path: change.applied(before[change.path]) for change in variant.changes}
        if None in after.values():
            misfits = [change.misfit(before[change.path]) for change in variant.changes]
            raise conflict(variant, "does not apply: " + "; ".join(filter(None, misfits)))
        for path, text in after.items():
            if text == before[path] or text is None:
                raise conflict(variant, f"no effect on {path}")
            texts[path] = text
    return texts


def _require_path(variant: Variant, change: FileChange, texts: Mapping[str, bytes]) -> None:
    """Raise PatchConflict unless the file is there, or, if it is new, can be made."""
    path = change.path
    if change.is_new == (path in texts):
        raise conflict(variant, f"the release has {'a' if change.is_new else 'no'} {path}")
    files = {*texts, *(other.path for other in variant.changes)}
    for parent in map(str, PurePosixPath(path).parents):
        if parent in files:
            raise conflict(variant, f"{parent} is a file, so there can be no {path}")


def conflict(variant: Variant, problem: str) -> PatchConflict:
    """Make the error that names the variant and the next step."""
    return PatchConflict(
        f"patch {variant.patch}, variant {variant.path.name}: {problem}",
        next_step=f"add patches/{variant.patch}/<release>.patch for the release that changed this, "
        "or narrow `releases` in patches/series.toml",
    )


def require_python(variants: Sequence[Variant], texts: Mapping[str, bytes]) -> None:
    """Raise PatchConflict for a patched file that is no valid Python."""
    last = {change.path: variant for variant in variants for change in variant.changes}
    for path, variant in last.items():
        if path.endswith(".py") and (problem := syntax_error(path, texts[path])):
            raise conflict(variant, problem)


@lru_cache(maxsize=16)
def syntax_error(path: str, data: bytes) -> str:
    """Return why a module cannot be compiled; empty if it can."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(data, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return f"{path} is no valid Python afterwards: {error}"
    return ""
