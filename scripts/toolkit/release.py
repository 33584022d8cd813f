"""A release and its official wheels, in a cache by content."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from .addresses import public
from .errors import HashMismatch, UnknownRelease, Unreachable, YankedRelease
from .files import sha256_of, writing
from .strict import load, members, value_of
from .workspace import Workspace, replacing

if TYPE_CHECKING:
    import requests

MAIN, PARTNER = "livekit-agents", "livekit-plugins-openai"
ATTEMPTS = 4
BACKOFF = 0.5
TIMEOUT = (10.0, 60.0)
# No answer is longer, in bytes, nor takes longer, in seconds, whatever the server says.
LONGEST = 1 << 30
PATIENCE = 900.0
# How long a server may have us wait (Retry-After), in seconds, altogether in one session.
LONGEST_WAIT = 60.0
TRY_AGAIN = "check the network, or name another index with --pypi URL, and run again"

Progress = Callable[[int], None]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+!-]{0,250}\.whl")


@dataclass(frozen=True)
class Artefact:
    """One wheel on PyPI. ``sha256`` in hex, ``size`` in bytes, ``yanked`` the reason or None.

    ``url`` is empty where it is not known; :meth:`.pypi.PyPI.located` asks for it. Name and hash
    make a path in the cache: ValueError for what is no plain name, digest, size or time.
    """

    distribution: str
    version: str
    filename: str
    url: str
    sha256: str
    size: int
    upload_time: datetime
    requires_python: str | None
    yanked: str | None

    def __post_init__(self) -> None:
        named = _FILENAME.fullmatch(self.filename) and _SHA256.fullmatch(self.sha256)
        if not named or not 0 < self.size <= LONGEST or self.upload_time.tzinfo is None:
            raise ValueError(
                f"{self.filename!r} is announced with sha256 {self.sha256!r}, "
                f"{self.size} bytes, uploaded {self.upload_time.isoformat()}"
            )


@dataclass(frozen=True)
class Release:
    """An agents release: its official wheels, and those of the plugin that goes with it."""

    version: Version
    artefacts: tuple[Artefact, ...]

    @property
    def uploaded(self) -> datetime:
        """When the newest of the wheels was uploaded: the day to resolve dependencies as of."""
        return max(artefact.upload_time for artefact in self.artefacts)

    def of(self, distribution: str) -> tuple[Artefact, ...]:
        """The wheels of one of the two distributions."""
        return tuple(a for a in self.artefacts if a.distribution == distribution)

    def refuse_yanked(self) -> None:
        """Raise YankedRelease, with upstream's reason, if the release itself was yanked."""
        for artefact in self.of(MAIN):
            if artefact.yanked is not None:
                raise YankedRelease(
                    f"{MAIN} {self.version} was yanked: {artefact.yanked or 'no reason given'}",
                    next_step="choose another release, or insist with --yanked",
                )

    def to_json(self) -> str:
        """The release as a JSON document without passwords; :meth:`from_json` reads it."""
        rows = [
            {**asdict(a), "upload_time": a.upload_time.isoformat(), "url": public(a.url)}
            for a in self.artefacts
        ]
        return json.dumps({"format": 1, "version": str(self.version), "artefacts": rows}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Release:
        """Read what :meth:`to_json` wrote; raise ValueError for anything else."""
        outer = {"format": int, "version": str, "artefacts": list}
        raw = members(load(text, "release"), "release", outer, {})
        loose = dict.fromkeys(("requires_python", "yanked"), object)
        keys = dict.fromkeys(Artefact.__dataclass_fields__, str) | {"size": int} | loose
        artefacts = []
        for row in raw["artefacts"]:
            fields = members(row, "artefact", keys, {})
            for name in loose:
                value_of(fields[name] or "", str, name)
            when = datetime.fromisoformat(fields.pop("upload_time"))
            artefacts.append(Artefact(**fields, upload_time=when))
        return cls(Version(raw["version"]), tuple(artefacts))


def remembered(version: Version | str, workspace: Workspace) -> Release:
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
    if is_kept(artefact, workspace):
        return target
    with writing(workspace.artefacts), replacing(target) as draft:
        draft.write_bytes(_download(artefact, progress))
    return target


def fetch_all(
    release: Release, workspace: Workspace, progress: Progress | None = None
) -> tuple[Path, ...]:
    """Every official wheel of a release, in its order, downloaded side by side."""
    if all(is_kept(artefact, workspace) for artefact in release.artefacts):
        return tuple(_place(artefact, workspace) for artefact in release.artefacts)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=4) as pool:
        return tuple(pool.map(lambda a: fetch(a, workspace, progress), release.artefacts))


def _place(artefact: Artefact, workspace: Workspace) -> Path:
    sha = artefact.sha256
    return workspace.artefacts / sha[:2] / sha / artefact.filename


def is_kept(artefact: Artefact, workspace: Workspace) -> bool:
    """Whether the cache holds the official wheel, whole."""
    path = _place(artefact, workspace)
    return path.is_file() and sha256_of(path) == artefact.sha256


def _download(artefact: Artefact, progress: Progress | None) -> bytes:
    import requests

    error: Exception | None = None
    with open_session() as session:
        for attempt in range(ATTEMPTS):
            time.sleep(BACKOFF * (2**attempt - 1))
            try:
                data = _body(session, artefact, progress)
            except (requests.HTTPError, requests.exceptions.RetryError) as refused:
                error = refused
                break
            except requests.RequestException as failed:
                error = failed
                continue
            if len(data) >= artefact.size:
                return _checked(data, artefact)
            error = EOFError(f"{len(data)} of {artefact.size} bytes")
    raise Unreachable(
        f"{artefact.filename} did not arrive whole: {error}", next_step=next_try(error)
    ) from error


def _body(session: requests.Session, artefact: Artefact, progress: Progress | None) -> bytes:
    with session.get(artefact.url, stream=True, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        return body_of(answer, artefact.size, progress)


def body_of(answer: requests.Response, limit: int, progress: Progress | None = None) -> bytes:
    """A streamed answer's body, or its first bytes if there are more than ``limit``.

    It is unpacked piece by piece, so that a packed answer costs no more memory than another.
    Raises Unreachable if it takes longer than PATIENCE.
    """
    body = bytearray()
    until = time.monotonic() + PATIENCE
    for chunk in answer.iter_content(1 << 16):
        body += chunk
        if progress:
            progress(len(chunk))
        if len(body) > limit:
            break
        if time.monotonic() > until:
            raise Unreachable(
                f"{answer.url} has not sent all after {PATIENCE:g} s", next_step=TRY_AGAIN
            )
    return bytes(body)


def _checked(data: bytes, artefact: Artefact) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if len(data) != artefact.size or found != artefact.sha256:
        raise HashMismatch(
            f"{artefact.filename} is not what its index announced: {len(data)} bytes or more "
            f"with sha256 {found}, not {artefact.size} with {artefact.sha256}",
            next_step="do not use this index; compare with PyPI's own page",
        )
    return data


def next_try(error: Exception | None) -> str:
    """What to do after a request failed: a server may want to know who asks."""
    answer = getattr(error, "response", None)
    if answer is not None and answer.status_code in (401, 403):
        return "check the user and password in the index's address, or in netrc, and run again"
    return TRY_AGAIN


def open_session() -> requests.Session:
    """A session that tries again after a reset, a 429 or a 5xx answer.

    It waits as long as the server asks, LONGEST_WAIT seconds altogether, or else with growing
    pauses. If that is not enough, its requests raise RetryError.
    """
    import requests
    from requests.adapters import HTTPAdapter

    from .patience import Patient

    session = requests.Session()
    session.max_redirects = 5
    retry = Patient(
        total=ATTEMPTS - 1,
        backoff_factor=BACKOFF,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods={"GET"},
    ).at_most(LONGEST_WAIT)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session
