"""Upstream's repository: its tags, and its tests as of one of them, in a cache by commit."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.version import InvalidVersion, Version

from toolkit.util.errors import CommandFailed, Unreachable
from toolkit.util.files import not_writable_errors, replacing
from toolkit.util.git import GitError, check_version, git, network_variables
from toolkit.util.strict_json import decode

REPOSITORY = "https://github.com/livekit/agents"
PREFIX = "livekit-agents@"
# seconds until a repository that does not answer counts as unreachable, and for a checkout
REACH, CHECKOUT_TIMEOUT = 10.0, 600.0
_BLOBS = "blobs.json"
_listing = threading.Lock()


@dataclass(frozen=True)
class Tag:
    """A tag of a release, and the commit that it stands for."""

    name: str
    version: Version
    commit: str


@dataclass(frozen=True)
class Checkout:
    """Upstream's ``tests`` and the files of its top folder, in ``files``, as of ``tag``.

    ``blobs`` maps every path of the commit to git's id of its content, which names what was
    never downloaded too.
    """

    tag: Tag
    files: Path
    blobs: Mapping[str, str]


def tags_of(repository: str, reach: float = REACH) -> tuple[Tag, ...]:
    """Return the release tags of a repository (an address or a folder), oldest version first.

    Asks it once per process, for at most ``reach`` seconds. Raises Unreachable with git's reason,
    or if the repository has no such tag.
    """
    with _listing:
        tags = _list_tags(repository, reach)
    if isinstance(tags, Unreachable):
        raise tags
    return tags


@cache
def _list_tags(repository: str, reach: float) -> tuple[Tag, ...] | Unreachable:
    check_version()
    options = ("--tags", f"--upload-pack={_upload_pack(repository)}", "--", _source(repository))
    try:
        listing = _git("ls-remote", *options, f"{PREFIX}*", timeout=reach)
    except CommandFailed as error:
        return Unreachable(
            f"{repository} cannot be reached: {error.problem}",
            next_step="check the network, or name a clone of it with --repo PATH",
        )
    tags: dict[str, Tag] = {}
    for line in listing.splitlines():
        commit, _, reference = line.partition("\t")
        # the line of an annotated tag is followed by one with ^{}: the commit
        name = reference.removeprefix("refs/tags/").removesuffix("^{}")
        with suppress(InvalidVersion):
            tags[name] = Tag(name, Version(name.removeprefix(PREFIX)), commit)
    if not tags:
        return Unreachable(
            f"{repository} has no tag {PREFIX}VERSION",
            next_step="name upstream's repository, or a clone that has its tags, with --repo",
        )
    return tuple(sorted(tags.values(), key=lambda tag: tag.version))


def nearest_tag(
    tags: Sequence[Tag], release: Version, releases: Iterable[Version]
) -> tuple[Tag, int]:
    """Return the release's own tag, else the one with the fewest releases between, and how many.

    ``releases`` are all that are known, tagged or not. A tag of the same major version comes
    first; of two equally near the earlier one.
    """
    versions = {*releases, *(tag.version for tag in tags)}

    def between(tag: Tag) -> int:
        low, high = sorted((tag.version, release))
        return sum(low < version < high for version in versions)

    def distance(tag: Tag) -> tuple[bool, bool, int, bool]:
        other_major = tag.version.major != release.major
        return tag.version != release, other_major, between(tag), tag.version > release

    best = min(tags, key=distance)
    return best, between(best)


def check_out(tag: Tag, repository: str, root: Path) -> Checkout:
    """Return upstream's tests at ``tag``, from the cache below ``root``, or else fetch them.

    Fetches only that commit, and of its files only those that are wanted (a shallow, partial and
    sparse clone). Raises CommandFailed with git's reason, NotWritable.
    """
    from filelock import FileLock

    final = root / tag.commit
    with not_writable_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{tag.commit}.lock"):
            blobs = _read_blobs(final)
            if blobs is None:
                shutil.rmtree(final, ignore_errors=True)
                with replacing(final) as draft:
                    draft.mkdir()
                    blobs = _fetch(tag, repository, draft)
                    (draft / _BLOBS).write_text(json.dumps(blobs), "utf-8")
    return Checkout(tag, final / "files", blobs)


def _read_blobs(final: Path) -> dict[str, str] | None:
    try:
        return decode(dict[str, str], json.loads((final / _BLOBS).read_bytes()), _BLOBS)
    except (OSError, ValueError):
        return None


def _fetch(tag: Tag, repository: str, draft: Path) -> dict[str, str]:
    """Fetch a tag's files into ``draft / "files"``; return git's ids of all files by path."""
    files = draft / "files"
    files.mkdir()
    repository_folder = files / ".git"
    env = {"GIT_DIR": str(repository_folder), "GIT_WORK_TREE": str(files)}

    def git_in_files(*arguments: str) -> str:
        return _git(*arguments, timeout=CHECKOUT_TIMEOUT, cwd=files, env=env)

    git_in_files("init", "--quiet", "--template=")
    git_in_files("remote", "add", "--", "origin", _source(repository))
    # the remote has the blobs that are filtered out, though none of them is ever needed
    git_in_files("config", "remote.origin.promisor", "true")
    git_in_files("config", "remote.origin.uploadpack", _upload_pack(repository))
    git_in_files("sparse-checkout", "set", "tests")
    shallow = ("--quiet", "--depth=1", "--filter=blob:none")
    git_in_files("fetch", *shallow, "origin", f"refs/tags/{tag.name}")
    git_in_files("checkout", "--quiet", "--detach", tag.commit)
    listing = git_in_files("ls-tree", "-r", "-z", tag.commit)
    shutil.rmtree(repository_folder)
    # the search for a .env, which may hold keys, goes up from the tests and ends at this one
    (files / ".env").write_text("", "utf-8")
    rows = (row.partition("\t") for row in listing.split("\0") if row)
    return {path: entry.split()[2] for entry, _, path in rows}


def _source(repository: str) -> str:
    return str(Path(repository).resolve()) if Path(repository).is_dir() else repository


def _upload_pack(repository: str) -> str:
    # a folder that the user names may belong to another user, as in a container; git takes that
    # only from a configuration, and the user's own is not read
    return f"git {'-c safe.directory=* ' * Path(repository).is_dir()}upload-pack"


def count_differing(checkout: Checkout, wheel: Path, tree: str) -> tuple[int, int]:
    """Return how many modules of an official wheel differ from those in the folder ``tree``.

    And how many modules there are on either side; one that is on one side only differs. Compares
    git's ids, so nothing is fetched.
    """
    tagged = {
        path.removeprefix(f"{tree}/"): blob
        for path, blob in checkout.blobs.items()
        if path.startswith(f"{tree}/livekit/") and path.endswith(".py")
    }
    with zipfile.ZipFile(wheel) as archive:
        shipped = {
            name: _blob(archive.read(name))
            for name in archive.namelist()
            if name.startswith("livekit/") and name.endswith(".py")
        }
    modules = tagged.keys() | shipped.keys()
    return sum(tagged.get(name) != shipped.get(name) for name in modules), len(modules)


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _git(
    *arguments: str, timeout: float, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Return what git prints; raises CommandFailed with git's reason."""
    try:
        # not in the user's folder, which may be a repository with a configuration of its own
        output = git(
            *arguments,
            cwd=cwd or Path(Path.cwd().anchor),
            env={**network_variables(), **(env or {})},
            timeout=timeout,
        )
    except GitError as error:
        raise CommandFailed(
            " ".join(error.output.split()) or f"git {arguments[0]} ended with {error.status}",
            next_step="run git by hand to see what it cannot do",
        ) from error
    return output.decode("utf-8", "surrogateescape").removesuffix("\n")
