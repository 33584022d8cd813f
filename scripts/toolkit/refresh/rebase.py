"""Carry a series from a release that it fits to one that it does not: git's merge, idea by idea.

The repository shows how it came about: `base` is the old release with a commit an idea, and
`series` the new one, grown on the old one's official files. What an idea changed in the old
release is merged into the new one, after it was brought to where upstream's text is now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from toolkit.patches.export import ExportedPatch, exported_patches, require_one_commit_each
from toolkit.patches.fold import broken_by, fault_of, fold, unlike
from toolkit.patches.git_repo import CommitMessage, GitConflict, Repository
from toolkit.patches.patchfile import Variant, apply_exactly
from toolkit.refresh.auto_resolve import has_markers, resolve
from toolkit.refresh.renames import Renames
from toolkit.util.errors import PatchConflict

if TYPE_CHECKING:
    from unidiff.patch import Hunk

OLD, NEW, BASE = "refs/heads/old", "refs/heads/new", "refs/heads/base"
# How far we got by ourselves, or with the answers so far.
CARRIED = "refs/heads/carried"
# How git may compare lines; the first that leaves no conflict is taken.
ALGORITHMS = ("histogram", "patience", "minimal", "myers")

Texts = Mapping[str, bytes]


@dataclass(frozen=True)
class RebasedHunk:
    """A hunk of an idea on the old release, and the files of the new one in which it belongs."""

    path: str
    hunk: Hunk
    places: tuple[str, ...]
    number: int
    of: int


class RebaseStopped(Exception):
    """A human must decide about ``variant``; what is in conflict stands in the work tree.

    ``changes`` are the hunks that cannot be merged even alone.
    """

    def __init__(self, variant: Variant, reason: str, changes: Iterable[RebasedHunk] = ()) -> None:
        super().__init__(reason)
        self.variant, self.reason, self.changes = variant, reason, tuple(changes)


class Rebase:
    """One series on its way from the files ``old`` to the files ``new``, in a repository.

    Both hold every Python file of the release, by monorepo path. :meth:`begin` makes the
    repository in an empty folder, and :meth:`go_on` continues in it, however far it got. With
    ``bold`` conflicts are answered where only one answer makes sense: see :mod:`.settling`.
    Somebody wrote those variants that began with ``release``, the new one; they are not replaced.
    """

    def __init__(
        self,
        variants: Sequence[Variant],
        old: Texts,
        new: Texts,
        tree: Path,
        *,
        release: Version | None = None,
        bold: bool = False,
    ) -> None:
        self.variants = tuple(variants)
        self.release = release
        self.old, self.new = old, new
        self.tree = tree
        self.bold = bold
        self.repository = Repository(tree)

    def begin(self) -> None:
        """Both releases as commits, and the series on the old one."""
        self.tree.mkdir(parents=True, exist_ok=True)
        self.repository = Repository.create(self.tree)
        official = CommitMessage.own("Official files\n")
        start = self.repository.commit_files(OLD, self.old, official)
        parent = self.repository.commit_files(BASE, self.old, official)
        for variant, texts in zip(self.variants, self.bases[1:], strict=True):
            files = {**self.old, **texts}
            parent = self.repository.commit_files(
                BASE, files, CommitMessage.of(variant.data), parent
            )
        self.repository.checkout(self.repository.commit_files(NEW, self.new, official, start))
        self.repository.set_ref(CARRIED)

    def go_on(self) -> tuple[ExportedPatch, ...]:
        """Rebase each patch that is left; raise RebaseStopped at the first that needs a human.

        What a human left in the work tree is taken as the answer to the idea that was stuck.
        """
        self._settle()
        self.repository.set_ref(CARRIED)
        for number in range(len(self._done()), len(self.variants)):
            self._carry(number)
            self.repository.set_ref(CARRIED)
        return exported_patches(self.repository, self.variants, self._done())

    def require_answer(self, patch: str) -> None:
        """Raise InvalidSeries if a human left more or less than one commit for each idea.

        They were asked about ``patch``, to which the answer may still be in the work tree, or,
        with no name, about all ideas together.
        """
        names = [variant.patch for variant in self.variants]
        asked = names.index(patch) + 1 if patch in names else len(names)
        ours, found = len(self.repository.commits(NEW, CARRIED)), len(self._done())
        waits = found < asked and (self.repository.is_picking() or self.repository.is_clean())
        require_one_commit_each(self.tree, found, max(ours, asked) - waits)

    @cached_property
    def bases(self) -> list[Texts]:
        """The old release's patched files before the first idea, and after each."""
        touched = {change.path for variant in self.variants for change in variant.changes}
        texts: Texts = {path: self.old[path] for path in touched if path in self.old}
        chain = [texts]
        for variant in self.variants:
            with suppress(PatchConflict):
                # else it is an idea that the old release has no need of
                texts = fold([variant], texts) or texts
            chain.append(texts)
        return chain

    @cached_property
    def notice(self) -> bytes:
        """The line by which the series tells in a file that it changed it; or nothing."""
        for path, data in self.bases[-1].items():
            first = data.partition(b"\n")[0]
            if first.startswith(b"#") and not self.old.get(path, b"").startswith(first):
                return first + b"\n"
        return b""

    def _done(self) -> list[str]:
        return self.repository.commits(NEW, "HEAD")

    def _settle(self) -> None:
        done = len(self._done())
        if self.repository.is_picking():
            self._refuse_markers(self.variants[done])
            self.repository.continue_pick()
        elif done:
            self.repository.amend()
        if (done := len(self._done())) and (fault := self._fault()):
            raise RebaseStopped(self.variants[done - 1], fault)

    def _refuse_markers(self, variant: Variant) -> None:
        left = [p for p in self.repository.unmerged() if has_markers(self._read(p) or b"")]
        if left:
            raise RebaseStopped(variant, f"{', '.join(left)} still has conflict markers")

    def _carry(self, number: int) -> None:
        variant = self.variants[number]
        changes = self._changes(number)
        stays = all(change.places == (change.path,) for change in changes)
        if stays and self._applies(variant):
            try:
                self.repository.am([variant.data])
            except GitConflict as error:
                raise unlike(variant, error.output) from error
            return
        if variant.since == self.release:
            raise RebaseStopped(variant, "it is for this very release, and does not apply")
        if not changes:
            raise RebaseStopped(
                variant, "it does not apply, and changes nothing in the older release"
            )
        start = self.repository.head
        broken = ""
        for bold in (False, True)[: 1 + self.bold]:
            for algorithm in ALGORITHMS:
                self.repository.checkout(start)
                if self._picked(number, changes, algorithm, bold=bold):
                    broken = self._fault()
                    if not broken:
                        return
        alone = []
        for change in changes:
            self.repository.checkout(start)
            if not self._picked(number, [change], ALGORITHMS[0]):
                alone.append(change)
        # what a human finds is git's own merge
        self.repository.checkout(start)
        self._picked(number, changes, ALGORITHMS[0])
        raise RebaseStopped(variant, broken or "upstream changed what it changes", alone or changes)

    def _picked(
        self, number: int, changes: Sequence[RebasedHunk], algorithm: str, *, bold: bool = False
    ) -> bool:
        """Whether these hunks of an idea were merged and committed."""
        variant = self.variants[number]
        before, after = self._sides(number, changes)
        ref = f"refs/heads/idea/{variant.patch}"
        parent = self.repository.commit_files(ref, before, CommitMessage.own("Before\n"))
        commit = self.repository.commit_files(ref, after, CommitMessage.of(variant.data), parent)
        try:
            self.repository.cherry_pick(commit, algorithm)
        except GitConflict:
            texts = {path: self._read(path) for path in self.repository.unmerged()}
            answers = {path: resolve(data) for path, data in texts.items() if data and bold}
            if len(answers) < len(texts) or None in answers.values():
                return False
            for path, answer in answers.items():
                (self.tree / path).write_bytes(answer or b"")
            self.repository.continue_pick()
        self._notify(after)
        return True

    def _applies(self, variant: Variant) -> bool:
        texts = {change.path: self._read(change.path) for change in variant.changes}
        try:
            result = fold([variant], {path: data for path, data in texts.items() if data})
        except PatchConflict:
            return False
        return result is not None and not any(broken_by([variant], result))

    def _changes(self, number: int) -> list[RebasedHunk]:
        from unidiff.patch import PatchSet

        chain = [OLD, *self.repository.commits(OLD, BASE)]
        return [
            RebasedHunk(
                diff.path,
                hunk,
                self._moves.of(diff.path, hunk, self.bases[number].get(diff.path, b"")),
                place,
                len(diff),
            )
            for diff in PatchSet(self.repository.diff(*chain[number : number + 2]))
            for place, hunk in enumerate(diff, start=1)
        ]

    def _sides(
        self, number: int, changes: Sequence[RebasedHunk]
    ) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """The two sides of the merge: the old text where upstream has it now, and the patched."""
        texts = self.bases[number]
        before, after = {}, {}
        for place, path in {(p, change.path): None for change in changes for p in change.places}:
            hunks = [c.hunk for c in changes if c.path == path and place in c.places]
            if path in texts:
                before[place] = texts[path]
            after[place] = apply_exactly(texts.get(path, b""), hunks)
        return before, after

    @cached_property
    def _moves(self) -> Renames:
        return Renames.between(self.repository, self.old, self.new, f"{OLD}..{NEW}")

    def _notify(self, paths: Iterable[str]) -> None:
        """Leave the notice in each file that the series changes and that has none yet."""
        for path in paths:
            text = self._read(path)
            changed = text is not None and text != self.new.get(path)
            if text and changed and self.notice not in text.splitlines(keepends=True):
                (self.tree / path).write_bytes(self.notice + text)
        self.repository.amend()

    def _fault(self) -> str:
        """Why what the last commit made is no Python; or nothing."""
        paths = [p for p in self.repository.changed_paths("HEAD~", "HEAD") if p.endswith(".py")]
        return next(filter(None, (fault_of(p, self._read(p) or b"") for p in paths)), "")

    def _read(self, path: str) -> bytes | None:
        file = self.tree / path
        return file.read_bytes() if file.is_file() else None
