"""Every path the toolkit writes to, and the patched tree."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import CommandFailed, InvalidSeries, NotWritable, PatchConflict
from .files import writing
from .folding import broken_by, conflict, fold, unlike
from .repository import Refused, Repository
from .series import Series
from .variant import Variant

CACHE_VARIABLE = "LIVEKIT_DISPATCHED_CACHE"
# Where Linux keeps files in memory; what is made there is for its owner only.
MEMORY = Path("/dev/shm")  # noqa: S108
# What must be free there: some hundred files of a tree, and as many again for git, many times over.
ENOUGH = 64 << 20
ENOUGH_FILES = 2000
REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield an unused path beside ``target``; at the end it takes ``target``'s place at once.

    File or folder. On any error, Ctrl-C included, it is removed and ``target`` stays as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield draft
        draft.replace(target)
    except BaseException:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
        raise


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


@dataclass(frozen=True)
class Workspace:
    """Where things are kept: the cache below ``root``, and the series in ``patches``."""

    root: Path
    patches: Path = REPOSITORY / "patches"

    @classmethod
    def default(cls, patches: Path | None = None) -> Workspace:
        """The user's cache folder, or the one that LIVEKIT_DISPATCHED_CACHE names."""
        named = os.environ.get(CACHE_VARIABLE)
        if named:
            root = Path(named).expanduser().absolute()
        else:
            from platformdirs import user_cache_path

            root = user_cache_path("livekit-dispatched")
        return cls(root, (patches or REPOSITORY / "patches").absolute())

    @property
    def artefacts(self) -> Path:
        """Official wheels, by content: ``<sha256[:2]>/<sha256>/<filename>``."""
        return self.root / "artefacts"

    @property
    def sound(self) -> Path:
        """Names of the official wheels that were checked, member by member: their sha256."""
        return self.root / "sound"

    @property
    def releases(self) -> Path:
        """What PyPI last said of a release: ``<version>.json``."""
        return self.root / "releases"

    @property
    def environments(self) -> Path:
        """Environments that the proof runs in."""
        return self.root / "environments"

    @property
    def verdicts(self) -> Path:
        """Verdicts, by the digest of everything they depend on."""
        return self.root / "verdicts"

    @property
    def outcomes(self) -> Path:
        """What became of releases, by the digest of everything that it depends on."""
        return self.root / "outcomes"

    @property
    def repacked(self) -> Path:
        """Repacked wheels, by the digest of everything they depend on."""
        return self.root / "repacked"

    @property
    def mutants(self) -> Path:
        """What became of mutants, by the digest of everything it depends on."""
        return self.root / "mutants"

    @property
    def upstream(self) -> Path:
        """Upstream's tests by commit, and what they said of wheels."""
        return self.root / "upstream"

    @property
    def watched(self) -> Path:
        """What GitHub last said of upstream's changes."""
        return self.root / "watched"

    @property
    def catalogue(self) -> Path:
        """The official wheels, and what was published of them; generated, and committed."""
        return self.patches / "releases.toml"

    @contextmanager
    def scratch(self, *, small: bool = False) -> Iterator[Path]:
        """A new folder that is gone when the block ends, however it ends.

        It is in the cache, or if what goes there is ``small``, in memory where the system has
        a place for that with room in it: git writes some hundred files and folders for a tree.
        """
        home = MEMORY if small and _has_room(MEMORY) else self.root / "scratch"
        folder = home / f"livekit-dispatched-{secrets.token_hex(8)}"
        with writing(home):
            folder.mkdir(parents=True, mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _has_room(folder: Path) -> bool:
    """Whether what is ``small`` can be written to ``folder``."""
    try:
        free = os.statvfs(folder)
    except (OSError, AttributeError):  # Windows has no statvfs
        return False
    # a file system that counts no files has 0 of them
    files = free.f_favail if free.f_files else ENOUGH_FILES
    room = free.f_bavail * free.f_frsize >= ENOUGH and files >= ENOUGH_FILES
    return room and os.access(folder, os.W_OK | os.X_OK)


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
    with writing(tree.parent), replacing(tree.absolute()) as draft:
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
        except Refused as error:
            raise _refused(repository, variants, error, fits=fits) from error
    return repository.head


def _refused(
    repository: Repository, variants: Sequence[Variant], error: Refused, *, fits: bool
) -> PatchConflict | InvalidSeries | CommandFailed:
    """Which variant, file and hunk ``git am`` stopped at, in its own trimmed words.

    That is no conflict if the series ``fits`` as we read it.
    """
    number = repository.refused_mail()
    if number is None or number >= len(variants):
        return CommandFailed(f"git am failed: {error.said}", next_step="check that git works")
    variant = variants[number]
    if fits:
        return unlike(variant, error.said)
    lines = []
    for line in error.said.splitlines():
        failed = re.fullmatch(r"error: patch failed: (.+):(\d+)", line)
        if failed:
            lines.append(variant.hunk_at(failed[1], int(failed[2])))
        elif line.startswith("error: ") and not line.endswith(": patch does not apply"):
            lines.append(line.removeprefix("error: "))
    return conflict(variant, "does not apply: " + ("; ".join(lines) or error.said))
