"""Official wheels, downloaded into a cache by content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from packaging.version import Version

from toolkit.releases.release import Artefact, Release
from toolkit.util.distributions import MAIN
from toolkit.util.errors import HashMismatch, UnknownRelease
from toolkit.util.files import not_writable_errors, sha256_of, write_whole
from toolkit.util.http import Progress, download
from toolkit.util.workspace import Workspace


def cached_release(version: Version | str, workspace: Workspace) -> Release:
    """Return what PyPI last said of a release, without the network.

    Raises UnknownRelease if PyPI was never asked.
    """
    try:
        path = workspace.releases / f"{Version(str(version))}.json"
        return Release.from_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UnknownRelease(
            f"{MAIN} {version} is not in the cache", next_step="run once without --offline"
        ) from error


def fetch_wheel(artefact: Artefact, workspace: Workspace, progress: Progress | None = None) -> Path:
    """Return the official wheel's path in the cache; download it if it is missing or damaged.

    Calls ``progress`` with the number of bytes of every piece that arrives. Raises Unreachable if
    the server fails or cuts off each of several attempts, HashMismatch and NotWritable.
    """
    path = cached_path(artefact, workspace)
    if not is_cached(artefact, workspace):
        with not_writable_errors(workspace.artefacts):
            data = download(artefact.url, artefact.size, artefact.filename, progress)
            write_whole(path, _verified(data, artefact))
    return path


def fetch_wheels(
    release: Release, workspace: Workspace, progress: Progress | None = None
) -> tuple[Path, ...]:
    """Return every official wheel of a release, in its order; download them side by side."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=4) as pool:
        return tuple(pool.map(lambda a: fetch_wheel(a, workspace, progress), release.artefacts))


def is_cached(artefact: Artefact, workspace: Workspace) -> bool:
    """Return whether the cache holds the official wheel, undamaged."""
    path = cached_path(artefact, workspace)
    return path.is_file() and sha256_of(path) == artefact.sha256


def cached_path(artefact: Artefact, workspace: Workspace) -> Path:
    """Return where the cache holds an official wheel, or would."""
    sha = artefact.sha256
    return workspace.artefacts / sha[:2] / sha / artefact.filename


def _verified(data: bytes, artefact: Artefact) -> bytes:
    sha256 = hashlib.sha256(data).hexdigest()
    if len(data) != artefact.size or sha256 != artefact.sha256:
        raise HashMismatch(
            f"{artefact.filename} is not what its index announced: {len(data)} bytes or more "
            f"with sha256 {sha256}, not {artefact.size} with {artefact.sha256}",
            next_step="do not use this index; compare with PyPI's own page",
        )
    return data
