"""A series applied by ``git am``, as commits in a new repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.patches.apply import apply_in_memory, conflict, require_python
from toolkit.patches.git_repo import GitConflict, Repository
from toolkit.patches.patchfile import Variant
from toolkit.util.errors import CommandFailed, InvalidSeries, NotWritable
from toolkit.util.files import not_writable_errors, replacing


@dataclass(frozen=True)
class PatchedTree:
    """A git repository with one commit a variant, on top of the official files it touches.

    ``changed`` are the files that differ from the official ones, by monorepo path.
    """

    path: Path
    commit: str
    changed: Mapping[str, bytes]


def make_tree(variants: Sequence[Variant], files: Mapping[str, bytes], path: Path) -> PatchedTree:
    """Apply ``variants`` to ``files`` (official bytes by monorepo path) as commits at ``path``.

    The same input gives the same commit ids. ``path`` must not exist, or be an empty folder; it
    appears whole or not at all. git and :func:`apply_in_memory` must come to the same files.

    Raises PatchConflict, InvalidSeries, NotWritable, or CommandFailed if git is missing.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise NotWritable(f"{path} is not an empty folder", next_step="name a folder to be made")
    texts = apply_in_memory(variants, files)
    require_python(variants, texts)
    with not_writable_errors(path.parent), replacing(path.absolute()) as draft:
        for name, data in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_bytes(data)
        repository = Repository.create(draft)
        repository.commit_all("Official files")
        am(repository, variants)
        if {name: (draft / name).read_bytes() for name in texts} != texts:
            raise conflict(variants[-1], "git makes other files of it than this toolkit")
        changed = {name: text for name, text in texts.items() if text != files.get(name)}
        return PatchedTree(path, repository.head, changed)


def am(repository: Repository, variants: Sequence[Variant]) -> None:
    """Commit variants that apply in memory; raise InvalidSeries if git refuses one."""
    if not variants:
        return
    try:
        repository.am([variant.data for variant in variants])
    except GitConflict as error:
        number = repository.stopped_at()
        if number is None or number >= len(variants):
            raise CommandFailed(
                f"git am failed: {error.output}", next_step="check that git works"
            ) from error
        variant = variants[number]
        lines = [line for line in error.output.splitlines() if not line.startswith("hint: ")]
        raise InvalidSeries(
            f"patch {variant.patch}, variant {variant.path.name}: git does not apply what "
            f"applies: {'; '.join(lines)}",
            next_step="run again; if that says the same, restore the file, or export it anew with "
            "refresh",
        ) from error
