"""A password for an index: used where it belongs, and in no file, message or other server."""

from __future__ import annotations

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from series import engine_patch, write_series
from simple_index import Index, listening, serving
from upstream_index import Upstream
from verbs import Ran
from wheels import AGENTS, PLUGIN

from toolkit.releases.download import cached_release
from toolkit.releases.pypi import ENDPOINT_VARIABLE
from toolkit.util import process
from toolkit.util.errors import CommandFailed, masked
from toolkit.util.workspace import REPOSITORY

SECRET = "s3cr3tTok"  # noqa: S105
USER = f"ci-bot:{SECRET}"
USERS = {
    USER: USER,
    quote(f"ci@bot:p/{SECRET}#", safe=":"): f"ci@bot:p/{SECRET}#",
    SECRET: f"{SECRET}:",
}


@pytest.fixture
def upstream(upstream: Upstream) -> Upstream:
    """Two releases, and a series that fits them."""
    for version in ("1.8.8", "1.8.9"):
        upstream.upload(version)
    write_series(upstream.workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    return upstream


def with_user(url: str, user: str = USER) -> str:
    return url.replace("://", f"://{user}@")


def absolute(url: str) -> Any:
    """Let a page link to the files on the server of ``url``, whatever the page's own is."""
    base = url.removesuffix("simple/")
    return lambda page: [f.update(url=f"{base}files/{f['filename']}") for f in page["files"]]


def assert_not_repeated(upstream: Upstream, *results: Ran) -> None:
    for result in results:
        assert SECRET not in result.out + result.err
        assert "Traceback" not in result.err
    files = (path for path in upstream.folder.rglob("*") if path.is_file())
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("links", ["relative", "absolute"])
def test_used_and_not_kept(
    upstream: Upstream, user: str, links: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, workspace = upstream.index, upstream.workspace
    index.credentials = USERS[user]
    monkeypatch.setenv(ENDPOINT_VARIABLE, with_user(index.url, user))
    if links == "absolute":
        index.edit = absolute(index.url)
    results = [upstream.run("fetch"), upstream.run("update")]
    results.append(upstream.run("repack", "1.8.8", "--out", workspace.root / "out"))
    assert_not_repeated(upstream, *results)
    address = cached_release("1.8.9", workspace).artefacts[0].url
    assert address.startswith("http://127.0.0.1:")


def test_not_sent_to_a_server_of_files(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    index = upstream.index
    with serving(Index(files=index.files)) as other:
        index.edit, index.credentials = absolute(other.url), USER
        monkeypatch.setenv(ENDPOINT_VARIABLE, with_user(index.url))
        upstream.run("fetch", "1.8.9")
        assert other.given == ["", ""]


def test_not_sent_to_where_an_index_sends_on(upstream: Upstream) -> None:
    """The relative links on a page of another server are that server's own."""
    index = upstream.index
    with serving(Index(files=index.files, uploads=index.uploads)) as other:

        class Moved(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.given.append(self.headers.get("Authorization", ""))
                self.send_response(302)
                self.send_header("Location", other.url + self.path.removeprefix("/simple/"))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with listening(Moved) as moved:
            upstream.run("fetch", "1.8.9", "--pypi", with_user(f"{moved}/simple/"))
        assert all(index.given)
        assert other.given == [""] * 4


@pytest.mark.parametrize("fault", [500, 403, 401, 429, b"<html>", "cut"])
@pytest.mark.parametrize("fault_in", ["page", "file", "nobody"])
def test_in_no_error(upstream: Upstream, fault: int | str | bytes, fault_in: str) -> None:
    index = upstream.index
    upstream.run("update")
    before = upstream.workspace.catalogue.read_bytes()
    url = with_user(index.url)
    if fault_in == "nobody":
        url = f"http://{USER}@127.0.0.1:9/simple/?token={SECRET}"
    elif fault_in == "page":
        index.faults = dict.fromkeys((AGENTS, PLUGIN), fault)
    else:
        index.faults = dict.fromkeys(index.files, fault)
        index.edit = lambda page: [
            f.update(url=f"{f['url']}?X-Amz-Signature={SECRET}") for f in page["files"]
        ]
    out = ("--index", upstream.folder / "index")
    for args in (
        ("update",),
        ("fetch", "1.8.9"),
        ("fetch", "1.8.9", "1.8.8", "--json"),
        ("release", *out),
        ("release", "1.8.9", "1.8.8", *out, "--json"),
        ("audit", url),
    ):
        patches = ("--patches", upstream.workspace.patches)
        result = upstream.run_verb(*args, "--pypi", url, *patches)
        assert result.code or (args[0] == "update" and fault_in == "file")
        assert_not_repeated(upstream, result)
    assert upstream.workspace.catalogue.read_bytes() == before


@pytest.mark.parametrize(
    "address",
    [
        f"{USER}@127.0.0.1/simple/",
        f"ftp://{USER}@127.0.0.1/",
        f"http://{USER}/x@127.0.0.1/simple/",
        f"http://ci-bot:12/{SECRET}@127.0.0.1:9/simple/",
        f"http://{USER}@[::1/simple/",
        f"http://{USER}@127.0.0.1:99999/",
        f"http://ci-bot:a@{SECRET}@127.0.0.1:9/simple/",
    ],
)
def test_in_no_error_of_an_invalid_address(upstream: Upstream, address: str) -> None:
    refused = upstream.run("update", "--pypi", address, code=12)
    misused = upstream.run("update", f"http://{USER}@127.0.0.1/", code=2)
    assert_not_repeated(upstream, refused, misused)


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_in_no_error_of_uv(official: list[Path], tmp_path: Path, variable: str) -> None:
    """uv is told by a variable, and says in its own args what it could not reach."""
    script = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC\n"
        "from toolkit.environments.environment import Environments\n"
        "from toolkit.cli import verb\n"
        "sys.exit(verb(lambda: Environments(Path(sys.argv[1])).prepare("
        "[Path(p) for p in sys.argv[2:]], uploaded=datetime.now(UTC)) and None)())"
    )
    env = {
        **os.environ,
        variable: f"http://{SECRET}:{SECRET}@127.0.0.1:9/simple/?token={SECRET}",
        "UV_HTTP_RETRIES": "0",
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "LIVEKIT_DISPATCHED_VERBOSE": "1",
        "PYTHONPATH": str(REPOSITORY / "scripts"),
    }
    command = [sys.executable, "-c", script, str(tmp_path / "envs"), *map(str, official)]
    result = subprocess.run(command, env=env, capture_output=True, text=True)
    assert result.returncode in (12, 17), result.stderr
    assert "+ " in result.stderr
    assert SECRET not in result.stdout + result.stderr


def test_in_no_echo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(process, "verbose", True)
    url = f"http://{USER}@127.0.0.1:9/x?token={SECRET}"
    process.run([sys.executable, "-c", "", url])
    with pytest.raises(CommandFailed) as caught:
        process.run([sys.executable, "-c", "import sys; sys.exit(sys.argv[1])", url])
    process.run_together([process.Job([sys.executable, "-c", "", url])], timeout=60)
    assert capsys.readouterr().err.count("http://***@127.0.0.1:9/x?token=***") == 3
    assert SECRET not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("for url: https://a:b@h/x?k=v", "for url: https://***@h/x?k=***"),
        ("'http://tok@h' and \"ssh://u:p%40@h:1/\"", "'http://***@h' and \"ssh://***@h:1/\""),
        ("http://a:b/c@h/", "http://***@h/"),
        ("File name too long: 'https:/a:b@h/simple'", "File name too long: 'https:/***@h/simple'"),
        ("a@b: https://h/x has no tag livekit-agents@1.8.9", None),
        ("https://h/tree/livekit-agents@1.8.9/x#L1", None),
    ],
)
def test_masked(text: str, left: str | None) -> None:
    assert masked(text) == (text if left is None else left)
