"""HTTP with limits: sessions that try again, bodies that end, and what to do after a failure.

The only module that imports requests, and only once something is asked: that takes 0.1 seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.util.errors import Unreachable

if TYPE_CHECKING:
    from requests import PreparedRequest as PreparedRequest
    from requests import Response as Streamed
    from requests import Session as Session

    Sign = Callable[[PreparedRequest], PreparedRequest]

ATTEMPTS = 4
BACKOFF = 0.5
TIMEOUT = (10.0, 60.0)  # seconds, to connect and between two pieces of an answer
# No body is longer, in bytes, nor takes longer, in seconds, whatever the server says.
LONGEST = 1 << 30
PATIENCE = 900.0
# How long a server may have us wait (Retry-After), in seconds, altogether in one session.
LONGEST_WAIT = 60.0
TRY_AGAIN = "check the network, or name another index with --pypi URL, and run again"

Progress = Callable[[int], None]


def request_errors() -> type[Exception]:
    """Return the class of everything that requests raises, to catch it without importing it."""
    from requests import RequestException

    return RequestException


def status_of(error: Exception | None) -> int | None:
    """Return the HTTP status that an error is about; None if no server answered."""
    code: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return code


def step_after_failure(error: Exception | None) -> str:
    """Return the next step after a request failed: a server may demand a password."""
    if status_of(error) in (401, 403):
        return "check the user and password in the index's address, or in netrc, and run again"
    return TRY_AGAIN


def reason_of(error: Exception) -> str:
    """Say in a few words why no answer came."""
    import requests

    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    reasons = {
        "Name or service": "its name is not known",
        "NameResolution": "its name is not known",
        "refused": "it refuses the connection",
        "RemoteDisconnected": "it hangs up",
        "IncompleteRead": "its answer was cut off",
    }
    text = str(error)
    return next((reasons[sign] for sign in reasons if sign in text), type(error).__name__)


def open_session() -> Session:
    """Return a session that tries again after a reset, a 429 or a 5xx answer.

    It waits as long as the server asks, LONGEST_WAIT seconds altogether, or else with growing
    pauses. If that is not enough, its requests raise RetryError.
    """
    import requests
    from requests.adapters import HTTPAdapter

    from toolkit.util.retries import Patient

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


def basic_auth(user: str, password: str) -> Sign:
    """Return what adds a user and a password to a request."""
    from requests.auth import HTTPBasicAuth

    return HTTPBasicAuth(user, password)


def read_body(
    answer: Streamed, limit: int, progress: Progress | None = None, *, timeout: float | None = None
) -> bytes:
    """Return a streamed answer's body, or its first bytes if there are more than ``limit``.

    It is unpacked piece by piece, so that a packed answer costs no more memory than another.
    Raises Unreachable if it takes longer than ``timeout`` seconds, by default PATIENCE.
    """
    seconds = PATIENCE if timeout is None else timeout
    body, until = bytearray(), time.monotonic() + seconds
    for chunk in answer.iter_content(1 << 16):
        body += chunk
        if progress:
            progress(len(chunk))
        if len(body) > limit:
            break
        if time.monotonic() > until:
            raise Unreachable(
                f"{answer.url} has not sent all after {seconds:g} s", next_step=TRY_AGAIN
            )
    return bytes(body)


def get_body(session: Session, url: str, limit: int, progress: Progress | None = None) -> bytes:
    """Return the body at ``url``, or its first bytes if there are more than ``limit``.

    Raises what :func:`request_errors` gives, also for an answer of status 400 or more.
    """
    with session.get(url, stream=True, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        return read_body(answer, limit, progress)


def download(url: str, size: int, name: str, progress: Progress | None = None) -> bytes:
    """Return the body at ``url``, of ``size`` bytes or more, trying again when it is cut off.

    Raises Unreachable, calling the file ``name``, when no attempt of several is whole.
    """
    import requests

    error: Exception | None = None
    with open_session() as session:
        for attempt in range(ATTEMPTS):
            time.sleep(BACKOFF * (2**attempt - 1))
            try:
                data = get_body(session, url, size, progress)
                if len(data) >= size:
                    return data
                error = EOFError(f"{len(data)} of {size} bytes")
            except requests.RequestException as failure:
                error = failure
                final = requests.HTTPError | requests.exceptions.RetryError
                # requests wraps the error of a server that asks for too long a wait
                if isinstance(error, final) or isinstance(error.__context__, final):
                    break
    raise Unreachable(
        f"{name} did not arrive whole: {error}", next_step=step_after_failure(error)
    ) from error


@dataclass(frozen=True)
class Response:
    """The answer to one request: ``status``, its ``reason``, ``headers`` and the whole body."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


def ask_once(
    url: str,
    headers: Mapping[str, str],
    *,
    sign: Sign,
    limit: int,
    timeout: float,
) -> Response:
    """Send one GET request that is not repeated or redirected, and return its answer.

    ``sign`` may add credentials; none come from .netrc. ``limit`` is in bytes, ``timeout`` in
    seconds for each step, and three times that for the body. Raises Unreachable for a body that
    is cut off, too long or too slow, and otherwise what :func:`request_errors` gives.
    """
    import requests

    try:
        with requests.get(
            url, headers=headers, auth=sign, timeout=timeout, allow_redirects=False, stream=True
        ) as answer:
            body = read_body(answer, limit, timeout=3 * timeout)
    except requests.exceptions.ChunkedEncodingError as error:
        raise Unreachable("its answer was cut off", next_step=TRY_AGAIN) from error
    if len(body) > limit:
        raise Unreachable("its answer is too long", next_step=TRY_AGAIN)
    return Response(answer.status_code, answer.reason or "", answer.headers, body)
