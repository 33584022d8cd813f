"""Servers that lie, pages that explode, and texts of others that steer a terminal."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from limits import little_memory
from simple_index import Index, listening, serving
from upstream_index import Upstream, artefact
from wheels import AGENTS, PLUGIN

from toolkit.pipeline.results import Result, show
from toolkit.releases import pypi
from toolkit.releases.download import fetch_wheel
from toolkit.releases.project_page import artefacts_of, wheels_on
from toolkit.releases.pypi import PyPI
from toolkit.releases.release import Artefact
from toolkit.util import http
from toolkit.util.errors import HashMismatch, InvalidWheel, Unreachable, printable
from toolkit.util.workspace import Workspace

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
NAME = "livekit_agents-1.8.9-py3-none-any.whl"
Answer = Callable[[BaseHTTPRequestHandler], None]


def problem(url: str, workspace: Workspace) -> str:
    """Why a release cannot be found; nothing is written."""
    before = sorted(workspace.root.parent.rglob("*"))
    with PyPI(url, workspace=workspace) as client, pytest.raises(Unreachable) as caught:
        client.find("1.8.9")
    assert sorted(workspace.root.parent.rglob("*")) == before
    return caught.value.problem


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """A server on loopback with one answer to every request; its simple index's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.close_connection = True
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler) as url:
        yield f"{url}/simple/"


def headed(handler: BaseHTTPRequestHandler, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content_Type": JSON_TYPE, **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def endless(handler: BaseHTTPRequestHandler) -> None:
    headed(handler)
    with suppress(OSError):
        while True:
            handler.wfile.write(b"[" * 65536)


def bomb(handler: BaseHTTPRequestHandler) -> None:
    headed(handler, Content_Encoding="gzip")
    packer, piece = zlib.compressobj(1, wbits=31), bytes(1 << 20)
    with suppress(OSError):
        for _ in range(256):
            handler.wfile.write(packer.compress(piece))
        handler.wfile.write(packer.flush())


def html(handler: BaseHTTPRequestHandler) -> None:
    headed(handler, Content_Type="text/html")
    handler.wfile.write(f"<a href=x>{NAME}</a>".encode())


@pytest.fixture
def official(upstream: Upstream) -> Artefact:
    """A wheel on the index, once all is imported, which needs more memory than an answer may."""
    upstream.upload("1.8.9")
    with PyPI(workspace=upstream.workspace) as client:
        return client.find("1.8.9").artefacts[0]


@pytest.mark.usefixtures("official")
@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (endless, "the page is longer than 1048576 bytes"),
        (bomb, "the page is longer than 1048576 bytes"),
        (html, "answers with 'text/html', not application/vnd"),
    ],
)
def test_what_is_no_page(
    answer: Answer, sentence: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pypi, "MAX_PAGE", 1 << 20)
    with answering(answer) as url, little_memory(40 << 20):
        assert sentence in problem(url, workspace)


@pytest.mark.parametrize("answer", [endless, bomb])
def test_wheel_without_an_end(answer: Answer, official: Artefact, workspace: Workspace) -> None:
    with answering(answer) as url, little_memory(40 << 20), pytest.raises(HashMismatch):
        fetch_wheel(replace(official, url=url), workspace)
    assert not [path for path in workspace.artefacts.rglob("*") if path.is_file()]


def test_answer_that_takes_too_long(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PATIENCE", -1.0)
    with answering(endless) as url:
        assert "has not sent all" in problem(url, workspace)


@pytest.mark.parametrize(
    "target", ["/simple/", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1", "\\x"]
)
def test_redirects_that_lead_nowhere(target: str, workspace: Workspace) -> None:
    asked: list[str] = []

    def moved(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        headed(handler, 302, Location=target)

    with answering(moved) as url:
        assert "no usable answer" in problem(url, workspace)
    assert len(asked) <= 6


@pytest.fixture
def page(upstream: Upstream) -> str:
    upstream.upload("1.8.9", names=[AGENTS])
    return upstream.index.page(AGENTS).decode()


def read(page: str) -> list[Artefact]:
    return artefacts_of(AGENTS, wheels_on(AGENTS, page.encode(), "http://127.0.0.1/simple/"))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"api-version": "1.1"', '"api-version": "2.0"', "API's version"),
        ('"api-version": "1.1"', '"api-version": "1.1\\u001b[31m"', r"1.1\x1b[31m"),
        ('"api-version": "1.1"', '"api-version": 1', "API's version"),
        ('"name": "livekit-agents"', '"name": "other"', "the page is of 'other'"),
        ('"versions": []', '"versions": [], "name": "x"', "'name' stands twice"),
        ('"versions": []', '"versions": NaN', "NaN is no number"),
        ('"size": ', '"size": 1e999, "x": ', "1e999 is no number"),
        ('"size": ', f'"size": {"9" * 5000}, "x": ', "no sound JSON"),
        ('"size": ', '"size": 2000000000, "x": ', "is announced with"),
        ('"size": ', '"size": -1, "x": ', "is announced with"),
        ('"versions": []', f'"versions": {"[" * 99_999}', "nested too deeply"),
        ('"sha256": "', '"sha256": "../../../../tmp/', "is announced with"),
        ('"sha256": "', '"sha256": "00", "md5": "', "is announced with"),
        ("T12:00:00Z", "T12:00:00", "is announced with"),
        ("2026-01-01T12:00:00Z", "0001-01-01T00:00:00+14:00", "end of time"),
        ("livekit_agents-1.8.9-py3", "livekit_other-1.8.9-py3", "a file of livekit-other"),
        ("-none-any.whl", "-none-\\u001b[31many.whl", r"none-\x1b[31many.whl"),
        ('"requires-python": ">=3.10"', '"requires-python": "\\ud800"', "no sound JSON"),
    ],
)
def test_pages_that_lie(old: str, new: str, sentence: str, page: str) -> None:
    assert old in page
    with pytest.raises(ValueError, match=re.escape(sentence)):
        read(page.replace(old, new, 1))


def test_page_with_two_files_of_one_name(page: str) -> None:
    document = json.loads(page)
    document["files"].append({**document["files"][0], "hashes": {"sha256": "0" * 64}})
    with pytest.raises(ValueError, match="two files of the name"):
        read(json.dumps(document))


def test_page_of_a_later_api_is_read(page: str) -> None:
    assert [a.filename for a in read(page.replace('"1.1"', '"1.999"'))] == [NAME]


def test_partner_that_requires_nonsense(upstream: Upstream) -> None:
    upstream.upload("1.8.9", names=[AGENTS])
    upstream.upload("1.8.8", names=[PLUGIN], requires=["livekit-agents >>= !"])
    with (
        PyPI(workspace=upstream.workspace) as client,
        pytest.raises(InvalidWheel, match="requires what cannot be read"),
    ):
        client.find("1.8.9")


def test_writers_of_different_bytes(upstream: Upstream, official: Artefact) -> None:
    """Two servers, of which one lies: its bytes are never seen in the cache, nor stop the other."""
    workspace, index = upstream.workspace, upstream.index
    honest = index.files[NAME]
    with serving(Index(files={NAME: honest[::-1]})) as liar:
        other = replace(official, url=official.url.replace(index.url[:-7], liar.url[:-7]))

        def attempt(number: int) -> str:
            try:
                path = fetch_wheel(other if number % 2 else official, workspace)
            except HashMismatch:
                return "refused"
            return "honest" if path.read_bytes() == honest else "hostile"

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(attempt, range(24)))
    # once the honest bytes are there, the liar is not asked
    assert set(results) <= {"honest", "refused"}
    assert results.count("honest") >= 12
    (kept,) = (path for path in workspace.artefacts.rglob("*") if path.is_file())
    assert kept.read_bytes() == honest


@pytest.mark.parametrize(
    "changes",
    [
        *({"sha256": "../../x"}, {"sha256": "A" * 64}, {"filename": "../x.whl"}),
        *({"filename": "x\n.whl"}, {"size": 0}, {"size": 1 << 40}),
    ],
)
def test_artefact_that_leads_out_of_the_cache(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is announced with"):
        artefact(AGENTS, "1.8.9", **changes)


@pytest.mark.usefixtures("official")
def test_reason_that_steers_the_terminal(upstream: Upstream) -> None:
    reason = "\x1b]0;owned\x07\x1b[2Jall\r\nis \u202ewell <script>🙂" + "x" * 5000
    upstream.index.yanked[NAME] = reason
    ran = upstream.run("fetch", "1.8.9", code=11)
    assert r"was yanked: \x1b]0;owned\x07\x1b[2Jall is \u202ewell <script>🙂xx" in ran.err
    assert all(c.isprintable() or c == "\n" for c in ran.out + ran.err)
    assert len(ran.err) < 2000


def test_note_that_is_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show([Result("1.8.9", left_out="it [/broke] [bold]so[/bold] \x1b[2J")])
    assert r"it [/broke] [bold]so[/bold] \x1b[2J" in capsys.readouterr().out


def test_printable() -> None:
    assert printable("plain\n\tté 🙂") == "plain\n\tté 🙂"
    assert printable("\x1b[31m\r\x85\u2028\ud800\0") == r"\x1b[31m\r\x85\u2028\ud800\x00"
