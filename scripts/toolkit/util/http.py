"""HTTP with limits: sessions that try again, and bodies that end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from toolkit.util.errors import Unreachable

if TYPE_CHECKING:
    import requests

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


def read_body(answer: requests.Response, limit: int, progress: Progress | None = None) -> bytes:
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


def step_after_failure(error: Exception | None) -> str:
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
