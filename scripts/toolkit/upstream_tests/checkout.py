"""Upstream's repository: its tags, and its tests as of one of them, in a cache by commit."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from filelock import FileLock
from packaging.version import InvalidVersion, Version

from toolkit.util.errors import CommandFailed, Unreachable
from toolkit.util.files import not_writable_errors, replacing
from toolkit.util.git import GitError, check_version, git, network_variables
from toolkit.util.strict_json import Malformed, mapping_of

REPOSITORY = "https://github.com/livekit/agents"
PREFIX = "livekit-agents@"
# seconds until a repository that does not answer counts as out of reach, and for a checkout
REACH, PATIENCE = 10.0, 600.0
_BLOBS = "blobs.json"
_asking = threading.Lock()


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
    """The release tags of a repository (an address or a folder), oldest version first.

    Asked once per process, for at most ``reach`` seconds. Raises Unreachable with git's reason,
    or if the repository has no such tag.
    """
    with _asking:
        answer = _asked(repository, reach)
    if isinstance(answer, Unreachable):
        raise answer
    return answer


@cache
def _asked(repository: str, reach: float) -> tuple[Tag, ...] | Unreachable:
    check_version()
    words = ("--tags", f"--upload-pack={_upload_pack(repository)}", "--", _source(repository))
    try:
        listing = _git("ls-remote", *words, f"{PREFIX}*", timeout=reach)
    except CommandFailed as error:
        return Unreachable(
            f"{repository} cannot be reached: {error.problem}",
            next_step="check the network, or name a clone of it with --repo PATH",
        )
    found: dict[str, Tag] = {}
    for line in listing.splitlines():
        commit, _, reference = line.partition("\t")
        # the line of an annotated tag is followed by one with ^{}: the commit
        name = reference.removeprefix("refs/tags/").removesuffix("^{}")
        try:
            found[name] = Tag(name, Version(name.removeprefix(PREFIX)), commit)
        except InvalidVersion:
            continue
    if not found:
        return Unreachable(
            f"{repository} has no tag {PREFIX}VERSION",
            next_step="name upstream's repository, or a clone that has its tags, with --repo",
        )
    return tuple(sorted(found.values(), key=lambda tag: tag.version))


def nearest(tags: Sequence[Tag], release: Version, known: Iterable[Version]) -> tuple[Tag, int]:
    """The release's own tag, else the one with the fewest releases between; and how many.

    ``known`` are releases, tagged or not. A tag of the same major version comes first; of two
    equally near the earlier one.
    """
    versions = {*known, *(tag.version for tag in tags)}

    def between(tag: Tag) -> int:
        low, high = sorted((tag.version, release))
        return sum(low < version < high for version in versions)

    def distance(tag: Tag) -> tuple[bool, bool, int, bool]:
        unlike = tag.version != release
        far = tag.version.major != release.major
        return unlike, far, between(tag), tag.version > release

    best = min(tags, key=distance)
    return best, between(best)


def checkout(tag: Tag, repository: str, root: Path) -> Checkout:
    """Upstream's tests at ``tag``: from the cache below ``root``, or fetched.

    From an address only that commit comes, and of its files only those that are wanted (a
    shallow, partial and sparse clone). Raises CommandFailed with git's reason, NotWritable.
    """
    final = root / tag.commit
    with not_writable_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{tag.commit}.lock"):
            blobs = _kept(final)
            if blobs is None:
                shutil.rmtree(final, ignore_errors=True)
                with replacing(final) as draft:
                    draft.mkdir()
                    blobs = _fetch(tag, repository, draft)
                    (draft / _BLOBS).write_text(json.dumps(blobs), "utf-8")
    return Checkout(tag, final / "files", blobs)


def _kept(final: Path) -> dict[str, str] | None:
    try:
        return mapping_of(json.loads((final / _BLOBS).read_text("utf-8")), str, _BLOBS)
    except (OSError, ValueError, Malformed):
        return None


def _fetch(tag: Tag, repository: str, draft: Path) -> dict[str, str]:
    files = draft / "files"
    files.mkdir()
    home = files / ".git"
    env = {"GIT_DIR": str(home), "GIT_WORK_TREE": str(files)}

    def said(*words: str) -> str:
        return _git(*words, timeout=PATIENCE, cwd=files, env=env)

    said("init", "--quiet", "--template=")
    said("remote", "add", "--", "origin", _source(repository))
    # what is not asked for now comes from there when it is, which is never
    said("config", "remote.origin.promisor", "true")
    said("config", "remote.origin.uploadpack", _upload_pack(repository))
    said("sparse-checkout", "set", "tests")
    said("fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", f"refs/tags/{tag.name}")
    said("checkout", "--quiet", "--detach", tag.commit)
    listing = said("ls-tree", "-r", "-z", tag.commit)
    shutil.rmtree(home)
    # the search for a .env, which may hold keys, goes up from the tests and ends here
    (files / ".env").write_text("", "utf-8")
    rows = (row.partition("\t") for row in listing.split("\0") if row)
    return {path: described.split()[2] for described, _, path in rows}


def _source(repository: str) -> str:
    return str(Path(repository).resolve()) if Path(repository).is_dir() else repository


def _upload_pack(repository: str) -> str:
    # a folder that the user names may be somebody else's, as in a container; no configuration of
    # the user's is read, where git would want to be told so
    return f"git {'-c safe.directory=* ' * Path(repository).is_dir()}upload-pack"


def differing(found: Checkout, wheel: Path, tree: str) -> tuple[int, int]:
    """How many modules of an official wheel are not as in the commit's folder ``tree``; of all.

    A module that only one of the two has differs. Told by git's ids, so nothing is fetched.
    """
    inside = f"{tree}/livekit/"
    theirs = {p.removeprefix(f"{tree}/"): b for p, b in found.blobs.items() if p.startswith(inside)}
    modules = {name for name in theirs if name.endswith(".py")}
    with zipfile.ZipFile(wheel) as archive:
        ours = {n for n in archive.namelist() if n.startswith("livekit/") and n.endswith(".py")}
        same = sum(_blob(archive.read(name)) == theirs[name] for name in ours & modules)
    every = len(ours | modules)
    return every - same, every


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _git(
    *words: str, timeout: float, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """What git says to a command; raises CommandFailed with its reason."""
    try:
        # not in the user's folder, which may be a repository with a configuration of its own
        said = git(
            *words,
            cwd=cwd or Path(Path.cwd().anchor),
            env={**network_variables(), **(env or {})},
            timeout=timeout,
        )
    except GitError as error:
        raise CommandFailed(
            " ".join(error.output.split()) or f"git {words[0]} ended with {error.status}",
            next_step="run git by hand to see what it cannot do",
        ) from error
    return said.decode("utf-8", "surrogateescape").removesuffix("\n")
