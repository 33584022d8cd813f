"""Rebase a series from a release that it fits onto one that it does not, by git's merge.

The repository shows every step: `base` is the old release with a commit a patch, and `series` is
the new one, grown on the old one's official files. What a patch changed in the old release is first
moved to where upstream's text is now, then merged into the new release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from packaging.version import Version

from toolkit.patches.apply import apply_in_memory, require_python, syntax_error
from toolkit.patches.export import ExportedPatch, exported_patches, require_one_commit_each
from toolkit.patches.git_repo import CommitMessage, GitConflict, Repository
from toolkit.patches.patchfile import Variant
from toolkit.patches.tree import am
from toolkit.refresh.auto_resolve import has_markers, resolve
from toolkit.refresh.merge_sides import RebasedHunk, hunks_of, sides_of
from toolkit.refresh.renames import Renames
from toolkit.util.errors import PatchConflict

OLD, NEW, BASE = "refs/heads/old", "refs/heads/new", "refs/heads/base"
# The last patch that was rebased, by git or with a human's resolution.
REBASED = "refs/heads/carried"
# How git may compare lines; the first algorithm without a conflict is taken.
ALGORITHMS = ("histogram", "patience", "minimal", "myers")

Texts = Mapping[str, bytes]


class RebaseStopped(Exception):
    """A human must resolve ``variant``; its conflicts stand in the work tree.

    ``hunks`` are those that cannot be merged even alone.
    """

    def __init__(self, variant: Variant, reason: str, hunks: Iterable[RebasedHunk] = ()) -> None:
        super().__init__(reason)
        self.variant, self.reason, self.hunks = variant, reason, tuple(hunks)


@dataclass(eq=False)
class Rebase:
    """One series on its way from the files ``old`` to the files ``new``, in a repository ``tree``.

    Both hold every Python file of a release, by monorepo path. Variants that began with
    ``release``, the new one, were written for it and are never replaced. ``auto_resolve`` keeps
    both sides of a conflict where that makes sense: see :mod:`.auto_resolve`.
    """

    variants: Sequence[Variant]
    old: Texts
    new: Texts
    tree: Path
    release: Version | None = None
    auto_resolve: bool = False

    @cached_property
    def repository(self) -> Repository:
        """The repository around the work tree."""
        return Repository(self.tree)

    def start(self) -> None:
        """Commit both releases, and the series on the old one, in a new repository."""
        self.tree.mkdir(parents=True, exist_ok=True)
        self.repository = Repository.create(self.tree)
        official = CommitMessage.own("Official files\n")
        start = self.repository.commit_files(OLD, self.old, official)
        parent = self.repository.commit_files(BASE, self.old, official)
        for variant, texts in zip(self.variants, self.bases[1:], strict=True):
            files = {**self.old, **texts}
            message = CommitMessage.of(variant.data)
            parent = self.repository.commit_files(BASE, files, message, parent)
        self.repository.checkout(self.repository.commit_files(NEW, self.new, official, start))
        self.repository.set_ref(REBASED)

    def resume(self) -> tuple[ExportedPatch, ...]:
        """Rebase the patches that are left; raise RebaseStopped at the first that needs a human.

        What a human left in the work tree becomes the resolution of the patch that stopped it.
        """
        self._take_resolution()
        self.repository.set_ref(REBASED)
        for number in range(len(self._commits()), len(self.variants)):
            self._rebase(number)
            self.repository.set_ref(REBASED)
        return exported_patches(self.repository, self.variants, self._commits())

    def require_resolution(self, patch: str) -> None:
        """Raise InvalidSeries if a human left more or less than one commit for each patch.

        The conflict was in ``patch``, whose resolution may still be in the work tree; without a
        name it was in all patches together.
        """
        names = [variant.patch for variant in self.variants]
        asked = names.index(patch) + 1 if patch in names else len(names)
        before, count = len(self.repository.commits(NEW, REBASED)), len(self._commits())
        uncommitted = count < asked and (self.repository.is_picking() or self.repository.is_clean())
        require_one_commit_each(self.tree, count, max(before, asked) - uncommitted)

    @cached_property
    def bases(self) -> list[Texts]:
        """The old release's patched files before the first patch, and after each."""
        touched = {change.path for variant in self.variants for change in variant.changes}
        texts: Texts = {path: self.old[path] for path in touched if path in self.old}
        chain = [texts]
        for variant in self.variants:
            # a patch that the old release does not need changes nothing
            with suppress(PatchConflict):
                texts = apply_in_memory([variant], texts)
            chain.append(texts)
        return chain

    @cached_property
    def notice(self) -> bytes:
        """The line that says in a file that the series changed it; empty if there is none."""
        for path, data in self.bases[-1].items():
            first = data.partition(b"\n")[0]
            if first.startswith(b"#") and not self.old.get(path, b"").startswith(first):
                return first + b"\n"
        return b""

    @cached_property
    def renames(self) -> Renames:
        """Where upstream moved its text."""
        return Renames.between(self.repository, self.old, self.new, (OLD, NEW))

    def _commits(self) -> list[str]:
        return self.repository.commits(NEW, "HEAD")

    def _take_resolution(self) -> None:
        """Commit what a human left; raise RebaseStopped if it is not resolved, or no Python."""
        count = len(self._commits())
        if self.repository.is_picking():
            paths = [p for p in self.repository.unmerged() if has_markers(self._read(p) or b"")]
            if paths:
                reason = f"{', '.join(paths)} still has conflict markers"
                raise RebaseStopped(self.variants[count], reason)
            self.repository.continue_pick()
        elif count:
            self.repository.amend()
        if (count := len(self._commits())) and (fault := self._fault()):
            raise RebaseStopped(self.variants[count - 1], fault)

    def _rebase(self, number: int) -> None:
        """Commit one patch, or raise RebaseStopped with git's own merge in the work tree."""
        variant = self.variants[number]
        hunks = self._hunks(number)
        # A variant that applies where it should is taken as it is.
        if all(hunk.targets == (hunk.path,) for hunk in hunks) and self._applies(variant):
            am(self.repository, [variant])
            return
        if variant.since == self.release:
            raise RebaseStopped(variant, "it is for this very release, and does not apply")
        if not hunks:
            reason = "it does not apply, and changes nothing in the older release"
            raise RebaseStopped(variant, reason)
        # Else git merges it, comparing lines in each of its ways.
        start = self.repository.head
        fault = ""
        for auto_resolve in (False, True)[: 1 + self.auto_resolve]:
            for algorithm in ALGORITHMS:
                self.repository.checkout(start)
                if self._merge(number, hunks, algorithm, auto_resolve=auto_resolve):
                    fault = self._fault()
                    if not fault:
                        return
        # Name the hunks that cannot be merged even alone.
        failing = []
        for hunk in hunks:
            self.repository.checkout(start)
            if not self._merge(number, [hunk], ALGORITHMS[0]):
                failing.append(hunk)
        # Leave git's own merge for a human.
        self.repository.checkout(start)
        self._merge(number, hunks, ALGORITHMS[0])
        raise RebaseStopped(variant, fault or "upstream changed what it changes", failing or hunks)

    def _merge(
        self,
        number: int,
        hunks: Sequence[RebasedHunk],
        algorithm: str,
        *,
        auto_resolve: bool = False,
    ) -> bool:
        """Merge and commit hunks of a patch; return False if conflicts are left."""
        variant = self.variants[number]
        before, after = sides_of(hunks, self.bases[number])
        ref = f"refs/heads/idea/{variant.patch}"
        parent = self.repository.commit_files(ref, before, CommitMessage.own("Before\n"))
        commit = self.repository.commit_files(ref, after, CommitMessage.of(variant.data), parent)
        try:
            self.repository.cherry_pick(commit, algorithm)
        except GitConflict:
            for path in self.repository.unmerged():
                text = auto_resolve and resolve(self._read(path) or b"")
                if not text:
                    return False
                (self.tree / path).write_bytes(text)
            self.repository.continue_pick()
        self._add_notice(after)
        return True

    def _applies(self, variant: Variant) -> bool:
        texts = {change.path: self._read(change.path) for change in variant.changes}
        try:
            files = {path: data for path, data in texts.items() if data is not None}
            require_python([variant], apply_in_memory([variant], files))
        except PatchConflict:
            return False
        return True

    def _hunks(self, number: int) -> list[RebasedHunk]:
        chain = [OLD, *self.repository.commits(OLD, BASE)]
        diff = self.repository.diff(*chain[number : number + 2])
        return hunks_of(diff, self.bases[number], self.renames)

    def _add_notice(self, paths: Iterable[str]) -> None:
        """Put the notice into each changed file that has none yet."""
        for path in paths:
            text = self._read(path)
            changed = text is not None and text != self.new.get(path)
            if text and changed and self.notice not in text.splitlines(keepends=True):
                (self.tree / path).write_bytes(self.notice + text)
        self.repository.amend()

    def _fault(self) -> str:
        """Return why what the last commit made is no Python; empty if it is."""
        paths = [p for p in self.repository.changed_paths("HEAD~", "HEAD") if p.endswith(".py")]
        return next(filter(None, (syntax_error(p, self._read(p) or b"") for p in paths)), "")

    def _read(self, path: str) -> bytes | None:
        file = self.tree / path
        return file.read_bytes() if file.is_file() else None
