"""GitHub's REST API, asked gently: conditional requests, its limits kept, a token that stays there.

https://docs.github.com/en/rest/using-the-rest-api: best practices, rate limits, and the ETag of an
answer that has not changed. Nothing is tried twice: whoever asks daily may ask again tomorrow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from toolkit.util.errors import Unreachable, printable
from toolkit.util.files import not_writable_errors, sha256, write_whole
from toolkit.util.http import Response, ask_once, reason_of, request_errors
from toolkit.util.strict_json import Malformed, load, members, value_of

if TYPE_CHECKING:
    from toolkit.util.http import PreparedRequest

API, API_VARIABLE = "https://api.github.com", "LIVEKIT_DISPATCHED_GITHUB_API"
# GitHub Actions sets it to the server that the workflow runs on, and the token is for that one.
# Upstream is on GitHub's own, also when that is a company's.
RUNNER_VARIABLE = "GITHUB_API_URL"
TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
TIMEOUT = 5.0
_HOPS = 3
_LARGEST = 4 << 20  # bytes
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "Accept": "application/vnd.github+json",
    "User-Agent": "livekit-dispatched",
    "X-GitHub-Api-Version": "2022-11-28",
}


class NoAnswer(Exception):
    """GitHub said nothing that can be used. ``missing``: it said that there is no such thing."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


@dataclass(frozen=True)
class Answer:
    """A JSON document, and when GitHub last said that it is so."""

    url: str
    etag: str
    asked: str
    document: Any


class GitHub:
    """The API at ``base``, with answers in ``cache``.

    ``base`` is GitHub's own if it is None and LIVEKIT_DISPATCHED_GITHUB_API names no other.
    ``token`` (None: GITHUB_TOKEN or GH_TOKEN, if they are for ``base``: GITHUB_API_URL names no
    other; may be empty) goes to that server only, and only over TLS or to this machine; it is
    neither printed nor stored. ``timeout`` in seconds is for
    each step of a request. Once the server is out of reach, it is not asked again.
    """

    def __init__(
        self,
        cache: Path,
        *,
        base: str | None = None,
        token: str | None = None,
        timeout: float = TIMEOUT,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.base = (base or os.environ.get(API_VARIABLE) or API).rstrip("/")
        self._cache = cache
        self._timeout = timeout
        self._now = now
        self._down = ""
        self._token = token_for(self.base) if token is None else token
        # a limit is that of a server, and of whoever asks it
        asker = sha256(f"{self.base}\n{self._token}".encode())
        self._limit = cache / f"limit-{asker}.json"

    def get(self, path: str) -> Answer:
        """The document at ``path``, which begins with a slash. Raises NoAnswer, and NotWritable."""
        self._keep_limit()
        if self._down:
            raise NoAnswer(self._down)
        url, kept = f"{self.base}{path}", self.remembered(path)
        for _ in range(_HOPS):
            answer = self._ask(url, kept.etag if kept else "")
            if answer.status not in (301, 302, 307, 308):
                return self._read(answer, path, url, kept)
            url = self._next(url, answer.headers.get("Location", ""))
        raise NoAnswer("sent on and on")

    def remembered(self, path: str) -> Answer | None:
        """What GitHub last said, without asking it; None if it never did."""
        with suppress(OSError, ValueError):
            kinds = {"url": str, "etag": str, "asked": str, "document": object}
            raw = members(load(self._place(path).read_bytes(), "it"), "answer", kinds, {})
            datetime.fromisoformat(raw["asked"])
            return Answer(**raw)
        return None

    def _next(self, url: str, location: str) -> str:
        """Where a redirect leads, which must be the same server."""
        there = urljoin(url, location)
        if urlsplit(there)[:2] != urlsplit(self.base)[:2]:
            where = printable(urlsplit(there).hostname or "")
            raise NoAnswer(f"sent on to another server ({where}), which is not asked")
        return there

    def _place(self, path: str) -> Path:
        return self._cache / f"{sha256(f'{self.base}{path}'.encode())}.json"

    def _ask(self, url: str, etag: str) -> Response:
        """Return the answer to one request."""
        headers = {**_HEADERS, **({"If-None-Match": etag} if etag else {})}
        try:
            return ask_once(url, headers, sign=self._sign, limit=_LARGEST, timeout=self._timeout)
        except Unreachable as error:
            raise NoAnswer(error.problem) from error
        except request_errors() as error:
            self._down = f"unreachable: {reason_of(error)}"
            raise NoAnswer(self._down) from error
        except ValueError as error:
            # requests reads where a redirect leads even if it does not follow
            raise NoAnswer("sent on to no address") from error

    def _sign(self, request: PreparedRequest) -> PreparedRequest:
        place = urlsplit(self.base)
        if self._token and (place.scheme == "https" or place.hostname in _LOOPBACK):
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _read(self, answer: Response, path: str, url: str, kept: Answer | None) -> Answer:
        self._heed(answer)
        code = answer.status
        if code == 304 and kept:
            document, etag = kept.document, kept.etag
        elif code == 200:
            try:
                document, etag = load(answer.body, "it"), answer.headers.get("ETag", "")
            except Malformed as error:
                raise NoAnswer(f"its answer is not JSON: {error}") from error
        elif code in (404, 410):
            raise NoAnswer("GitHub has no such thing", missing=True)
        elif code >= 500:
            self._down = printable(f"unreachable: it answers {code} {answer.reason}".rstrip())
            raise NoAnswer(self._down)
        else:
            raise NoAnswer(printable(f"it answers {code} {answer.reason}".rstrip()))
        found = Answer(url, etag, self._now().isoformat(timespec="seconds"), document)
        self._write(self._place(path), asdict(found))
        return found

    def _heed(self, answer: Response) -> None:
        """Remember a rate limit that was reached, the primary or a secondary one."""
        headers = answer.headers
        spent = headers.get("X-RateLimit-Remaining") == "0"
        if answer.status not in (403, 429) or not (
            spent or "Retry-After" in headers or answer.status == 429
        ):
            return
        until = self._now() + timedelta(minutes=1)
        with suppress(ValueError, OverflowError, OSError):
            if "Retry-After" in headers:
                until = self._now() + timedelta(seconds=int(headers["Retry-After"]))
            elif spent:
                until = datetime.fromtimestamp(int(headers.get("X-RateLimit-Reset", "")), UTC)
        self._write(self._limit, {"until": until.isoformat(timespec="seconds")})
        self._keep_limit()

    def _keep_limit(self) -> None:
        """Raise NoAnswer as long as GitHub wants not to be asked."""
        with suppress(OSError, Malformed, ValueError, KeyError, TypeError):
            raw = load(self._limit.read_bytes(), "it")
            until = datetime.fromisoformat(value_of(raw["until"], str, "until"))
            if self._now() < until:
                help_ = "" if self._token else "; a token in GITHUB_TOKEN raises the limit"
                raise NoAnswer(f"rate limited until {until:%Y-%m-%d %H:%M:%S} UTC{help_}")

    def _write(self, path: Path, document: object) -> None:
        with not_writable_errors(self._cache):
            write_whole(path, json.dumps(document).encode())


def token_for(base: str) -> str:
    """The token in GITHUB_TOKEN or GH_TOKEN, if it is one for the API at ``base``."""
    if (os.environ.get(RUNNER_VARIABLE) or base).rstrip("/") != base:
        return ""
    return next((os.environ[name] for name in TOKENS if os.environ.get(name)), "")
