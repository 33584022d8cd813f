"""What a series should do to a release's files, found without git: no fuzz, and no no-ops."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

from toolkit.patches.patchfile import Variant
from toolkit.util.errors import InvalidSeries, PatchConflict


def fold(variants: Sequence[Variant], files: Mapping[str, bytes]) -> dict[str, bytes] | None:
    """What the files should say after the last variant; None if git will have to refuse one.

    Raises PatchConflict for a file that is missing, or there already, and for no effect.
    """
    texts = dict(files)
    for variant in variants:
        for change in variant.changes:
            if change.is_new == (change.path in texts):
                raise conflict(
                    variant,
                    f"the release has {'a' if change.is_new else 'no'} {change.path}",
                )
        before = [texts.get(change.path, b"") for change in variant.changes]
        pairs = list(zip(variant.changes, before, strict=True))
        if all(change.undone(text) is not None for change, text in pairs):
            raise conflict(
                variant, "no effect: the release contains it already; upstream may have taken it"
            )
        for change, text in pairs:
            after = change.applied(text)
            if after is None:
                return None
            if after == text:
                raise conflict(variant, f"no effect on {change.path}")
            texts[change.path] = after
    return texts


def conflict(variant: Variant, problem: str) -> PatchConflict:
    """The error that names the variant, with the step that helps."""
    return PatchConflict(
        f"patch {variant.patch}, variant {variant.path.name}: {problem}",
        next_step=f"add patches/{variant.patch}/<release>.patch for the release that changed this, "
        "or narrow `releases` in patches/series.toml",
    )


def unlike(variant: Variant, said: str) -> InvalidSeries:
    """The error for a variant that applies as we read it, and not as git does."""
    lines = [line for line in said.splitlines() if not line.startswith("hint: ")]
    return InvalidSeries(
        f"patch {variant.patch}, variant {variant.path.name}: git does not apply what applies: "
        + "; ".join(lines),
        next_step="run again; if that says the same, restore the file, or export it anew with "
        "refresh",
    )


def broken_by(variants: Sequence[Variant], texts: Mapping[str, bytes]) -> Iterator[PatchConflict]:
    """An error for each patched file that is no Python any more."""
    for path, data in texts.items():
        touching = [v for v in variants if any(change.path == path for change in v.changes)]
        if not path.endswith(".py") or not touching:
            continue
        if fault := fault_of(path, data):
            yield conflict(touching[-1], fault)


def fault_of(path: str, data: bytes) -> str:
    """Why a module cannot be compiled; or nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(data, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return f"{path} is no valid Python afterwards: {error}"
    return ""
