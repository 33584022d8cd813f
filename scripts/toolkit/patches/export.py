"""Patched trees back to patch files, byte for byte the same wherever and whenever it is done."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from toolkit.patches.apply import apply_in_memory
from toolkit.patches.git_repo import Repository
from toolkit.patches.patchfile import Variant
from toolkit.patches.series import FILE, Series
from toolkit.util.errors import CommandFailed, InvalidSeries, PatchConflict
from toolkit.util.files import not_writable_errors, write_whole


@dataclass(frozen=True)
class ExportedPatch:
    """An idea in the new release.

    ``mail`` is what git exports, None if upstream's files contain the idea already; ``fresh``
    tells that the old variant does not do the same here.
    """

    variant: Variant
    mail: bytes | None
    fresh: bool


def exported_mails(tree: Path, variants: Sequence[Variant]) -> list[tuple[Variant, bytes]]:
    """What git exports of a patched tree, one commit an idea.

    Raises InvalidSeries if there is not one commit for each idea.
    """
    repository = Repository(tree)
    commits = _commits(repository, variants)
    return [(v, repository.export(c)) for v, c in zip(variants, commits, strict=True)]


def export(tree: Path, series: Series, version: Version) -> tuple[ExportedPatch, ...]:
    """The ideas as such a tree has them now.

    A variant that began with this very release is replaced if a byte of it differs, an older one
    by a new variant if it does something else now.
    """
    variants = series.variants_for(version)
    repository = Repository(tree)
    mails = exported_mails(tree, variants)
    steps = exported_patches(repository, variants, _commits(repository, variants))
    return tuple(
        replace(step, mail=mail, fresh=mail != variant.data)
        if variant.since == version and step.mail is not None
        else step
        for step, (variant, mail) in zip(steps, mails, strict=True)
    )


def _commits(repository: Repository, variants: Sequence[Variant]) -> list[str]:
    commits = repository.commits("", "HEAD")[1:]
    require_one_commit_each(repository.path, len(commits), len(variants))
    return commits


def require_one_commit_each(tree: Path, commits: int, ideas: int) -> None:
    """Raise InvalidSeries if a tree has not one commit for each idea on the official files."""
    if commits != ideas:
        raise InvalidSeries(
            f"{tree} has {commits} commits on the official files, for {ideas} ideas",
            next_step="leave one commit for each idea, in the order of series.toml",
        )


def exported_patches(
    repository: Repository, variants: Sequence[Variant], commits: Sequence[str]
) -> tuple[ExportedPatch, ...]:
    """The variants as commits have them; what still does the same stays as it is."""
    found = []
    for variant, commit in zip(variants, commits, strict=True):
        paths = repository.changed_paths(f"{commit}~", commit)
        if not paths:
            found.append(ExportedPatch(variant, None, fresh=True))
            continue
        own = [change.path for change in variant.changes]
        before = {path: repository.read(f"{commit}~", path) for path in own}
        after = {path: repository.read(commit, path) for path in {*paths, *own}}
        old = None
        with suppress(PatchConflict):
            files = {path: data for path, data in before.items() if data is not None}
            old = apply_in_memory([variant], files)
        found.append(ExportedPatch(variant, repository.export(commit), fresh=old != after))
    return tuple(found)


def new_files(
    patches: Path, version: Version, steps: Sequence[ExportedPatch], *, ends: bool = True
) -> dict[str, bytes]:
    """The files of a series' folder that are new with these steps, by relative path.

    An idea that upstream took ``ends`` with the release, or else is not for this one release.
    """
    files: dict[str, bytes] = {}
    text = (patches / FILE).read_text("utf-8")
    for step in steps:
        if step.mail is None:
            text = _without(text, step.variant.patch, f"{'<' if ends else '!='}{version}")
            files[FILE] = text.encode()
        elif step.fresh:
            files[f"{step.variant.patch}/{version}.patch"] = step.mail
    return files


def write_files(patches: Path, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Write files into a series' folder; on an error all are as they were. Returns their names."""
    paths = {patches / name: data for name, data in files.items()}
    before = {path: path.read_bytes() if path.is_file() else None for path in paths}
    with not_writable_errors(patches):
        try:
            for path, data in paths.items():
                write_whole(path, data)
        except BaseException:
            for path, old in before.items():
                path.unlink(missing_ok=True) if old is None else write_whole(path, old)
            raise
    return tuple(files)


def _without(text: str, patch: str, releases: str) -> str:
    """``series.toml`` with an idea whose `releases` are narrowed."""
    table = re.compile(
        rf'(\[\[patch\]\]\nname = "{re.escape(patch)}"\n(?:[^\[].*\n)*?releases = ")([^"]*)"'
    )
    changed, count = table.subn(rf'\g<1>\g<2>,{releases}"', text)
    if count != 1:
        raise CommandFailed(
            f"{FILE} has no `releases` for {patch} where it was looked for",
            next_step=f'add "{releases}" to its `releases` by hand',
        )
    return changed
