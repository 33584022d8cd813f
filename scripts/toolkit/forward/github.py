"""GitHub's REST API: conditional requests, its rate limits, and a token that only it is sent.

https://docs.github.com/en/rest/using-the-rest-api: best practices, rate limits, and the ETag of an
answer that has not changed. No request is repeated: the next run may try again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from toolkit.util.errors import Unreachable, printable
from toolkit.util.http import Response, ask_once, reason_of, request_errors
from toolkit.util.store import Store
from toolkit.util.strict_json import Malformed, decode, encode, load

if TYPE_CHECKING:
    from toolkit.util.http import PreparedRequest

API, API_VARIABLE = "https://api.github.com", "LIVEKIT_DISPATCHED_GITHUB_API"
# GitHub Actions sets it to the server that the workflow runs on, and the token is for that one.
# Upstream is on GitHub's own, also when that is a company's.
RUNNER_VARIABLE = "GITHUB_API_URL"
TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
TIMEOUT = 5.0  # seconds
_HOPS = 3
_LARGEST = 4 << 20  # bytes
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "Accept": "application/vnd.github+json",
    "User-Agent": "livekit-dispatched",
    "X-GitHub-Api-Version": "2022-11-28",
}


Kept = TypeVar("Kept")


class NoAnswer(Exception):
    """GitHub sent nothing that can be used. ``missing``: it has no such thing."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


@dataclass(frozen=True)
class Answer:
    """A JSON document, and when GitHub last confirmed it."""

    etag: str
    asked: datetime
    document: Any


@dataclass(frozen=True)
class _Limit:
    """Until when GitHub answers no requests. Raises ValueError for a time without a zone."""

    until: datetime

    def __post_init__(self) -> None:
        if self.until.tzinfo is None:
            raise ValueError(f"{self.until} has no time zone")


class GitHub:
    """The API at ``base``, with answers in ``cache``.

    ``base`` is GitHub's own if it is None and LIVEKIT_DISPATCHED_GITHUB_API names no other.
    ``token`` goes to that server only, and only over TLS or to this machine; it is neither printed
    nor stored. None is that in GITHUB_TOKEN or GH_TOKEN, unless GITHUB_API_URL names another
    server; it may be empty. Once the server is unreachable, no further request is sent.
    """

    def __init__(
        self,
        cache: Path,
        *,
        base: str | None = None,
        token: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.base = (base or os.environ.get(API_VARIABLE) or API).rstrip("/")
        self._store = Store(cache)
        self._now = now
        self._down = ""
        self._token = token_for(self.base) if token is None else token

    def get(self, path: str) -> Answer:
        """Return the document at ``path``, which begins with a slash.

        Raises NoAnswer, and NotWritable.
        """
        self._keep_limit()
        if self._down:
            raise NoAnswer(self._down)
        url, cached = f"{self.base}{path}", self.cached(path)
        for _ in range(_HOPS):
            response = self._ask(url, cached.etag if cached else "")
            if response.status not in (301, 302, 307, 308):
                answer = self._read(response, cached)
                self._put(path, answer)
                return answer
            url = self._redirected(url, response.headers.get("Location", ""))
        raise NoAnswer("sent on and on")

    def cached(self, path: str) -> Answer | None:
        """Return the last answer without a request; None if there was none."""
        return self._get(path, Answer)

    def get_or_cached(self, path: str) -> tuple[Answer | None, NoAnswer | None]:
        """Return the answer, or else the last one and why there is no new one."""
        try:
            return self.get(path), None
        except NoAnswer as error:
            return self.cached(path), error

    def _redirected(self, url: str, location: str) -> str:
        """Return where a redirect leads, which must be the same server."""
        target = urljoin(url, location)
        if urlsplit(target)[:2] != urlsplit(self.base)[:2]:
            host = printable(urlsplit(target).hostname or "")
            raise NoAnswer(f"sent on to another server ({host}), which is not asked")
        return target

    def _ask(self, url: str, etag: str) -> Response:
        """Send one request."""
        headers = {**_HEADERS, **({"If-None-Match": etag} if etag else {})}
        try:
            return ask_once(url, headers, sign=self._sign, limit=_LARGEST, timeout=TIMEOUT)
        except Unreachable as error:
            raise NoAnswer(error.problem) from error
        except request_errors() as error:
            self._down = f"unreachable: {reason_of(error)}"
            raise NoAnswer(self._down) from error
        except ValueError as error:
            # requests reads where a redirect leads even if it does not follow
            raise NoAnswer("sent on to no address") from error

    def _sign(self, request: PreparedRequest) -> PreparedRequest:
        server = urlsplit(self.base)
        if self._token and (server.scheme == "https" or server.hostname in _LOOPBACK):
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _read(self, response: Response, cached: Answer | None) -> Answer:
        self._remember_limit(response)
        code = response.status
        if code == 304 and cached:
            return Answer(cached.etag, self._time(), cached.document)
        if code == 200:
            try:
                document = load(response.body, "it")
            except Malformed as error:
                raise NoAnswer(f"its answer is not JSON: {error}") from error
            return Answer(response.headers.get("ETag", ""), self._time(), document)
        if code in (404, 410):
            raise NoAnswer("GitHub has no such thing", missing=True)
        reason = printable(f"it answers {code} {response.reason}".rstrip())
        if code >= 500:
            self._down = f"unreachable: {reason}"
        raise NoAnswer(self._down or reason)

    def _remember_limit(self, response: Response) -> None:
        """Remember a rate limit that was reached, the primary or a secondary one."""
        headers, code = response.headers, response.status
        spent = headers.get("X-RateLimit-Remaining") == "0"
        if code != 429 and not (code == 403 and (spent or "Retry-After" in headers)):
            return
        until = self._time() + timedelta(minutes=1)
        with suppress(ValueError, OverflowError, OSError):
            if "Retry-After" in headers:
                until = self._time() + timedelta(seconds=int(headers["Retry-After"]))
            elif spent:
                until = datetime.fromtimestamp(int(headers.get("X-RateLimit-Reset", "")), UTC)
        # a limit is that of a server, and of whoever asks it
        self._put(self._token, _Limit(until))
        self._keep_limit()

    def _keep_limit(self) -> None:
        """Raise NoAnswer as long as GitHub answers no requests."""
        limit = self._get(self._token, _Limit)
        if limit and self._now() < limit.until:
            hint = "" if self._token else "; a token in GITHUB_TOKEN raises the limit"
            raise NoAnswer(f"rate limited until {limit.until:%Y-%m-%d %H:%M:%S} UTC{hint}")

    def _time(self) -> datetime:
        return self._now().replace(microsecond=0)

    def _get(self, key: str, kind: type[Kept]) -> Kept | None:
        def read(data: bytes) -> Kept:
            return decode(kind, load(data, "it"), "it")

        return self._store.get([kind.__name__, self.base, key], read)

    def _put(self, key: str, value: Answer | _Limit) -> None:
        inputs = [type(value).__name__, self.base, key]
        self._store.put(inputs, json.dumps(encode(value)).encode())


def token_for(base: str) -> str:
    """Return the token in GITHUB_TOKEN or GH_TOKEN, if it is one for the API at ``base``."""
    if (os.environ.get(RUNNER_VARIABLE) or base).rstrip("/") != base:
        return ""
    return next((os.environ[name] for name in TOKENS if os.environ.get(name)), "")
