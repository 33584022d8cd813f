"""Mirrors that lag, hold a part, tell too little, are busy, or want a password."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from making import (
    AGENTS,
    PLUGIN,
    Index,
    engine_patch,
    listening,
    make_wheel,
    serving,
    write_series,
)
from packaging.version import Version

import audit as audit_verb
import fetch as fetch_verb
import release as release_verb
import repack as repack_verb
import update as update_verb
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.download import cached_release
from toolkit.releases.official import fetch_release, find_release
from toolkit.util import process
from toolkit.util.errors import CommandFailed, Unreachable, masked
from toolkit.util.workspace import CACHE_VARIABLE, Workspace

VERSIONS = ("1.8.5", "1.8.6", "1.8.7", "1.8.8", "1.8.9")
DAYS = {v: datetime(2026, 1, 1 + n, 12, 0, 0, 5000, UTC) for n, v in enumerate(VERSIONS)}
TAGS = ("cp310-abi3-win_amd64", "cp310-abi3-macosx_11_0_arm64")
SECRET = "s3cr3tTok"  # noqa: S105
Page = dict[str, Any]
Verb = Callable[[list[str]], int]


@pytest.fixture
def here(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """Six releases, two of them yanked and one native, all of them in the catalogue."""
    for version in VERSIONS:
        for name in (AGENTS, PLUGIN):
            index.add(make_wheel(tmp_path / "w", name, version), DAYS[version])
    for tag in TAGS:
        index.add(make_wheel(tmp_path / "w", AGENTS, "1.9.0b1", tag=tag), DAYS["1.8.8"])
    for version in ("1.8.5", "1.8.6"):
        index.yanked[f"livekit_agents-{version}-py3-none-any.whl"] = "broken"
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    assert call(update_verb.main, workspace) == 0
    return workspace


def call(verb: Verb, here: Workspace, *words: str) -> int:
    return verb([*words, "--patches", str(here.patches)])


def without(*keys: str, among: str = "") -> Callable[[Page], None]:
    """Take facts away from those files on a page whose name holds ``among``."""

    def edit(page: Page) -> None:
        for file in page["files"]:
            if among in file["filename"]:
                for key in keys:
                    file.pop(key, None)

    return edit


def lacking(*parts: str, project: str = "") -> Callable[[Page], None]:
    """Take away files with one of ``parts`` in their name."""

    def edit(page: Page) -> None:
        if project in page["name"]:
            page["files"] = [
                f for f in page["files"] if not any(part in f["filename"] for part in parts)
            ]

    return edit


def each_file(among: str = "", **facts: Any) -> Callable[[Page], None]:
    def edit(page: Page) -> None:
        for file in (f for f in page["files"] if among in f["filename"]):
            file.update({key.replace("_", "-"): value for key, value in facts.items()})

    return edit


def sdists(page: Page) -> None:
    for file in page["files"]:
        file["filename"] = file["filename"].partition("-py3")[0] + ".tar.gz"


def older_api(page: Page) -> None:
    page["meta"]["api-version"] = "1.0"
    without("size", "upload-time")(page)


CANNOT_SERVE = {
    "no times": (without("upload-time"), "tells no upload time (PEP 700) of 7 of 7 wheels"),
    "one time missing": (without("upload-time", among="1.8.7"), "of 1 of 7 wheels"),
    "no sizes": (without("size"), "tells no size of 7"),
    "null times": (each_file(upload_time=None), "tells no upload time"),
    "an old API": (older_api, "tells no size and no upload time"),
    "only md5": (each_file(hashes={"md5": "0" * 32}), "tells no sha256"),
    "no files": (sdists, "lists no wheel"),
    "lags": (lacking("-1.8.9-"), "has not all that patches/releases.toml knows"),
    "lags by several": (lacking("-1.8.9-", "-1.8.8-", "-1.9.0"), "6 wheels of 1.8.8, 1.8.9, 1.9"),
    "holds a part": (lacking("-1.8.5-", "-1.8.6-"), "wheels of 1.8.5, 1.8.6 are missing"),
    "an old plugin page": (lacking("-1.8.9-", project=PLUGIN), "1 wheels of 1.8.9 are missing"),
    "no plugin": (lacking(".whl", project=PLUGIN), "has no livekit-plugins-openai"),
    "one platform": (lacking("win_amd64"), "such as livekit_agents-1.9.0b1-cp310-abi3-win"),
    "its own days": (each_file(upload_time="2026-05-01T00:00:00Z"), "not tell what PyPI tells"),
    "no yanks": (without("yanked"), "it drops yanks"),
    "all unyanked": (each_file(yanked=False), "it drops yanks"),
}


@pytest.mark.parametrize("how", CANNOT_SERVE)
def test_a_mirror_that_cannot_serve(
    here: Workspace,
    index: Index,
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("LIVEKIT_DISPATCHED_PYPI")
    before = here.catalogue.read_bytes()
    index.edit, said = CANNOT_SERVE[how]
    new = ("new", "--index", str(tmp_path / "index"))
    for verb, words in ((update_verb.main, ()), (release_verb.main, new)):
        assert call(verb, here, *words, "--pypi", index.url) == 12
        shown = capsys.readouterr().err
        assert said in shown
        assert "--pypi URL" in shown
        assert here.catalogue.read_bytes() == before
    assert not (tmp_path / "index").exists()


def test_a_mirror_with_pages_in_html(
    here: Workspace,
    index: Index,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = here.catalogue.read_bytes()
    answer = index.answer

    def html(path: str) -> tuple[int, str, bytes, bool]:
        return 200, "text/html; charset=utf-8", answer(path)[2], False

    monkeypatch.setattr(index, "answer", html)
    assert call(update_verb.main, here) == 12
    assert "HTML (PEP 503) tell no sizes and no upload times" in capsys.readouterr().err
    assert here.catalogue.read_bytes() == before


def test_a_file_with_another_hash(here: Workspace, index: Index) -> None:
    before = here.catalogue.read_bytes()
    index.edit = each_file("1.8.7", hashes={"sha256": "5e" * 32})
    assert call(update_verb.main, here) == 13
    assert here.catalogue.read_bytes() == before


def noisy(page: Page) -> None:
    """What a mirror may do: other spellings, whole seconds, files twice, and wheels of ours."""
    page["name"] = page["name"].replace("-", "_").title()
    ours = page["files"][-1]
    name = ours["filename"].replace("-1.", "-9.", 1).replace("-py3", "+dispatched.1-py3")
    name = name.replace("-cp310", "+dispatched.1-cp310")
    for file in page["files"]:
        file["upload-time"] = file["upload-time"].replace(".005000", "")
        del file["requires-python"]
    page["files"] += [dict(page["files"][0]), {**ours, "filename": name, "yanked": False}]


def test_a_mirror_that_can_serve(
    here: Workspace, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    before = here.catalogue.read_bytes()
    index.edit = noisy
    assert call(update_verb.main, here) == 0
    assert "nothing changed" in capsys.readouterr().out
    assert here.catalogue.read_bytes() == before
    assert str(find_release(None, here).version) == "1.8.9"


@pytest.mark.parametrize("edit", [without("upload-time", "size"), each_file(hashes={})])
def test_what_is_known_needs_only_an_address(
    here: Workspace, index: Index, edit: Callable[[Page], None]
) -> None:
    index.edit = edit
    paths = fetch_release("1.8.9", here).paths
    assert [path.read_bytes() for path in paths] == [index.files[path.name] for path in paths]


def test_gone_is_one_release_on_pages_that_have_all_others(
    here: Workspace, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    index.edit = lacking("-1.8.7-")
    assert call(update_verb.main, here) == 0
    assert "1.8.7: gone from PyPI" in capsys.readouterr().out
    index.edit = lacking("-1.8.7-", "-1.8.9-", "win_amd64")
    assert call(update_verb.main, here) == 12
    assert "update --gone 1.8.9" in capsys.readouterr().err
    words = ("--gone", "1.8.9", "--gone", "1.9.0b1", "--gone", "1.8.8")
    assert call(update_verb.main, here, *words) == 0
    found = Catalogue.read(here.catalogue)
    assert [str(v) for v, entry in found.items() if entry.gone] == ["1.8.7", "1.8.9"]
    assert len(found[Version("1.9.0b1")].official) == 2
    assert str(find_release(None, here).version) == "1.8.8"
    assert str(find_release(None, here, offline=True).version) == "1.8.8"


def test_one_yank_taken_back(
    here: Workspace, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    del index.yanked["livekit_agents-1.8.6-py3-none-any.whl"]
    assert call(update_verb.main, here) == 0
    assert "1.8.6: not yanked any more" in capsys.readouterr().out


def test_the_newest_never_goes_backwards_in_silence(
    here: Workspace, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    index.edit = lacking("-1.8.9-")
    assert call(fetch_verb.main, here) == 12
    assert "no livekit-agents newer than 1.8.8, though" in capsys.readouterr().err
    index.edit = lambda page: None
    index.yanked["livekit_agents-1.8.9-py3-none-any.whl"] = "worse"
    assert call(fetch_verb.main, here) == 0
    assert "1.8.9 was yanked: the newest is 1.8.8 now" in capsys.readouterr().err


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, which take no time."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("wait", "most"),
    [("7", 7), ("date", 30), ("0", 0), ("soon", 0), ("9" * 5000, 0)],
    ids=["seconds", "date", "none", "no number", "no number that Python reads"],
)
def test_a_busy_server_is_waited_for(
    here: Workspace, index: Index, naps: list[float], status: int, wait: str, most: int
) -> None:
    if wait == "date":
        wait = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    index.busy = [(status, wait)]
    assert call(update_verb.main, here) == 0
    assert max(naps, default=0) <= most
    assert bool(sum(naps)) == bool(most)
    naps.clear()
    located = find_release("1.8.9", here)
    index.busy = [(status, wait)]
    fetch_release(located, here)
    assert max(naps, default=0) <= most


@pytest.mark.parametrize(
    ("busy", "told"),
    [
        ([(429, "3600")], "asks to wait 3600 s"),
        ([(503, "31536000")], "asks to wait 31536000 s"),
        ([(429, "25")] * 3, "asks to wait 25 s"),
        ([(429, "")] * 4, "too many 429"),
    ],
)
def test_a_busy_server_is_not_waited_for_without_end(
    here: Workspace,
    index: Index,
    naps: list[float],
    busy: list[tuple[int, str]],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = here.catalogue.read_bytes()
    index.busy = list(busy)
    assert call(update_verb.main, here) == 12
    assert told in capsys.readouterr().err
    assert sum(naps) <= 60
    assert here.catalogue.read_bytes() == before
    artefact = Catalogue.read(here.catalogue)[Version("1.8.9")].release
    index.busy = list(busy)
    with pytest.raises(Unreachable):
        fetch_release(artefact, here)


def with_user(url: str, user: str) -> str:
    return url.replace("://", f"://{user}@")


def secrets_below(*folders: Path) -> list[Path]:
    return [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]


USERS = {
    f"ci-bot:{SECRET}": f"ci-bot:{SECRET}",
    quote(f"ci@bot:p/{SECRET}#", safe=":"): f"ci@bot:p/{SECRET}#",
    SECRET: f"{SECRET}:",
}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("absolute", [False, True])
def test_a_password_is_used_and_not_kept(
    here: Workspace,
    index: Index,
    user: str,
    absolute: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    index.credentials = USERS[user]
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", with_user(index.url, user))
    if absolute:
        base = index.url.removesuffix("simple/")

        def edit(page: Page) -> None:
            for file in page["files"]:
                file["url"] = f"{base}files/{file['filename']}"

        index.edit = edit
    here.catalogue.unlink()
    assert call(fetch_verb.main, here) == 0
    assert call(update_verb.main, here) == 0
    assert call(repack_verb.main, here, "1.8.8", "--out", str(here.root / "out")) == 0
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    assert secrets_below(here.root, here.patches) == []
    assert cached_release("1.8.9", here).artefacts[0].url.startswith("http://127.0.0.1:")


def test_another_server_gets_no_password(
    here: Workspace, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Index(files=index.files)) as other:
        base = other.url.removesuffix("simple/")

        def edit(page: Page) -> None:
            for file in page["files"]:
                file["url"] = f"{base}files/{file['filename']}"

        index.edit, index.credentials = edit, f"ci-bot:{SECRET}"
        monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", with_user(index.url, index.credentials))
        assert call(fetch_verb.main, here, "1.8.9") == 0
        assert other.given == ["", ""]


def test_a_page_elsewhere_gets_no_password(
    here: Workspace, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index may send on to another server, whose relative links are its own."""
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

        index.given.clear()
        with listening(Moved) as moved:
            url = with_user(f"{moved}/simple/", f"ci-bot:{SECRET}")
            assert call(fetch_verb.main, here, "1.8.9", "--pypi", url) == 0
        assert all(index.given)
        assert other.given == [""] * 4


@pytest.mark.parametrize("fault", [500, 403, 401, 429, b"<html>", "cut"])
@pytest.mark.parametrize("where", ["page", "file", "nobody"])
def test_a_password_in_no_error(
    here: Workspace,
    index: Index,
    fault: int | str | bytes,
    where: str,
    tmp_path: Path,
    naps: list[float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    del naps
    url = with_user(index.url, f"ci-bot:{SECRET}")
    if where == "nobody":
        url = f"http://ci-bot:{SECRET}@127.0.0.1:9/simple/?token={SECRET}"
    elif where == "page":
        index.faults = dict.fromkeys((AGENTS, PLUGIN), fault)
    else:
        index.faults = dict.fromkeys(index.files, fault)
        index.edit = lambda page: [
            f.update(url=f"{f['url']}?X-Amz-Signature={SECRET}") for f in page["files"]
        ]
    before = here.catalogue.read_bytes()
    out = tmp_path / "index"
    for verb, words in (
        (update_verb.main, ()),
        (fetch_verb.main, ("1.8.9",)),
        (fetch_verb.main, ("1.8.9", "1.8.8", "--json")),
        (release_verb.main, ("--index", str(out))),
        (release_verb.main, ("1.8.9", "1.8.8", "--index", str(out), "--json")),
        (audit_verb.main, (url,)),
    ):
        code = call(verb, here, *words, "--pypi", url)
        said = capsys.readouterr()
        assert code or (verb is update_verb.main and where == "file")
        assert SECRET not in said.out + said.err
        assert "Traceback" not in said.err
    assert here.catalogue.read_bytes() == before
    assert secrets_below(here.root, here.patches, tmp_path) == []


@pytest.mark.parametrize(
    "address",
    [
        f"ci-bot:{SECRET}@127.0.0.1/simple/",
        f"ftp://ci-bot:{SECRET}@127.0.0.1/",
        f"http://ci-bot:{SECRET}/x@127.0.0.1/simple/",
        f"http://ci-bot:12/{SECRET}@127.0.0.1:9/simple/",
        f"http://ci-bot:{SECRET}@[::1/simple/",
        f"http://ci-bot:{SECRET}@127.0.0.1:99999/",
        f"http://ci-bot:a@{SECRET}@127.0.0.1:9/simple/",
    ],
)
def test_an_address_that_is_none_is_not_repeated(
    here: Workspace, address: str, naps: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    del naps
    assert call(update_verb.main, here, "--pypi", address) == 12
    assert SECRET not in capsys.readouterr().err
    with pytest.raises(SystemExit):
        call(update_verb.main, here, f"http://ci-bot:{SECRET}@127.0.0.1/")
    assert SECRET not in capsys.readouterr().err


def test_a_password_for_uv(official: list[Path], tmp_path: Path) -> None:
    """uv is told by a variable, and says in its own words what it could not reach."""
    script = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC\n"
        "from toolkit.environments.environment import Environments\n"
        "from toolkit.cli import verb\n"
        "sys.exit(verb(lambda: Environments(Path(sys.argv[1])).prepare("
        "[Path(p) for p in sys.argv[2:]], uploaded=datetime.now(UTC)) and None)())"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "envs"), *map(str, official)]
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        env = {
            **os.environ,
            variable: f"http://{SECRET}:{SECRET}@127.0.0.1:9/simple/?token={SECRET}",
            "UV_HTTP_RETRIES": "0",
            "UV_CACHE_DIR": str(tmp_path / "uv"),
            "LIVEKIT_DISPATCHED_VERBOSE": "1",
            "PYTHONPATH": str(Path(process.__file__).parents[2]),
        }
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode in (12, 17), done.stderr
        assert "+ " in done.stderr
        assert SECRET not in done.stdout + done.stderr


def test_an_echo_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "verbose", True)
    url = f"http://ci-bot:{SECRET}@127.0.0.1:9/x?token={SECRET}"
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
        ("a@b: https://h/x has no tag livekit-agents@1.8.9", None),
        ("https://h/tree/livekit-agents@1.8.9/x#L1", None),
    ],
)
def test_masked(text: str, left: str | None) -> None:
    assert masked(text) == (text if left is None else left)
