"""Patched trees back to patch files, byte for byte the same on every machine."""

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
from toolkit.util.files import not_writable_errors, write_together


@dataclass(frozen=True)
class ExportedPatch:
    """A patch in the new release.

    ``mail`` is what git exports, None if upstream's files contain the patch already. ``fresh``
    says that the old variant does not do the same here.
    """

    variant: Variant
    mail: bytes | None
    fresh: bool


def export(tree: Path, series: Series, version: Version) -> tuple[ExportedPatch, ...]:
    """Return the patches as a patched tree has them.

    A variant that began with this very release is replaced if a byte of it differs, an older one
    by a new variant if it does something else now. Raises InvalidSeries if there is not one
    commit for each patch.
    """
    variants = series.variants_for(version)
    patches = exported_patches(Repository(tree), variants, _commits(tree, variants))
    return tuple(
        replace(patch, fresh=patch.mail != patch.variant.data)
        if patch.variant.since == version and patch.mail is not None
        else patch
        for patch in patches
    )


def exported_mails(tree: Path, variants: Sequence[Variant]) -> list[tuple[Variant, bytes]]:
    """Return what git exports of a patched tree; raises InvalidSeries as :func:`export` does."""
    mails = map(Repository(tree).export, _commits(tree, variants))
    return list(zip(variants, mails, strict=True))


def _commits(tree: Path, variants: Sequence[Variant]) -> list[str]:
    commits = Repository(tree).commits("", "HEAD")[1:]
    require_one_commit_each(tree.absolute(), len(commits), len(variants))
    return commits


def require_one_commit_each(tree: Path, commits: int, patches: int) -> None:
    """Raise InvalidSeries if a tree has not one commit for each patch on the official files."""
    if commits != patches:
        raise InvalidSeries(
            f"{tree} has {commits} commits on the official files, for {patches} patches",
            next_step="leave one commit for each patch, in the order of series.toml",
        )


def exported_patches(
    repository: Repository, variants: Sequence[Variant], commits: Sequence[str]
) -> tuple[ExportedPatch, ...]:
    """Return the variants as commits have them; one that still does the same is not fresh."""
    patches = []
    for variant, commit in zip(variants, commits, strict=True):
        paths = repository.changed_paths(f"{commit}~", commit)
        own = [change.path for change in variant.changes]
        before = {path: repository.read(f"{commit}~", path) for path in own}
        after = {path: repository.read(commit, path) for path in {*paths, *own}}
        expected = None
        with suppress(PatchConflict):
            files = {path: data for path, data in before.items() if data is not None}
            expected = apply_in_memory([variant], files)
        mail = repository.export(commit) if paths else None
        patches.append(ExportedPatch(variant, mail, fresh=expected != after))
    return tuple(patches)


def new_files(
    folder: Path, version: Version, patches: Sequence[ExportedPatch], *, ends: bool = True
) -> dict[str, bytes]:
    """Return the files of a series' folder that these patches change, by relative path.

    A patch that upstream took ``ends`` with the release, or else is not for this one release.
    """
    files: dict[str, bytes] = {}
    text = (folder / FILE).read_text("utf-8")
    for patch in patches:
        if patch.mail is None:
            text = _narrowed(text, patch.variant.patch, f"{'<' if ends else '!='}{version}")
            files[FILE] = text.encode()
        elif patch.fresh:
            files[f"{patch.variant.patch}/{version}.patch"] = patch.mail
    return files


def write_files(folder: Path, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Write files into a series' folder once all are on the disk; return their names."""
    with not_writable_errors(folder):
        write_together({folder / name: data for name, data in files.items()})
    return tuple(files)


def _narrowed(text: str, patch: str, releases: str) -> str:
    """Return ``series.toml`` with a patch whose `releases` are narrowed."""
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
