"""An index's wheels on real servers, and on one that fails in every way it can."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from publishing import mark
from torturing import AGENTS, COMPANION, PLUGIN, pair_bundle
from uploads import Shop, shop_open

import publish as verb
from toolkit.index.ledger import Ledger
from toolkit.index.mirror import mirror
from toolkit.index.publish import publish_all, read_list
from toolkit.index.server import Server, credentials_of
from toolkit.index.yank import yank
from toolkit.util.errors import IndexConflict, ToolkitError, Unreachable, UploadRefused
from toolkit.util.files import sha256_of

USER, PASSWORD = "somebody", "s3cret-word"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Two releases, each with a partner and a companion."""
    bundles = [pair_bundle(tmp_path / "wheels", release) for release in ("1.0.0", "1.0.1")]
    for done in publish_all(bundles, tmp_path / "index"):
        assert not isinstance(done, ToolkitError)
    return tmp_path / "index"


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """An empty server that wants credentials, and an uploader that has them and never waits."""
    monkeypatch.setattr("toolkit.index.mirror.PAUSES", (0.0, 0.0))
    monkeypatch.setattr("toolkit.util.http.BACKOFF", 0.0)
    for name in [name for name in os.environ if name.startswith(("UV_", "TWINE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_PUBLISH_USERNAME", USER)
    monkeypatch.setenv("UV_PUBLISH_PASSWORD", PASSWORD)
    with shop_open(credentials=f"{USER}:{PASSWORD}") as opened:
        yield opened


def expected(index: Path) -> dict[str, bytes]:
    """What a server must have in the end, in its order."""
    return {name: (index / "files" / name).read_bytes() for name in Ledger.read(index).files}


def posts(shop: Shop) -> int:
    return sum(line.startswith("POST") for line in shop.asked)


def test_everything_in_the_order_of_the_list(index: Path, shop: Shop) -> None:
    with Server.at(shop.url) as server:
        done = mirror(index, server)
        assert (shop.files, shop.order) == (expected(index), list(read_list(index)))
        assert done.uploaded == tuple(shop.order)
        again = mirror(index, server)
    assert (again.uploaded, again.known) == ((), done.uploaded)
    assert posts(shop) == 6
    projects = [name.partition("-")[0] for name in shop.order[:3]]
    assert projects == [p.replace("-", "_") for p in (PLUGIN, AGENTS, COMPANION)]


@pytest.mark.parametrize("fault", ["500", "503", "429", "cut", "deaf", "lost"])
def test_a_fault_that_passes(fault: str, index: Path, shop: Shop) -> None:
    shop.faults = ["ok", fault, "ok", fault, "ok", fault]
    with Server.at(shop.url) as server:
        assert len(mirror(index, server).uploaded) == 6
    assert shop.files == expected(index)
    assert shop.order == list(read_list(index))


@pytest.mark.parametrize("fault", ["502", "cut", "lost"])
def test_a_fault_that_stays_ends_where_it_stands(fault: str, index: Path, shop: Shop) -> None:
    shop.faults = ["ok", *[fault] * 3]
    with Server.at(shop.url) as server:
        with pytest.raises(Unreachable, match=r"did not take livekit_agents-1\.0\.0") as caught:
            mirror(index, server)
        assert "goes on where this one ended" in caught.value.next_step
        # the pinned partner did not come, so what was made for both did not either
        assert shop.order == list(read_list(index))[:1]
        assert len(mirror(index, server).uploaded) == 5
    assert shop.files == expected(index)


def test_a_server_that_is_away_for_a_moment(index: Path, shop: Shop) -> None:
    with Server.at(shop.url) as server:
        shop.page_faults = [500, 503]
        assert len(mirror(index, server).uploaded) == 6
        shop.page_faults = [500] * 9
        with pytest.raises(Unreachable, match="no usable answer"):
            mirror(index, server)


def test_other_bytes_under_a_name(index: Path, shop: Shop) -> None:
    name = list(read_list(index))[4]
    shop.files[name] = b"others"
    with (
        Server.at(shop.url) as server,
        pytest.raises(IndexConflict, match=r"other bytes as livekit_agents-1\.0\.1"),
    ):
        mirror(index, server)
    assert posts(shop) == 0


@pytest.mark.parametrize("hashes", [True, False])
def test_a_server_that_keeps_other_bytes(hashes: bool, index: Path, shop: Shop) -> None:
    shop.faults, shop.hashes = ["altered"], hashes
    with Server.at(shop.url) as server, pytest.raises(IndexConflict, match="other bytes"):
        mirror(index, server)
    assert posts(shop) == 1


def test_a_server_whose_page_and_whose_files_disagree(index: Path, shop: Shop) -> None:
    shop.faults = ["faked"]
    with Server.at(shop.url) as server, pytest.raises(IndexConflict, match="other bytes"):
        mirror(index, server)
    name = next(iter(shop.files))
    assert shop.lies == {name: sha256_of(index / "files" / name)}
    shop.files[name], shop.lies = expected(index)[name], {name: "0" * 64}
    with Server.at(shop.url) as server, pytest.raises(IndexConflict, match="0000, not"):
        mirror(index, server)


def test_a_server_that_tells_no_hashes_is_read(index: Path, shop: Shop) -> None:
    shop.hashes = False
    with Server.at(shop.url) as server:
        assert len(mirror(index, server).uploaded) == 6
        assert len(mirror(index, server).known) == 6


@pytest.mark.parametrize("status", ["400", "403", "413"])
def test_a_refusal_is_not_repeated(status: str, index: Path, shop: Shop) -> None:
    shop.faults = [status]
    with Server.at(shop.url) as server, pytest.raises(UploadRefused, match=status):
        mirror(index, server)
    assert posts(shop) == 1


def test_no_credentials_and_wrong_ones(
    index: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_PUBLISH_PASSWORD", "wrong")
    with Server.at(shop.url) as server, pytest.raises(UploadRefused, match="401"):
        mirror(index, server)
    monkeypatch.delenv("UV_PUBLISH_PASSWORD")
    monkeypatch.delenv("UV_PUBLISH_USERNAME")
    with Server.at(shop.url) as server, pytest.raises(UploadRefused, match=r"redentials|401"):
        mirror(index, server)
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
    with Server.at(shop.url) as server:
        assert len(mirror(index, server).uploaded) == 6


def test_credentials_from_the_keyring(
    index: Path, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = tmp_path / "bin" / "keyring"
    keyring.parent.mkdir()
    keyring.write_text(f'#!/bin/sh\n[ "$3" = {USER} ] && echo {PASSWORD}\n')
    keyring.chmod(0o700)
    monkeypatch.setenv("PATH", str(keyring.parent), prepend=os.pathsep)
    monkeypatch.delenv("UV_PUBLISH_PASSWORD")
    with Server.at(shop.url) as server:
        assert server.keyring
        assert len(mirror(index, server).uploaded) == 6


def test_what_the_environment_may_say() -> None:
    ours = {"UV_PUBLISH_USERNAME": "a", "UV_PUBLISH_PASSWORD": "b"}
    theirs = {"TWINE_USERNAME": "c", "TWINE_PASSWORD": "d"}
    assert credentials_of({}) == {}
    assert credentials_of(ours | theirs) == ours
    assert credentials_of(theirs) == {"UV_PUBLISH_USERNAME": "c", "UV_PUBLISH_PASSWORD": "d"}
    token = {"UV_PUBLISH_USERNAME": "__token__", "UV_PUBLISH_PASSWORD": "t"}
    assert credentials_of({"UV_PUBLISH_TOKEN": "t"}) == token


def test_another_host_is_not_told_the_password(shop: Shop) -> None:
    with shop_open(credentials="x:y") as other, Server(shop.url, f"{other.url}simple/", CREDS) as s:
        s.answers()
        assert "Authorization" not in other.headers[-1]
    with Server.at(shop.url) as server:
        server.answers()
    assert "Authorization" in shop.headers[-1]


@pytest.mark.parametrize("word", ["--to", "--simple"])
def test_a_password_in_an_address_is_refused_and_not_repeated(
    word: str, index: Path, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://{USER}:{PASSWORD}@127.0.0.1:1/"
    words = ["--index", str(index), "--to", shop.url, word, url]
    assert verb.main(words) == UploadRefused.exit_code == 26
    printed = "".join(capsys.readouterr())
    assert "has credentials in it" in printed
    assert PASSWORD not in printed
    assert shop.asked == []


@pytest.mark.parametrize("url", ["ftp://a/", "no-url", "http://", "--", "http://[/", "u:pw@h/"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UploadRefused) as caught:
        Server.at(url)
    assert "pw" not in str(caught.value)


def test_a_password_is_in_no_argument_and_no_log(
    index: Path,
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    commands: list[str] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, words: list[str], **rest: Any) -> None:
            commands.extend(map(str, words))
            super().__init__(words, **rest)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr("toolkit.util.process.verbose", True)
    shop.faults = ["500", "cut", "ok", "403"]
    assert verb.main(["--index", str(index), "--to", shop.url]) == UploadRefused.exit_code
    printed = "".join(capfd.readouterr())
    assert "publish" in commands
    assert "publish --quiet" in printed
    assert PASSWORD not in printed + " ".join(commands)


def test_yanked_and_quarantined_files_are_withheld(index: Path, shop: Shop) -> None:
    yank(index, "1.0.0", "a reason")
    mark(index, COMPANION, "quarantined", "a reason")
    with Server.at(shop.url) as server:
        done = mirror(index, server)
    assert len(done.uploaded) == 2
    assert len(done.withheld) == 4
    assert {name.split("-")[1] for name in shop.order} == {"1.0.1+dispatched.1"}


def test_a_damaged_file_is_not_sent(index: Path, shop: Shop) -> None:
    first = next(iter(read_list(index)))
    (index / "files" / first).write_bytes(b"damage")
    with Server.at(shop.url) as server, pytest.raises(IndexConflict, match="damaged"):
        mirror(index, server)
    assert posts(shop) == 0


def test_a_folder_that_is_no_index(tmp_path: Path, shop: Shop) -> None:
    with Server.at(shop.url) as server, pytest.raises(IndexConflict, match="not an index"):
        mirror(tmp_path, server)


def test_nothing_answers(index: Path, shop: Shop) -> None:
    with pytest.raises(Unreachable, match="no simple index answers"):
        Server.at(f"{shop.url}elsewhere/deep/")
    with pytest.raises(Unreachable):
        Server.at("http://127.0.0.1:1/")


def test_the_command_line(index: Path, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--index", str(index), "--to", shop.url.rstrip("/")]
    assert verb.main([*words, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("would upload") == 7
    assert f"6 would upload, 0 already there: {shop.url}simple/" in printed
    assert posts(shop) == 0
    assert verb.main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["server"]
    assert sorted(said) == ["known", "simple", "uploaded", "withheld"]
    assert said["uploaded"] == shop.order
    assert verb.main([*words, "--simple", f"{shop.url}simple"]) == 0
    assert "0 uploaded, 6 already there" in capsys.readouterr().out


CREDS = {"UV_PUBLISH_USERNAME": USER, "UV_PUBLISH_PASSWORD": PASSWORD}
