"""Answers over HTTP end where their limits are, and failures name their cause and the next step."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace

import pytest
import requests
from simple_index import listening

from toolkit.util import http
from toolkit.util.errors import Unreachable

MANY = 1 << 20


class Handler(BaseHTTPRequestHandler):
    """Sends a status that the path names; with /0 the answer never ends, with /1 it is cut off."""

    def do_GET(self) -> None:
        status = int(self.path[1:])
        self.send_response(status if status > 1 else 200)
        if status == 1:
            self.send_header("Content-Length", "9")
        self.end_headers()
        try:
            while status == 0:
                self.wfile.write(b"x" * 9999)
        except OSError:  # the client has had enough
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with listening(Handler) as address:
        yield address


def test_a_body_without_an_end_is_cut(url: str) -> None:
    arrived: list[int] = []
    with http.open_session() as session:
        body = http.get_body(session, f"{url}/0", MANY, arrived.append)
    assert MANY < len(body) == sum(arrived) < 2 * MANY


def ask(url: str, *, limit: int = MANY, timeout: float = 60.0) -> http.Response:
    return http.ask_once(url, {}, sign=lambda r: r, limit=limit, timeout=timeout)


def test_one_request_has_limits(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (ask(f"{url}/404").status, ask(f"{url}/404").reason) == (404, "Not Found")
    with pytest.raises(Unreachable, match="its answer is too long"):
        ask(f"{url}/0")
    with pytest.raises(Unreachable, match="its answer was cut off"):
        ask(f"{url}/1")
    # an hour a look
    times = iter(range(0, 10**9, 3600))
    monkeypatch.setattr(http, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with pytest.raises(Unreachable, match="has not sent all after 180 s"):
        ask(f"{url}/0")


@pytest.mark.parametrize(
    ("status", "step"), [(401, "check the user"), (403, "check the user"), (404, "check the net")]
)
def test_the_next_step_after_a_failure(status: int, step: str, url: str) -> None:
    with http.open_session() as session, pytest.raises(http.request_errors()) as caught:
        http.get_body(session, f"{url}/{status}", MANY)
    assert http.status_of(caught.value) == status
    assert http.step_after_failure(caught.value).startswith(step)
    assert http.step_after_failure(None) == http.TRY_AGAIN


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (requests.ConnectionError("[Errno 111] Connection refused"), "it refuses the connection"),
        (requests.ConnectionError("NameResolutionError(...)"), "its name is not known"),
        (requests.ConnectionError("Name or service not known"), "its name is not known"),
        (requests.ConnectionError("RemoteDisconnected(...)"), "it hangs up"),
        (requests.ConnectionError("IncompleteRead(...)"), "its answer was cut off"),
        (requests.ReadTimeout("Connection refused"), "it does not answer in time"),
        (requests.exceptions.InvalidSchema("x"), "InvalidSchema"),
    ],
)
def test_why_no_answer_came(error: Exception, reason: str) -> None:
    assert http.reason_of(error) == reason
