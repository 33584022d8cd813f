"""``serve.py``: the local index before the public one, as clients of both see them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from indexes import publish_wheels
from publishing import MOMENT, make_pair, proof_of
from pypi_simple import NoSuchProjectError, PyPISimple
from verbs import RunVerb
from wheels import AGENTS, PLUGIN, make_wheel
from worlds import THIRD, World, Worlds, open_worlds

import serve as verb
from toolkit.environments.interpreter import uv
from toolkit.index.metapackage import PROJECT
from toolkit.index.yank import yank
from toolkit.util.errors import IndexConflict

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
STREAM = pytest.mark.parametrize("stream", [[], ["--stream"]], ids=["redirecting", "streaming"])


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    with open_worlds(tmp_path_factory.mktemp("worlds")) as opened:
        yield opened


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> World:
    return worlds.of("newer")


@contextmanager
def served(*flags: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The verb as a process: the URL that it prints, and the process."""
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = [sys.executable, str(verb.__file__), "--port", "0", "--json", *map(str, flags)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as child:
        try:
            assert child.stdout
            line = child.stdout.readline()
            assert line, child.communicate()
            yield json.loads(line)["url"], child
        finally:
            child.kill()


@pytest.fixture(scope="module", params=["redirecting", "streaming"])
def front(request: pytest.FixtureRequest, world: World) -> Iterator[str]:
    stream = ["--stream"] if request.param == "streaming" else []
    with served("--index", world.index, "--pypi", world.public, *stream) as (url, _):
        yield url


def ask(url: str, headers: dict[str, str] | None = None) -> tuple[int, str, bytes]:
    """Status, the URL that answered in the end, and the body."""
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.status, answer.url, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.url, error.read()


def files_of(front: str) -> str:
    """Where the files of a proxy are."""
    return front.replace("/simple/", "/resources/")


def resolved(front: str, folder: Path, *needs: str) -> list[str]:
    """What uv takes, sorted; nothing if it fails."""
    words = ["pip", "compile", "--quiet", "--no-config", "--no-header", "--no-annotate"]
    words += ["--default-index", front, "--cache-dir", str(folder / "cache"), "-"]
    done = subprocess.run(
        [uv(), *words], input="\n".join(needs), capture_output=True, text=True, cwd=folder
    )
    return sorted(done.stdout.split()) if done.returncode == 0 else []


@pytest.mark.parametrize(
    ("need", "taken"),
    [
        (f"{PROJECT}==1.8.9.1", [f"{AGENTS}==1.8.9+dispatched.1", f"{PLUGIN}==1.8.9"]),
        (f"{AGENTS}>=1.8", [f"{AGENTS}==1.8.9+dispatched.1"]),
        (f"{PLUGIN}", [f"{AGENTS}==1.8.9+dispatched.1", f"{PLUGIN}==1.8.9"]),
        # of somebody else's, the newest that fits what was proved
        (THIRD, [f"{AGENTS}==1.8.9+dispatched.1", f"{THIRD}==1.8.9"]),
        (f"{AGENTS}>=1.8.10", []),
        (f"{THIRD}>=1.8.10", []),
    ],
)
def test_what_was_proved_or_nothing(
    front: str, tmp_path: Path, need: str, taken: list[str]
) -> None:
    result = resolved(front, tmp_path, need)
    assert [line for line in result if not line.startswith(PROJECT)] == taken


def test_our_pages_tell_all_that_the_index_tells(front: str, world: World) -> None:
    for project in (AGENTS, PLUGIN, PROJECT):
        status, url, body = ask(f"{front}{project}/", JSON)
        assert (status, url) == (200, f"{front}{project}/")
        stored = world.index / "simple" / project / "index.json"
        page, wanted = json.loads(body), json.loads(stored.read_text())
        assert page["meta"]["api-version"] == "1.4"
        for row in (*page["files"], *wanted["files"]):
            del row["url"]
            row.pop("dist-info-metadata", None)
        assert page["files"] == wanted["files"]
    with PyPISimple(front) as client:
        (wheel,) = client.get_project_page(AGENTS).packages
        assert client.get_package_metadata_bytes(wheel)
        with pytest.raises(NoSuchProjectError):
            client.get_project_page("nobody-has-this")
    projects = json.loads(ask(front, JSON)[2])["projects"]
    assert {row["name"] for row in projects} == {AGENTS, PLUGIN, PROJECT}


@pytest.mark.parametrize("name", [AGENTS, "Livekit_Agents", "livekit.agents", "LIVEKIT--AGENTS"])
def test_no_spelling_leads_to_the_official_file(front: str, world: World, name: str) -> None:
    _, url, body = ask(f"{front}{name}/", JSON)
    assert b"dispatched.1" in body
    assert b"1.8.10" not in body
    assert not url.startswith(world.public)
    assert ask(f"{files_of(front)}{name}/livekit_agents-1.8.10-py3-none-any.whl")[0] == 404


@pytest.mark.parametrize(
    "path",
    ["%2e%2e/index.jsonl", "livekit-agents/..%2f..%2findex.jsonl", "livekit-agents/index.jsonl"],
)
def test_nothing_else_of_the_folder_is_served(front: str, path: str) -> None:
    assert ask(files_of(front) + path)[0] == 404


def test_files_come_from_where_they_should(front: str, world: World) -> None:
    with PyPISimple(front) as client:
        (ours,) = client.get_project_page(AGENTS).packages
        third = {p.version: p for p in client.get_project_page(THIRD).packages}["1.8.9"]
    assert ours.url.startswith(files_of(front))
    assert ask(ours.url)[2] == (world.index / "files" / ours.filename).read_bytes()
    streaming = third.url.startswith(front.removesuffix("simple/"))
    # without the page before it, too
    direct = f"{files_of(front)}{THIRD}/{third.filename}"
    assert ask(direct)[0] == (200 if streaming else 404)
    assert ask(f"{direct}x")[0] == 404
    status, url, body = ask(third.url)
    assert (status, body[:2]) == (200, b"PK")
    assert url.startswith(front.removesuffix("simple/")) == streaming


def test_clients_never_see_the_password_of_the_index_behind(world: World) -> None:
    public = world.public.replace("://", "://ci-bot:s3cr3tTok@")
    with served("--index", world.index, "--pypi", public) as (front, child):
        status, url, body = ask(f"{front}{THIRD}/", JSON)
        assert (status, url) == (200, f"{front}{THIRD}/")
        assert b"s3cr3tTok" not in body
        (wheel, *_) = json.loads(body)["files"]
        status, url, _ = ask(urllib.parse.urljoin(f"{front}{THIRD}/", wheel["url"]))
        assert status == 200
        assert "s3cr3tTok" not in url
        child.terminate()
        assert "s3cr3tTok" not in "".join(child.communicate())


def test_what_changes_meanwhile_shows_at_once(world: World, tmp_path: Path) -> None:
    index = Path(shutil.copytree(world.index, tmp_path / "index"))
    with served("--index", index, "--pypi", world.public) as (front, _):
        assert resolved(front, tmp_path, f"{AGENTS}>=1.8")
        yank(index, "1.8.9", 'a "quoted" <b>reason</b>', now=MOMENT)
        assert resolved(front, tmp_path, f"{AGENTS}>=1.8", "--no-cache") == []
        with PyPISimple(front, accept="text/html") as client:
            (wheel,) = client.get_project_page(AGENTS).packages
        assert wheel.yanked_reason == "a 'quoted' 'b'reason'/b'"
        assert wheel.filename.endswith("dispatched.1-py3-none-any.whl")
        # a page that is gone is an error of ours, not a reason to ask elsewhere
        for gone in (index / "simple" / AGENTS, index / "simple"):
            shutil.rmtree(gone)
            assert ask(f"{front}{AGENTS}/", JSON)[0] == 500


@STREAM
def test_each_project_comes_from_one_place(
    worlds: Worlds, tmp_path: Path, stream: list[str]
) -> None:
    """What we do not have yet comes from nowhere; what we have comes from us, whatever it is."""
    wheels = make_pair(tmp_path / "w", "+dispatched.1")[:1]
    publish_wheels(wheels, proof_of(wheels), tmp_path / "index")
    third = [make_wheel(tmp_path / "w", THIRD, "1.8.9+dispatched.1")]
    public = worlds.of("taken").public
    assert ask(f"{public}{PROJECT}/")[0] == 200
    with served("--index", tmp_path / "index", "--pypi", public, *stream) as (front, _):
        for project in (PROJECT, PLUGIN):
            assert ask(f"{front}{project}/", JSON)[0] == 404
        assert len(json.loads(ask(f"{front}{THIRD}/", JSON)[2])["files"]) == 3
        publish_wheels(third, proof_of(third, "1.8.10"), tmp_path / "index")
        (row,) = json.loads(ask(f"{front}{THIRD}/", JSON)[2])["files"]
        assert row["filename"] == third[0].name


def test_the_public_index_fails_loudly(world: World) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{nobody.getsockname()[1]}/simple/"
        with served("--index", world.index, "--pypi", dead, "--stream") as (front, _):
            assert ask(f"{front}{THIRD}/", JSON)[0] == 502
            assert ask(f"{front}{AGENTS}/", JSON)[0] == 200


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(world: World, signum: signal.Signals) -> None:
    with served("--index", world.index, "--pypi", world.public) as (front, child):
        assert ask(f"{front}{AGENTS}/")[0] == 200
        child.send_signal(signum)
        assert child.communicate(timeout=30) == ("", "")
        assert child.returncode == (0 if signum == signal.SIGINT else -signum)


def test_what_cannot_be_served(world: World, tmp_path: Path, run_verb: RunVerb) -> None:
    result = run_verb("serve", "--index", tmp_path)
    assert result.code == IndexConflict.exit_code
    assert "no index.jsonl" in result.err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run_verb("serve", "--index", world.index, "--port", port)
    assert result.code == 2
    assert port in result.err
