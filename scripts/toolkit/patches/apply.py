"""The series applied to official files, as commits in a new git repository."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.patches.fold import broken_by, conflict, fold, unlike
from toolkit.patches.git_repo import GitConflict, Repository
from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Series
from toolkit.util.errors import CommandFailed, InvalidSeries, NotWritable, PatchConflict
from toolkit.util.files import not_writable_errors, replacing

# A distribution's members and their new content.
Changed = Mapping[str, Mapping[str, bytes]]


@dataclass(frozen=True)
class PatchedTree:
    """A git repository with one commit a variant, on top of the official files it touches.

    ``changed`` holds, by distribution and then by wheel member, the text after the last commit.
    """

    path: Path
    commit: str
    changed: Changed


def apply(
    series: Series,
    variants: Sequence[Variant],
    files: Mapping[str, bytes],
    tree: Path,
    *,
    meanwhile: Callable[[Changed], object] = lambda _: None,
) -> PatchedTree:
    """Apply ``variants`` to ``files`` (official bytes by monorepo path) as commits in ``tree``.

    The same input gives the same commit ids. Hunks may be offset, never fuzzed or merged.
    ``tree`` must not exist, or be an empty folder; it appears whole or not at all.
    git is another process: while it works, ``meanwhile`` is called with what it should end
    with. Do not show what you make of it before this function has returned.

    Raises PatchConflict, InvalidSeries, NotWritable, or CommandFailed if git is missing.
    """
    if tree.exists() and (not tree.is_dir() or any(tree.iterdir())):
        raise NotWritable(f"{tree} is not an empty folder", next_step="name a folder to be made")
    expected = fold(variants, files)
    with not_writable_errors(tree.parent), replacing(tree.absolute()) as draft:
        draft.mkdir(parents=True)
        for path, data in files.items():
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            (draft / path).write_bytes(data)
        broken: list[PatchConflict] = []
        changed = _changed(series, files, expected or {})

        def during() -> None:
            broken.extend(broken_by(variants, expected or {}))
            if expected and not broken:
                meanwhile(changed)

        commit = _commit_all(draft, variants, during, fits=expected is not None)
        texts = {path: (draft / path).read_bytes() for path in expected or files}
        if texts != expected:
            raise conflict(variants[-1], "git and unidiff read the series differently")
        if broken:
            raise broken[0]
    return PatchedTree(tree, commit, changed)


def _changed(series: Series, files: Mapping[str, bytes], texts: Mapping[str, bytes]) -> Changed:
    changed: dict[str, dict[str, bytes]] = {}
    for path, data in sorted(texts.items()):
        if files.get(path) != data:
            distribution, member = series.locate(path)
            changed.setdefault(distribution, {})[member] = data
    return changed


def _commit_all(
    tree: Path, variants: Sequence[Variant], meanwhile: Callable[[], object], *, fits: bool
) -> str:
    """Make the base commit and one commit a variant; return the last one's id.

    ``meanwhile`` is called while git, which is another process, is at its longest step.
    ``fits`` says whether the variants apply, as far as we see.
    """
    repository = Repository.create(tree)
    repository.commit_all("Official files")
    if variants:
        try:
            repository.am([variant.data for variant in variants], meanwhile)
        except GitConflict as error:
            raise _refused(repository, variants, error, fits=fits) from error
    return repository.head


def _refused(
    repository: Repository, variants: Sequence[Variant], error: GitConflict, *, fits: bool
) -> PatchConflict | InvalidSeries | CommandFailed:
    """Which variant, file and hunk ``git am`` stopped at, in its own trimmed words.

    That is no conflict if the series ``fits`` as we read it.
    """
    number = repository.stopped_at()
    if number is None or number >= len(variants):
        return CommandFailed(f"git am failed: {error.output}", next_step="check that git works")
    variant = variants[number]
    if fits:
        return unlike(variant, error.output)
    lines = []
    for line in error.output.splitlines():
        failed = re.fullmatch(r"error: patch failed: (.+):(\d+)", line)
        if failed:
            lines.append(variant.hunk_at(failed[1], int(failed[2])))
        elif line.startswith("error: ") and not line.endswith(": patch does not apply"):
            lines.append(line.removeprefix("error: "))
    return conflict(variant, "does not apply: " + ("; ".join(lines) or error.output))
