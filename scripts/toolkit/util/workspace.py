"""Every path the toolkit writes to."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolkit.util.files import not_writable_errors

CACHE_VARIABLE = "LIVEKIT_DISPATCHED_CACHE"
# Where Linux keeps files in memory; what is made there is for its owner only.
MEMORY = Path("/dev/shm")  # noqa: S108
# What must be free there: some hundred files of a tree, and as many again for git, many times over.
ENOUGH = 64 << 20
ENOUGH_FILES = 2000
REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Workspace:
    """The cache below ``root``, and the series in ``patches``."""

    root: Path
    patches: Path = REPOSITORY / "patches"

    @classmethod
    def default(cls, patches: Path | None = None) -> Workspace:
        """Use the cache that LIVEKIT_DISPATCHED_CACHE names, or else the user's cache folder."""
        if name := os.environ.get(CACHE_VARIABLE):
            root = Path(name).expanduser().absolute()
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
        """Empty files, named by the sha256 of the official wheels that were verified."""
        return self.root / "sound"

    @property
    def releases(self) -> Path:
        """PyPI's latest answer about each release: ``<version>.json``."""
        return self.root / "releases"

    @property
    def environments(self) -> Path:
        """Environments that the proof runs in."""
        return self.root / "environments"

    @property
    def verdicts(self) -> Path:
        """Store of verdicts."""
        return self.root / "verdicts"

    @property
    def outcomes(self) -> Path:
        """Store of verdict summaries and conflicts."""
        return self.root / "outcomes"

    @property
    def repacked(self) -> Path:
        """Store of repacked wheels."""
        return self.root / "repacked"

    @property
    def mutants(self) -> Path:
        """Store of the results of mutants."""
        return self.root / "mutants"

    @property
    def upstream(self) -> Path:
        """Upstream's tests by commit, and the store of their results."""
        return self.root / "upstream"

    @property
    def watched(self) -> Path:
        """GitHub's latest answers about upstream's pull requests."""
        return self.root / "watched"

    @property
    def catalogue(self) -> Path:
        """The official wheels, and what was published of them; generated, and committed."""
        return self.patches / "releases.toml"

    @contextmanager
    def scratch(self, *, small: bool = False) -> Iterator[Path]:
        """Make a folder that is removed when the block ends, however it ends.

        It is in the cache, or in memory if what goes there is ``small`` and the system has a
        place with room for that: git writes some hundred files and folders for a tree.
        """
        parent = MEMORY if small and _has_room(MEMORY) else self.root / "scratch"
        folder = parent / f"livekit-dispatched-{secrets.token_hex(8)}"
        with not_writable_errors(parent):
            folder.mkdir(parents=True, mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _has_room(folder: Path) -> bool:
    """Return whether ENOUGH can be written to ``folder``."""
    try:
        free = os.statvfs(folder)
    except (OSError, AttributeError):  # Windows has no statvfs
        return False
    # a file system that counts no files has 0 of them
    files = free.f_favail if free.f_files else ENOUGH_FILES
    room = free.f_bavail * free.f_frsize >= ENOUGH and files >= ENOUGH_FILES
    return room and os.access(folder, os.W_OK | os.X_OK)
