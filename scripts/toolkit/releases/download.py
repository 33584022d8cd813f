"""Official wheels, downloaded into a cache by content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from packaging.version import Version

from toolkit.releases.release import Artefact, Release
from toolkit.util.errors import HashMismatch, UnknownRelease
from toolkit.util.files import not_writable_errors, replacing, sha256_of
from toolkit.util.http import Progress, download
from toolkit.util.names import MAIN
from toolkit.util.workspace import Workspace


def cached_release(version: Version | str, workspace: Workspace) -> Release:
    """What PyPI last said of a release, without the network.

    Raises UnknownRelease if it was never asked for.
    """
    try:
        path = workspace.releases / f"{Version(str(version))}.json"
        return Release.from_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UnknownRelease(
            f"{MAIN} {version} is not in the cache", next_step="run once without --offline"
        ) from error


def fetch(artefact: Artefact, workspace: Workspace, progress: Progress | None = None) -> Path:
    """The official wheel's path in the cache, downloaded if it is not there, or not whole.

    ``progress`` is called with every number of bytes that arrives. Raises Unreachable when the
    server fails or cuts off each of several attempts, HashMismatch, NotWritable.
    """
    target = _place(artefact, workspace)
    if is_cached(artefact, workspace):
        return target
    with not_writable_errors(workspace.artefacts), replacing(target) as draft:
        data = download(artefact.url, artefact.size, artefact.filename, progress)
        draft.write_bytes(_checked(data, artefact))
    return target


def fetch_all(
    release: Release, workspace: Workspace, progress: Progress | None = None
) -> tuple[Path, ...]:
    """Every official wheel of a release, in its order, downloaded side by side."""
    if all(is_cached(artefact, workspace) for artefact in release.artefacts):
        return tuple(_place(artefact, workspace) for artefact in release.artefacts)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=4) as pool:
        return tuple(pool.map(lambda a: fetch(a, workspace, progress), release.artefacts))


def _place(artefact: Artefact, workspace: Workspace) -> Path:
    sha = artefact.sha256
    return workspace.artefacts / sha[:2] / sha / artefact.filename


def is_cached(artefact: Artefact, workspace: Workspace) -> bool:
    """Whether the cache holds the official wheel, whole."""
    path = _place(artefact, workspace)
    return path.is_file() and sha256_of(path) == artefact.sha256


def _checked(data: bytes, artefact: Artefact) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if len(data) != artefact.size or found != artefact.sha256:
        raise HashMismatch(
            f"{artefact.filename} is not what its index announced: {len(data)} bytes or more "
            f"with sha256 {found}, not {artefact.size} with {artefact.sha256}",
            next_step="do not use this index; compare with PyPI's own page",
        )
    return data
