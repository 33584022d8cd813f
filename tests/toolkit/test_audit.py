"""``audit.py``: what is exactly official plus series passes, and each planted tampering is told."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from making import AGENTS, ENGINE, engine_patch, record_row
from market import COMPANION, GOOD, OURS, PARTNER, Market, statuses
from packaging.version import Version

import audit as verb
from toolkit.audit.originals import Origin, origin_of
from toolkit.patches.series import Series
from toolkit.releases.catalogue import Row, record
from toolkit.util.files import sha256, sha256_of
from toolkit.util.workspace import Workspace

DIST_INFO = "livekit_agents-1.8.9+dispatched.1.dist-info"
Members = dict[str, bytes]


def test_a_published_index(market: Market) -> None:
    found = market.audit(market.folder, code=0)
    assert statuses(found) == GOOD
    assert [finding["details"] for finding in found] == [[], [], []]
    assert statuses(market.audit(market.folder / "simple", code=0)) == GOOD


def test_an_index_behind_a_server(market: Market) -> None:
    with served(market.folder) as url:
        assert statuses(market.audit(f"{url}/simple/", code=0)) == GOOD
        (market.files / OURS).write_bytes(b"")
        found = market.audit(f"{url}/simple/", code=25)
        assert statuses(found)[OURS] == "differs"


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_files_and_a_folder_of_them(market: Market) -> None:
    assert statuses(market.audit(market.files, code=0)) == GOOD
    assert statuses(market.audit(market.files / OURS, code=0)) == {OURS: "ours"}
    assert statuses(market.audit(market.files / PARTNER, code=0)) == {PARTNER: "official"}


# -- tampering --------------------------------------------------------------------------------


def rewritten(
    path: Path, change: Callable[[Members], object], *, record: bool = True, kind: int | None = None
) -> None:
    """The wheel with changed members, all else as it was, and a RECORD that fits them.

    The statement beside it is gone.
    """
    path.with_name(f"{path.name}.provenance.json").unlink()
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        members = {name: archive.read(name) for name in infos}
    change(members)
    name = next(name for name in members if name.endswith("/RECORD"))
    if record:
        rows = [",".join(record_row(n, c)) for n, c in members.items() if n != name]
        members[name] = "\n".join([*rows, f"{name},,", ""]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            info = infos.get(member, infos[name])
            new = zipfile.ZipInfo(member, info.date_time)
            new.external_attr, new.create_system = info.external_attr, info.create_system
            archive.writestr(new, content, info.compress_type if kind is None else kind)


def differing(market: Market, name: str = OURS) -> list[str]:
    """In what the auditor sees a wheel differ, its RECORD apart."""
    (found,) = market.audit(market.files / name, code=25)
    assert found["status"] == "differs"
    return [line for line in found["details"] if "/RECORD " not in line]


def edit(name: str, old: bytes, new: bytes) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        (found,) = [member for member in members if member.endswith(name)]
        assert old in members[found]
        members[found] = members[found].replace(old, new)

    return change


def test_rewriting_alone_changes_nothing(market: Market) -> None:
    rewritten(market.files / OURS, lambda _: None, record=False)
    assert statuses(market.audit(market.files / OURS, code=0)) == {OURS: "ours"}


def test_a_changed_member(market: Market) -> None:
    rewritten(market.files / OURS, edit(ENGINE, b"value_20 = 20", b"value_20 = 21"))
    assert differing(market) == [f"{ENGINE} has another content"]


def test_a_different_official_member(market: Market) -> None:
    """One that no patch touches."""
    rewritten(market.files / OURS, edit("data.bin", b"\0\1\2", b"\0\2\2"))
    assert differing(market) == ["livekit/agents/data.bin has another content"]


def test_an_added_member(market: Market) -> None:
    def change(members: Members) -> None:
        members["livekit/agents/more.py"] = b"import os\n"

    rewritten(market.files / OURS, change)
    assert differing(market) == ["livekit/agents/more.py was added"]


def test_a_removed_member(market: Market) -> None:
    rewritten(market.files / OURS, lambda members: members.pop(ENGINE))
    assert differing(market) == [f"{ENGINE} is missing"]


def test_changed_metadata(market: Market) -> None:
    change = edit("METADATA", b"Name: livekit-agents", b"Requires-Dist: x\nName: livekit-agents")
    rewritten(market.files / OURS, change)
    assert differing(market) == [f"{DIST_INFO}/METADATA has another content"]


def test_a_changed_record(market: Market) -> None:
    rewritten(market.files / OURS, edit("RECORD", b",,", b",sha256=x,1"), record=False)
    (found,) = market.audit(market.files / OURS, code=25)
    assert found["details"] == [f"{DIST_INFO}/RECORD has another content"]


def test_a_recompressed_member(market: Market) -> None:
    rewritten(market.files / OURS, lambda _: None, record=False, kind=zipfile.ZIP_DEFLATED)
    assert f"{ENGINE} is packed otherwise" in differing(market)
    assert not any("content" in line for line in differing(market))


def test_another_order(market: Market) -> None:
    def change(members: Members) -> None:
        members[ENGINE] = members.pop(ENGINE)

    rewritten(market.files / OURS, change, record=False)
    assert differing(market) == ["the same members, but in another order or with other headers"]


@pytest.mark.parametrize("place", ["front", "back"])
def test_bytes_around_the_archive(market: Market, place: str) -> None:
    path = market.files / OURS
    data = path.read_bytes()
    path.write_bytes(b"#!/bin/sh\n" + data if place == "front" else data + b"\0")
    assert differing(market)


def test_no_zip_at_all(market: Market) -> None:
    (market.files / OURS).write_bytes(b"<html>")
    assert "not a zip file" in differing(market)[-1]


def test_another_official_wheel(market: Market) -> None:
    rewritten(market.files / PARTNER, edit("data.bin", b"\0\1\2", b"\0\2\2"))
    assert differing(market, PARTNER) == ["livekit/plugins/openai/data.bin has another content"]


def test_a_companion_that_requires_something_else(market: Market) -> None:
    rewritten(market.files / COMPANION, edit("METADATA", b"==1.8.9+dispatched.1", b">=1.8.9"))
    (line,) = differing(market, COMPANION)
    assert line.endswith("METADATA has another content")


def test_a_companion_of_other_code(market: Market) -> None:
    """It may be older than this checkout's; whether it is cannot be told from here."""
    rewritten(market.files / COMPANION, edit("schedule.py", b"import asyncio", b"import asyncio "))
    (found,) = market.audit(market.files / COMPANION, code=25)
    assert found["status"] == "moved"
    assert "scripts/livekit_dispatched" in found["next_step"]


# -- an index that says something else ---------------------------------------------------------


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize("kind", ["html", "both"])
def test_a_link_with_a_wrong_hash(market: Market, kind: str) -> None:
    page = market.folder / "simple" / AGENTS / "index.html"
    digest = sha256_of(market.files / OURS)
    replace_in(page, digest, "0" * 64)
    if kind == "both":
        replace_in(page.with_suffix(".json"), digest, "0" * 64)
    found = {f["where"]: f for f in market.audit(market.folder, code=25)}
    expected = "the page announces another file" if kind == "both" else "name different files"
    assert found[OURS]["status"] == "differs"
    assert any(expected in line for line in found[OURS]["details"])
    assert found[PARTNER]["status"] == "official"


def test_a_link_out_of_the_index(market: Market, tmp_path: Path) -> None:
    """What lies there is ours, and no client of this index would get it from anywhere else."""
    for path in market.files.glob("livekit_agents-*"):
        path.rename(tmp_path / path.name)
    for suffix in ("html", "json"):
        page = market.folder / "simple" / AGENTS / f"index.{suffix}"
        replace_in(page, "../../files/", "../../../")
    assert statuses(market.audit(market.folder, code=25))[OURS] == "differs"


def test_metadata_that_resolvers_would_believe(market: Market) -> None:
    with (market.files / f"{OURS}.metadata").open("a") as file:
        file.write("Requires-Dist: other\n")
    found = {f["where"]: f for f in market.audit(market.folder, code=25)}
    assert found[OURS]["details"] == [f"{OURS}.metadata is not the wheel's METADATA"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"release": "1.8.9"', '"release": "1.8.8"', "speaks of revision 1 of 1.8.8"),
        ('"revision": 1', '"revision": 2', "speaks of revision 2 of 1.8.9"),
        ("livekit_agents-1.8.9-py3", "livekit_agents-1.8.8-py3", "source that is not ours"),
        (f'"name": "{OURS}"', '"name": "x.whl"', "speaks of another file"),
        ('"kind"', '"kinds"', "cannot be read"),
    ],
)
def test_a_statement_that_lies(market: Market, old: str, new: str, said: str) -> None:
    replace_in(market.files / f"{OURS}.provenance.json", old, new)
    (found,) = market.audit(market.files / OURS, code=25)
    assert any(said in line for line in found["details"]), found


def test_a_file_that_is_gone(market: Market) -> None:
    (market.files / OURS).unlink()
    found = {f["where"]: f for f in market.audit(market.folder, code=25)}
    assert "the page links to a file that is not in the index" in found[OURS]["details"]


# -- what cannot be compared --------------------------------------------------------------------


def test_a_series_that_moved_on(market: Market) -> None:
    """Other patches than those that were published: which they were is told."""
    path = market.workspace.patches / "guard/1.0.patch"
    path.write_text(engine_patch(line9="second = 2"))
    found = {f["where"]: f for f in market.audit(market.folder, code=25)}
    assert found[OURS]["status"] == "moved"
    assert f"git log -S {market.made.series_digest}" in found[OURS]["next_step"]
    assert f"{ENGINE} has another content" in found[OURS]["details"]


def test_a_revision_that_the_catalogue_left_behind(market: Market) -> None:
    version = market.made.release.version
    row = Row(2, "5e" * 32, {})
    record(market.workspace.catalogue, {version: row}, {version: market.made.release})
    (market.workspace.patches / "guard/1.0.patch").write_text(engine_patch(line9="second = 2"))
    (market.files / f"{OURS}.provenance.json").unlink()
    (found,) = market.audit(market.files / OURS, code=25)
    assert found["status"] == "moved"
    assert "knows no revision 1 of 1.8.9" in found["next_step"]


@pytest.mark.parametrize(
    "name",
    [
        "livekit_agents-1.8.9+other.1-py3-none-any.whl",
        "livekit_agents-9.9.9+dispatched.1-py3-none-any.whl",
        "livekit_agents-9.9.9-py3-none-any.whl",
        "requests-2.0-py3-none-any.whl",
        "livekit_dispatched-1.8.9-py3-none-any.whl",
        "nonsense.whl",
    ],
)
def test_unknown(market: Market, tmp_path: Path, name: str) -> None:
    path = Path(shutil.copy(market.files / OURS, tmp_path / name))
    (found,) = market.audit(path, code=25)
    assert found["status"] == "unknown"
    assert found["details"]


def test_nothing_to_audit(market: Market, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert verb.main([str(tmp_path / "empty")]) == 25
    assert verb.main([str(tmp_path / "missing")]) == 25


@pytest.mark.parametrize("damage", ["no-page", "no-json", "another-json", "deep-json"])
def test_an_index_that_cannot_be_read(
    market: Market, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = market.folder / "simple" / AGENTS / "index.html"
    other = page.with_suffix(".json")
    if damage == "no-page":
        page.unlink()
    else:
        texts = {"no-json": "{", "another-json": '{"files": 3}', "deep-json": "[" * 100_000}
        other.write_text(texts[damage])
    assert verb.main([str(market.folder), "--patches", str(market.workspace.patches)]) == 25
    assert "is no simple index" in capsys.readouterr().err


def test_one_bad_wheel_among_good_ones(market: Market) -> None:
    (market.files / OURS).write_bytes(b"")
    assert statuses(market.audit(market.folder, code=25)) == GOOD | {OURS: "differs"}


def test_it_believes_no_cache_of_repacked_wheels(market: Market, tmp_path: Path) -> None:
    """Whoever can write there could have put a tampered wheel and its digest there as well."""
    root = Path(shutil.copytree(market.workspace.root, tmp_path / "cache"))
    planted = list(root.rglob("*dispatched*.whl"))
    for path in planted:
        path.write_bytes(b"")
        (path.parent / "sha256.json").write_text(json.dumps({path.name: sha256(b"")}))
    assert planted
    other = replace(market, workspace=Workspace(root, market.workspace.patches))
    assert statuses(other.audit(market.folder, code=0)) == GOOD


@pytest.mark.parametrize(
    ("name", "release", "revision"),
    [
        (OURS, "1.8.9", 1),
        ("livekit_agents-2.0.0b1+dispatched.12-cp310-abi3-win_amd64.whl", "2.0.0b1", 12),
        ("livekit_plugins_openai-1.2.9+dispatched.3.with.1.2.10-py3-none-any.whl", "1.2.10", 3),
        ("livekit_plugins_openai-1.8.6-py3-none-any.whl", "1.8.6", 0),
        ("livekit_dispatched-1.8.9.12-py3-none-any.whl", "1.8.9", 12),
        ("livekit_dispatched-2.0.0b1.post2-py3-none-any.whl", "2.0.0b1", 2),
    ],
)
def test_what_a_name_speaks_of(market: Market, name: str, release: str, revision: int) -> None:
    series = Series.load(market.workspace.patches)
    assert origin_of(name, series) == Origin(Version(release), revision)
