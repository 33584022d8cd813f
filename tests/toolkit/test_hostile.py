"""Servers that lie, JSON that explodes, texts that steer a terminal, and a user's own git."""

from __future__ import annotations

import json
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from making import (
    AGENTS,
    ENGINE_PATH,
    PLUGIN,
    Index,
    engine_patch,
    listening,
    make_wheel,
    serving,
    source,
    write_series,
)
from packaging.version import Version

import fetch as fetch_verb
from toolkit.patches.series import Series
from toolkit.patches.tree import make_tree
from toolkit.pipeline.results import Result, show
from toolkit.releases import pypi
from toolkit.releases.download import fetch
from toolkit.releases.pypi import PyPI
from toolkit.releases.release import Artefact, Release
from toolkit.util import http
from toolkit.util.errors import HashMismatch, InvalidWheel, ToolkitError, Unreachable, printable
from toolkit.util.strict_json import Malformed, load
from toolkit.util.workspace import Workspace

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def pair(index: Index, tmp_path: Path) -> Index:
    for name in (AGENTS, PLUGIN):
        index.add(make_wheel(tmp_path / "offered", name, "1.8.9"))
    return index


def found(url: str, workspace: Workspace, version: str = "1.8.9") -> Release:
    with PyPI(url, workspace=workspace) as client:
        return client.find(version, yanked=True)


def refused(url: str, workspace: Workspace, kind: type[ToolkitError] = Unreachable) -> str:
    before = sorted(workspace.root.parent.rglob("*"))
    with pytest.raises(kind) as caught:
        found(url, workspace)
    assert sorted(workspace.root.parent.rglob("*")) == before
    return caught.value.problem


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """A server on loopback that gives one answer to every question; its simple index's URL."""

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


@contextmanager
def little_memory(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("answer", [endless, bomb])
def test_page_without_an_end(
    answer: Answer, pair: Index, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(pair.url, workspace)  # imports need more memory than an answer may
    monkeypatch.setattr(pypi, "MAX_PAGE", 1 << 20)
    with answering(answer) as url, little_memory(40 << 20):
        assert "the page is longer than 1048576 bytes" in refused(url, workspace)


@pytest.mark.parametrize("answer", [endless, bomb])
def test_wheel_without_an_end(answer: Answer, pair: Index, workspace: Workspace) -> None:
    artefact = found(pair.url, workspace).artefacts[0]
    with answering(answer) as url, little_memory(40 << 20), pytest.raises(HashMismatch):
        fetch(replace(artefact, url=url), workspace)
    assert not [path for path in workspace.artefacts.rglob("*") if path.is_file()]


def test_answer_that_takes_too_long(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PATIENCE", -1.0)
    with answering(endless) as url:
        assert "has not sent all" in refused(url, workspace)


def test_server_that_tells_us_to_wait_for_a_year(
    index: Index, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    del index
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    with answering(lambda handler: headed(handler, 503, Retry_After="31536000")) as url:
        assert "no usable answer" in refused(url, workspace)
    assert max(naps, default=0) < 60


@pytest.mark.parametrize(
    "target", ["/simple/", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1", "\\x"]
)
def test_redirects_that_lead_nowhere(target: str, workspace: Workspace) -> None:
    asked: list[str] = []

    def moved(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        headed(handler, 302, Location=target)

    with answering(moved) as url:
        assert "no usable answer" in refused(url, workspace)
    assert len(asked) <= 6


@pytest.mark.parametrize(
    ("old", "new", "said"),
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
        ("T00:00:00Z", "T00:00:00", "is announced with"),
        ("2026-01-02T00:00:00Z", "0001-01-01T00:00:00+14:00", "end of time"),
        ("livekit_agents-1.8.9-py3", "livekit_other-1.8.9-py3", "a file of livekit-other"),
        ("-none-any.whl", "-none-\\u001b[31many.whl", r"none-\x1b[31many.whl"),
        ('"requires-python": ">=3.10"', '"requires-python": "\\ud800"', "no sound JSON"),
        ("../../files/", "http://[::1/", "no usable answer"),
    ],
)
def test_pages_that_lie(old: str, new: str, said: str, pair: Index, workspace: Workspace) -> None:
    page = pair.page(AGENTS).decode()
    assert old in page
    pair.faults[AGENTS] = page.replace(old, new, 1).encode()
    assert said in refused(pair.url, workspace)


def test_page_with_two_files_of_one_name(pair: Index, workspace: Workspace) -> None:
    page = json.loads(pair.page(AGENTS))
    page["files"].append({**page["files"][0], "hashes": {"sha256": "0" * 64}})
    pair.faults[AGENTS] = json.dumps(page).encode()
    assert "two files of the name" in refused(pair.url, workspace)


def test_page_that_is_none(workspace: Workspace) -> None:
    def html(handler: BaseHTTPRequestHandler) -> None:
        headed(handler, Content_Type="text/html")
        handler.wfile.write(b"<a href=x>livekit_agents-1.8.9-py3-none-any.whl</a>")

    with answering(html) as url:
        assert "answers with 'text/html', not application/vnd" in refused(url, workspace)


def test_page_of_a_later_api_is_read(pair: Index, workspace: Workspace) -> None:
    pair.faults[AGENTS] = pair.page(AGENTS).replace(b'"1.1"', b'"1.999"')
    assert found(pair.url, workspace).version == Version("1.8.9")


def test_partner_that_requires_nonsense(index: Index, workspace: Workspace, tmp_path: Path) -> None:
    index.add(make_wheel(tmp_path, AGENTS, "1.8.9"))
    index.add(make_wheel(tmp_path, PLUGIN, "1.8.8", requires=["livekit-agents >>= !"]))
    with pytest.raises(InvalidWheel, match="requires what cannot be read"):
        found(index.url, workspace)


def test_writers_of_different_bytes(pair: Index, workspace: Workspace) -> None:
    """Two servers, of which one lies: its bytes are never seen in the cache, nor stop the other."""
    artefact = found(pair.url, workspace).artefacts[0]
    honest = pair.files[artefact.filename]
    with serving(Index(files={artefact.filename: honest[::-1]})) as liar:
        other = replace(artefact, url=artefact.url.replace(pair.url[:-7], liar.url[:-7]))

        def attempt(number: int) -> str:
            try:
                path = fetch(other if number % 2 else artefact, workspace)
            except HashMismatch:
                return "refused"
            return "honest" if path.read_bytes() == honest else "hostile"

        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(attempt, range(24)))
    # once the honest bytes are there, the liar is not asked
    assert set(done) <= {"honest", "refused"}
    assert done.count("honest") >= 12
    (kept,) = (path for path in workspace.artefacts.rglob("*") if path.is_file())
    assert kept.read_bytes() == honest


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "../../x"},
        {"sha256": "A" * 64},
        {"filename": "../x.whl"},
        {"filename": "x\n.whl"},
        {"size": 0},
        {"size": 1 << 40},
    ],
)
def test_artefact_that_leads_out_of_the_cache(
    changes: dict[str, object], pair: Index, workspace: Workspace
) -> None:
    artefact = found(pair.url, workspace).artefacts[0]
    with pytest.raises(ValueError, match="is announced with"):
        Artefact(**{**vars(artefact), **changes})


def test_reason_that_steers_the_terminal(
    pair: Index,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"{AGENTS.replace('-', '_')}-1.8.9-py3-none-any.whl"
    pair.yanked[name] = "\x1b]0;owned\x07\x1b[2Jall\r\nis \u202ewell <script>🙂" + "x" * 5000
    monkeypatch.setenv("LIVEKIT_DISPATCHED_CACHE", str(workspace.root))
    code = fetch_verb.main(["1.8.9", "--pypi", pair.url, "--patches", str(workspace.patches)])
    said = capsys.readouterr()
    assert code == 11
    assert r"was yanked: \x1b]0;owned\x07\x1b[2Jall is \u202ewell <script>🙂xx" in said.err
    assert all(c.isprintable() or c == "\n" for c in said.out + said.err)
    assert len(said.err) < 2000


def test_note_that_is_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show([Result("1.8.9", left_out="it [/broke] [bold]so[/bold] \x1b[2J")])
    assert r"it [/broke] [bold]so[/bold] \x1b[2J" in capsys.readouterr().out


def test_printable() -> None:
    assert printable("plain\n\tté 🙂") == "plain\n\tté 🙂"
    assert printable("\x1b[31m\r\x85\u2028\ud800\0") == r"\x1b[31m\r\x85\u2028\ud800\x00"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', "'b' stands twice"),
        ("[NaN]", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("[1e999]", "1e999 is no number"),
        ("9" * 5000, "no sound JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('"\\ud800"', "no sound JSON"),
        (b'"\xff"', "no sound JSON"),
        ('"x"'.encode("utf-16"), "no sound JSON"),
        ("", "no sound JSON"),
    ],
)
def test_json_that_readers_disagree_about(text: str | bytes, said: str) -> None:
    with pytest.raises(Malformed, match="it is ") as caught:
        load(text, "it")
    assert said in str(caught.value)


def test_json_that_all_read_alike() -> None:
    text = '{"a": [1, 2.5, -1e3, null, true, "\\ud83d\\ude42 \\\\ud800"], "b": {}}'
    assert load(text, "it") == json.loads(text)
    assert load(text.encode(), "it") == json.loads(text)


CONFIGURATION = """
[core]
    hooksPath = {home}/hooks
    autocrlf = true
    attributesFile = {home}/attributes
    fsmonitor = {home}/hooks/run
    editor = {home}/hooks/run
    pager = {home}/hooks/run
[init]
    templateDir = {home}/template
    defaultObjectFormat = sha256
    defaultBranch = other
[commit]
    gpgsign = true
    template = {home}/attributes
[gpg]
    program = {home}/hooks/run
[am]
    threeWay = true
    keepcr = false
[apply]
    whitespace = fix
[mailinfo]
    scissors = true
[filter "x"]
    clean = {home}/hooks/run
    smudge = {home}/hooks/run
    required = true
[user]
    name = Somebody
    useConfigOnly = true
[safe]
    bareRepository = explicit
"""


def test_git_of_the_user_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patches = write_series(tmp_path / "patches", {"guard": {"1.0": engine_patch(line9="x = 1  ")}})
    series = Series.load(patches)
    variants = series.variants_for(Version("1.8.9"))
    files = {ENGINE_PATH: source().encode()}
    plain = make_tree(variants, files, tmp_path / "plain")

    home = tmp_path / "home"
    run = home / "hooks/run"
    run.parent.mkdir(parents=True)
    run.write_text(f'#!/bin/sh\ntouch "{tmp_path}/ran"\ncat\nexit 1\n', "utf-8")
    run.chmod(0o755)
    hooks = ("pre-commit", "post-commit", "applypatch-msg", "pre-applypatch", "post-applypatch")
    (home / "template/hooks").mkdir(parents=True)
    for hook in (*hooks, "prepare-commit-msg", "commit-msg", "post-checkout", "post-index-change"):
        for folder in (home / "hooks", home / "template/hooks"):
            (folder / hook).symlink_to(run)
    (home / "attributes").write_text("* filter=x text eol=crlf ident\n", "utf-8")
    (home / ".gitconfig").write_text(CONFIGURATION.format(home=home), "utf-8")
    (home / "git").mkdir()
    (home / "git/config").write_text(CONFIGURATION.format(home=home), "utf-8")
    (home / "git/attributes").write_text("* filter=x eol=crlf\n", "utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    places = ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "COMMON_DIR", "TEMPLATE_DIR")
    for name in (*places, "CONFIG", "CONFIG_GLOBAL", "CONFIG_SYSTEM", "SHALLOW_FILE", "GRAFT_FILE"):
        monkeypatch.setenv(f"GIT_{name}", str(home / ".gitconfig"))
    for name in ("EDITOR", "SEQUENCE_EDITOR", "PAGER", "EXTERNAL_DIFF", "ASKPASS", "PROXY_COMMAND"):
        monkeypatch.setenv(f"GIT_{name}", str(run))
    for name in ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL", "NAMESPACE"):
        monkeypatch.setenv(f"GIT_{name}", "somebody")
    for name in ("AUTHOR_DATE", "COMMITTER_DATE"):
        monkeypatch.setenv(f"GIT_{name}", "2001-01-01T00:00:00Z")
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.autocrlf'='true'")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(home / "hooks"))

    hostile = make_tree(variants, files, tmp_path / "hostile")
    assert hostile.commit == plain.commit
    assert hostile.changed == plain.changed
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "hostile" / ENGINE_PATH).read_bytes() == source(line9="x = 1  ").encode()
