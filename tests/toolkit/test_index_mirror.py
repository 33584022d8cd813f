"""An index's wheels on a server that fails in every way it can."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from indexes import make_index, mark, pair_bundle
from publishing import make_pair, write_proof
from uploads import Shop, shop_open
from verbs import RunVerb
from wheels import AGENTS, PLUGIN

from toolkit.index.ledger import Ledger
from toolkit.index.metapackage import PROJECT
from toolkit.index.mirror import Mirrored, mirror
from toolkit.index.server import Server, credentials_of
from toolkit.index.yank import yank
from toolkit.util.errors import IndexConflict, Unreachable, UploadRefused
from toolkit.util.files import sha256_of

USER, PASSWORD = "somebody", "s3cret-word"
CREDENTIALS = {"UV_PUBLISH_USERNAME": USER, "UV_PUBLISH_PASSWORD": PASSWORD}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Two releases, each with a partner and a metapackage."""
    bundles = [pair_bundle(tmp_path / "wheels", release) for release in ("1.0.0", "1.0.1")]
    return make_index(tmp_path / "index", *bundles)


@pytest.fixture
def names(index: Path) -> list[str]:
    """The index's files in the order of its ledger."""
    return list(Ledger.read(index).files)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """An empty server that wants credentials, and an uploader that has them and never waits."""
    monkeypatch.setattr("toolkit.index.mirror.PAUSES", (0.0, 0.0))
    monkeypatch.setattr("toolkit.util.http.BACKOFF", 0.0)
    for name in [name for name in os.environ if name.startswith(("UV_", "TWINE_"))]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with shop_open(credentials=f"{USER}:{PASSWORD}") as opened:
        yield opened


def send(index: Path, shop: Shop) -> Mirrored:
    with Server.at(shop.url) as server:
        return mirror(index, server)


def posts(shop: Shop) -> int:
    return sum(line.startswith("POST") for line in shop.asked)


def whole(index: Path, names: list[str]) -> dict[str, bytes]:
    """What a server must have in the end."""
    return {name: (index / "files" / name).read_bytes() for name in names}


def test_everything_in_the_order_of_the_ledger(index: Path, names: list[str], shop: Shop) -> None:
    assert send(index, shop) == Mirrored(tuple(names), (), ())
    assert (shop.files, shop.order) == (whole(index, names), names)
    assert send(index, shop) == Mirrored((), tuple(names), ())
    assert posts(shop) == 6
    projects = [name.partition("-")[0] for name in names[:3]]
    assert projects == [project.replace("-", "_") for project in (PLUGIN, AGENTS, PROJECT)]


@pytest.mark.parametrize("fault", ["500", "503", "429", "cut", "deaf", "lost"])
def test_a_fault_that_passes(fault: str, index: Path, names: list[str], shop: Shop) -> None:
    shop.faults = ["ok", fault, "ok", fault, "ok", fault]
    assert len(send(index, shop).uploaded) == 6
    assert (shop.files, shop.order) == (whole(index, names), names)


@pytest.mark.parametrize("fault", ["502", "cut", "lost"])
def test_a_fault_that_stays_ends_where_it_stands(
    fault: str, index: Path, names: list[str], shop: Shop
) -> None:
    shop.faults = ["ok", *[fault] * 3]
    with pytest.raises(Unreachable, match=r"did not take livekit_agents-1\.0\.0") as caught:
        send(index, shop)
    assert "goes on where this one ended" in caught.value.next_step
    # the pinned partner did not come, so what was made for both did not either
    assert shop.order == names[:1]
    assert len(send(index, shop).uploaded) == 5
    assert shop.files == whole(index, names)


def test_a_server_that_is_away(index: Path, shop: Shop) -> None:
    with Server.at(shop.url) as server:
        shop.page_faults = [500, 503]
        assert len(mirror(index, server).uploaded) == 6
        shop.page_faults = [500] * 9
        with pytest.raises(Unreachable, match="no usable answer"):
            mirror(index, server)
    shop.page_faults = []
    with pytest.raises(Unreachable, match="no simple index answers"):
        Server.at(f"{shop.url}elsewhere/deep/")
    with pytest.raises(Unreachable):
        Server.at("http://127.0.0.1:1/")


def test_other_bytes_under_a_name(index: Path, names: list[str], shop: Shop) -> None:
    shop.files[names[4]] = b"others"
    with pytest.raises(IndexConflict, match=r"other bytes as livekit_agents-1\.0\.1"):
        send(index, shop)
    assert posts(shop) == 0


@pytest.mark.parametrize("fault", ["altered", "faked"])
@pytest.mark.parametrize("hashes", [True, False])
def test_a_server_that_keeps_other_bytes(
    fault: str, hashes: bool, index: Path, names: list[str], shop: Shop
) -> None:
    shop.faults, shop.hashes = [fault], hashes
    with pytest.raises(IndexConflict, match="other bytes"):
        send(index, shop)
    assert posts(shop) == 1
    if fault == "faked":
        name = names[0]
        assert shop.lies == {name: sha256_of(index / "files" / name)}
        shop.files[name], shop.lies, shop.hashes = whole(index, names)[name], {name: "0" * 64}, True
        with pytest.raises(IndexConflict, match="0000, not"):
            send(index, shop)


def test_a_page_that_lies_of_a_good_file(index: Path, names: list[str], shop: Shop) -> None:
    shop.lies = {names[0]: "0" * 64}
    with pytest.raises(IndexConflict, match="other bytes"):
        send(index, shop)
    assert shop.order == names[:1]


def test_a_server_that_tells_no_hashes_is_read(index: Path, shop: Shop) -> None:
    shop.hashes = False
    assert len(send(index, shop).uploaded) == 6
    assert len(send(index, shop).known) == 6


@pytest.mark.parametrize("status", ["400", "403", "413"])
def test_a_refusal_is_not_repeated(status: str, index: Path, shop: Shop) -> None:
    shop.faults = [status]
    with pytest.raises(UploadRefused, match=status):
        send(index, shop)
    assert posts(shop) == 1


@pytest.mark.parametrize("user", [USER, None])
def test_no_credentials_and_wrong_ones(
    index: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch, user: str | None
) -> None:
    if user:
        monkeypatch.setenv("UV_PUBLISH_PASSWORD", "wrong")
    else:
        monkeypatch.delenv("UV_PUBLISH_PASSWORD")
        monkeypatch.delenv("UV_PUBLISH_USERNAME")
    with pytest.raises(UploadRefused, match="401" if user else "redentials|401"):
        send(index, shop)
    assert shop.files == {}


def test_credentials_from_netrc(
    index: Path, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("UV_PUBLISH_PASSWORD")
    monkeypatch.delenv("UV_PUBLISH_USERNAME")
    assert len(send(index, shop).uploaded) == 6


def test_credentials_from_the_keyring(
    index: Path, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = tmp_path / "bin" / "keyring"
    keyring.parent.mkdir()
    keyring.write_text(f'#!/bin/sh\n[ "$3" = {USER} ] && echo {PASSWORD}\n')
    keyring.chmod(0o700)
    monkeypatch.setenv("PATH", str(keyring.parent), prepend=os.pathsep)
    with Server.at(shop.url) as server:
        assert not server.keyring
    monkeypatch.delenv("UV_PUBLISH_PASSWORD")
    with Server.at(shop.url) as server:
        assert server.keyring
    assert len(send(index, shop).uploaded) == 6
    monkeypatch.delenv("UV_PUBLISH_USERNAME")
    with Server.at(shop.url) as server:
        assert not server.keyring


@pytest.mark.parametrize(
    ("environment", "credentials"),
    [
        ({}, {}),
        (CREDENTIALS | {"TWINE_USERNAME": "c", "TWINE_PASSWORD": "d"}, CREDENTIALS),
        ({"TWINE_USERNAME": USER, "TWINE_PASSWORD": PASSWORD}, CREDENTIALS),
        (
            CREDENTIALS | {"UV_PUBLISH_TOKEN": "t"},
            {"UV_PUBLISH_USERNAME": "__token__", "UV_PUBLISH_PASSWORD": "t"},
        ),
    ],
)
def test_what_the_environment_may_say(
    environment: dict[str, str], credentials: dict[str, str]
) -> None:
    assert credentials_of(environment) == credentials


def test_another_host_is_not_told_the_password(shop: Shop) -> None:
    with (
        shop_open(credentials="x:y") as other,
        Server(shop.url, f"{other.url}simple/", CREDENTIALS) as server,
    ):
        server.answers()
        assert "Authorization" not in other.headers[-1]
    with Server.at(shop.url) as server:
        server.answers()
    assert "Authorization" in shop.headers[-1]


@pytest.mark.parametrize("word", ["--to", "--simple"])
def test_a_password_in_an_address_is_refused_and_not_repeated(
    word: str, index: Path, shop: Shop, run_verb: RunVerb
) -> None:
    url = f"http://{USER}:{PASSWORD}@127.0.0.1:1/"
    result = run_verb("publish", "--index", index, "--to", shop.url, word, url)
    assert result.code == UploadRefused.exit_code == 26
    assert "has credentials in it" in result.err
    assert PASSWORD not in result.out + result.err
    assert shop.asked == []


@pytest.mark.parametrize("url", ["ftp://a/", "no-url", "http://", "--", "http://[/", "u:pw@h/"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UploadRefused) as caught:
        Server.at(url)
    assert "pw" not in str(caught.value)


def test_a_password_is_in_no_argument_and_no_log(
    index: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch, run_verb: RunVerb
) -> None:
    commands: list[str] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, words: list[str], **rest: Any) -> None:
            commands.extend(map(str, words))
            super().__init__(words, **rest)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr("toolkit.util.process.verbose", True)
    shop.faults = ["500", "cut", "ok", "403"]
    result = run_verb("publish", "--index", index, "--to", shop.url)
    assert result.code == UploadRefused.exit_code
    printed = result.out + result.err
    assert "publish" in commands
    assert "publish --quiet" in printed
    assert PASSWORD not in printed + " ".join(commands)


def test_yanked_and_quarantined_files_are_withheld(
    index: Path, names: list[str], shop: Shop, run_verb: RunVerb
) -> None:
    yank(index, "1.0.0", "a reason")
    mark(index, PROJECT, "quarantined", "a reason")
    result = run_verb("publish", "--index", index, "--to", shop.url)
    assert result.out.splitlines() == [
        *(f"uploaded       {name}" for name in names[3:5]),
        *(f"withheld       {name}: yanked or quarantined" for name in [*names[:3], names[5]]),
        f"2 uploaded, 0 already there: {shop.url}simple/",
    ]
    assert shop.order == names[3:5]


def test_what_is_damaged_or_no_index_is_not_sent(
    index: Path, names: list[str], shop: Shop, tmp_path: Path
) -> None:
    (index / "files" / names[0]).write_bytes(b"damage")
    with pytest.raises(IndexConflict, match="damaged"):
        send(index, shop)
    with pytest.raises(IndexConflict, match="not an index"):
        send(tmp_path, shop)
    assert posts(shop) == 0


def test_the_command_line(
    index: Path, names: list[str], shop: Shop, tmp_path: Path, run_verb: RunVerb
) -> None:
    words = ["publish", "--index", index, "--to", shop.url.rstrip("/")]
    printed = run_verb(*words, "--dry-run").out
    assert printed.count("would upload") == 7
    assert f"6 would upload, 0 already there: {shop.url}simple/" in printed
    assert posts(shop) == 0
    assert run_verb(*words, "--json").json == {
        "server": {
            "uploaded": names,
            "known": [],
            "withheld": [],
            "simple": f"{shop.url}simple/",
        }
    }
    # what a dry run would publish is uploaded after it
    pair = make_pair(tmp_path / "more", "+dispatched.1")
    wheels = ["--verdict", write_proof(tmp_path / "verdict.json", pair), *pair]
    result = run_verb(*words, *wheels, "--dry-run", "--json").json
    assert (len(result["new"]), result["server"]["known"]) == (3, names)
    assert sorted(result["server"]["uploaded"]) == result["new"]
    printed = run_verb(*words, "--simple", f"{shop.url}simple").out
    assert f"0 uploaded, 6 already there: {shop.url}simple/\n" in printed
