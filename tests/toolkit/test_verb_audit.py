"""``audit.py``: exactly official plus series passes, and each planted tampering is reported."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from market import COMPANION, GOOD, OURS, PARTNER, Market, install, make_environment, statuses
from packaging.version import Version
from series import engine_patch
from simple_index import listening
from upstream_index import artefact
from verbs import RunVerb
from wheels import AGENTS, ENGINE, PLUGIN, make_official, make_wheel, record_row

from toolkit.audit.originals import Origin, Remaker, origin_of
from toolkit.patches.series import Series
from toolkit.releases.catalogue import Entry, Row, record
from toolkit.releases.official import Settings
from toolkit.util.files import sha256, sha256_of
from toolkit.util.workspace import Workspace

DIST_INFO = "livekit_agents-1.8.9+dispatched.1.dist-info"
Members = dict[str, bytes]


def findings(market: Market, target: object) -> dict[str, Any]:
    """What ``audit`` finds in a bad target, by name."""
    return {finding["where"]: finding for finding in market.audit(target, code=25)}


def test_what_is_official_plus_series_passes(market: Market) -> None:
    result = market.audit(market.folder, code=0)
    assert statuses(result) == GOOD
    assert [finding["details"] for finding in result] == [[], [], []]
    for target in (market.folder / "simple", market.files):
        assert statuses(market.audit(target, code=0)) == GOOD
    for name in (OURS, PARTNER):
        assert statuses(market.audit(market.files / name, code=0)) == {name: GOOD[name]}


def test_an_index_behind_a_server(market: Market) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler: Any = functools.partial(Quiet, directory=str(market.folder))
    with listening(handler) as url:
        assert statuses(market.audit(f"{url}/simple/", code=0)) == GOOD
        (market.files / OURS).write_bytes(b"")
        assert findings(market, f"{url}/simple/")[OURS]["status"] == "differs"


# -- tampering --------------------------------------------------------------------------------


def rewrite(path: Path, change: Callable[[Members], object]) -> None:
    """Change members of a wheel, and RECORD with them; the statement beside it goes."""
    path.with_name(f"{path.name}.provenance.json").unlink()
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        members = {name: archive.read(name) for name in infos}
    change(members)
    table = next(name for name in members if name.endswith("/RECORD"))
    rows = [",".join(record_row(n, c)) for n, c in members.items() if n != table]
    members[table] = "\n".join([*rows, f"{table},,", ""]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            info = infos.get(member, infos[table])
            new = zipfile.ZipInfo(member, info.date_time)
            new.external_attr, new.create_system = info.external_attr, info.create_system
            archive.writestr(new, content, info.compress_type)


def edit(name: str, old: bytes, new: bytes) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        (member,) = [member for member in members if member.endswith(name)]
        assert old in members[member]
        members[member] = members[member].replace(old, new)

    return change


@pytest.mark.parametrize(
    ("wheel", "change", "detail"),
    [
        (OURS, edit(ENGINE, b"value_20 = 20", b"value_20 = 21"), f"{ENGINE} has another content"),
        # a member that no patch touches
        (OURS, edit("data.bin", b"\0\1", b"\0\2"), "agents/data.bin has another content"),
        (OURS, lambda members: members.update({"x.py": b"import os\n"}), "x.py was added"),
        (PARTNER, edit("data.bin", b"\0\1", b"\0\2"), "openai/data.bin has another content"),
        (COMPANION, edit("METADATA", b"==1.8.9+", b">=1.8.9+"), "METADATA has another content"),
        # it may be older than this checkout's; whether it is cannot be told from here
        (COMPANION, edit("schedule.py", b"asyncio", b"os"), "schedule.py has another content"),
    ],
)
def test_a_changed_wheel(
    market: Market, wheel: str, change: Callable[[Members], object], detail: str
) -> None:
    rewrite(market.files / wheel, change)
    (finding,) = market.audit(market.files / wheel, code=25)
    (line,) = [line for line in finding["details"] if "/RECORD " not in line]
    assert line.endswith(detail)
    is_code = detail.startswith("schedule")
    assert finding["status"] == ("moved" if is_code else "differs")
    assert ("scripts/livekit_dispatched" in finding["next_step"]) == is_code


@pytest.mark.parametrize("data", [b"", b"<html>"])
def test_one_bad_file_among_good_ones(market: Market, data: bytes) -> None:
    (market.files / OURS).write_bytes(data)
    assert statuses(market.audit(market.folder, code=25)) == GOOD | {OURS: "differs"}
    (finding,) = market.audit(market.files / OURS, code=25)
    assert "not a zip file" in finding["details"][-1]


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
    result = findings(market, market.folder)
    expected = "the page announces another file" if kind == "both" else "name different files"
    assert result[OURS]["status"] == "differs"
    assert any(expected in detail for detail in result[OURS]["details"])
    assert result[PARTNER]["status"] == "official"


def test_a_link_out_of_the_index(market: Market, tmp_path: Path) -> None:
    """What lies there is ours, and no client of this index would get it from anywhere else."""
    for path in market.files.glob("livekit_agents-*"):
        path.rename(tmp_path / path.name)
    for suffix in ("html", "json"):
        page = market.folder / "simple" / AGENTS / f"index.{suffix}"
        replace_in(page, "../../files/", "../../../")
    finding = findings(market, market.folder)[OURS]
    assert finding["status"] == "differs"
    assert "the page links to a file that is not in the index" in finding["details"]


def test_metadata_that_resolvers_would_believe(market: Market) -> None:
    with (market.files / f"{OURS}.metadata").open("a") as file:
        file.write("Requires-Dist: other\n")
    details = findings(market, market.folder)[OURS]["details"]
    assert details == [f"{OURS}.metadata is not the wheel's METADATA"]


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [
        ('"release": "1.8.9"', '"release": "1.8.8"', "speaks of revision 1 of 1.8.8"),
        ('"revision": 1', '"revision": 2', "speaks of revision 2 of 1.8.9"),
        ("livekit_agents-1.8.9-py3", "livekit_agents-1.8.8-py3", "source that is not ours"),
        (f'"name": "{OURS}"', '"name": "x.whl"', "speaks of another file"),
        ('"kind"', '"kinds"', "cannot be read"),
    ],
)
def test_a_statement_that_lies(market: Market, old: str, new: str, detail: str) -> None:
    replace_in(market.files / f"{OURS}.provenance.json", old, new)
    (finding,) = market.audit(market.files / OURS, code=25)
    assert any(detail in line for line in finding["details"]), finding


@pytest.mark.parametrize("damage", ["", "{", '{"files": 3}', "[" * 100_000])
def test_an_index_that_cannot_be_read(market: Market, damage: str, run_verb: RunVerb) -> None:
    page = market.folder / "simple" / AGENTS / "index.html"
    page.with_suffix(".json").write_text(damage) if damage else page.unlink()
    ran = run_verb("audit", market.folder, "--patches", market.workspace.patches)
    assert (ran.code, "is no simple index" in ran.err) == (25, True)


# -- what cannot be compared --------------------------------------------------------------------


def test_a_series_that_moved_on(market: Market) -> None:
    """Other patches than those that were published: the next step says which they were."""
    path = market.workspace.patches / "guard/1.0.patch"
    path.write_text(engine_patch(line9="second = 2"))
    finding = findings(market, market.folder)[OURS]
    assert finding["status"] == "moved"
    assert f"git log -S {market.made.series_digest}" in finding["next_step"]
    assert f"{ENGINE} has another content" in finding["details"]


@pytest.mark.parametrize(("recorded", "status"), [(2, "moved"), (1, "differs"), (None, "differs")])
def test_a_revision_that_the_catalogue_left_behind(
    market: Market, recorded: int | None, status: str
) -> None:
    """Without a statement only the catalogue knows whether another series made the wheel."""
    release = market.made.release
    (market.workspace.patches / "guard/1.0.patch").write_text(engine_patch(line9="second = 2"))
    if recorded:
        digest = Series.load(market.workspace.patches).digest(release.version)
        row = Row(recorded, digest, {})
        record(market.workspace.catalogue, {release.version: row}, {release.version: release})
    (market.files / f"{OURS}.provenance.json").unlink()
    (finding,) = market.audit(market.files / OURS, code=25)
    assert finding["status"] == status
    assert ("knows no revision 1 of 1.8.9" in finding["next_step"]) == (status == "moved")


def test_unknown(market: Market, tmp_path: Path) -> None:
    """A name of no origin, one that PyPI does not have, and one that the release does not have."""
    for name in (
        "requests-2.0-py3-none-any.whl",
        "livekit_agents-9.9.9+dispatched.1-py3-none-any.whl",
        "livekit_agents-1.8.9+dispatched.1-py2-none-any.whl",
    ):
        path = Path(shutil.copy(market.files / OURS, tmp_path / name))
        (finding,) = market.audit(path, code=25)
        assert finding["status"] == "unknown"
        assert finding["details"]


def test_nothing_to_audit(market: Market, tmp_path: Path, run_verb: RunVerb) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        ran = run_verb("audit", tmp_path / name)
        assert (ran.code, "nothing to audit" in ran.err) == (25, True)


def test_an_address_is_no_path(run_verb: RunVerb) -> None:
    """One that is too long for a file's name was printed with its password."""
    ran = run_verb("audit", f"http://somebody:secret@127.0.0.1:9/{'x' * 5000}/")
    assert ran.code == 12
    assert "secret" not in ran.err


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
        ("livekit_agents-1.8.9+other.1-py3-none-any.whl", "", 0),
        ("livekit_dispatched-1.8.9-py3-none-any.whl", "", 0),
        ("requests-2.0-py3-none-any.whl", "", 0),
        ("nonsense.whl", "", 0),
    ],
)
def test_what_a_name_stands_for(market: Market, name: str, release: str, revision: int) -> None:
    origin = Origin(Version(release), revision) if release else None
    assert origin_of(name, Series.load(market.workspace.patches)) == origin


def test_a_partner_belongs_to_the_first_release_that_has_it(market: Market) -> None:
    older = artefact(PLUGIN, "1.8.7")
    catalogue: Any = {
        Version(version): Entry(Version(version), (artefact(AGENTS, version), older))
        for version in ("1.8.9", "1.8.8")
    }
    series = Series.load(market.workspace.patches)
    remaker = Remaker(Settings(market.workspace), series, catalogue)
    assert remaker.origin(older.filename) == Origin(Version("1.8.8"), 0)


# -- environments: every installed file is compared with a wheel made again ---------------------

PATCHED = "livekit-agents 1.8.9+dispatched.1"
INSTALLED = {
    PATCHED: "ours",
    "livekit-dispatched 1.8.9.1": "ours",
    "livekit-plugins-openai 1.8.9": "official",
}


@pytest.fixture
def site(market: Market, tmp_path: Path) -> Path:
    """Where the published release is installed, each file a copy of its own."""
    wheels = [market.files / name for name in GOOD]
    environment = make_environment(tmp_path / "env", *wheels)
    return next(environment.glob("lib/python*/site-packages"))


def test_an_environment(market: Market, site: Path) -> None:
    environment = site.parents[2]
    subprocess.run([environment / "bin/python", "-m", "compileall", "-q", site], check=True)
    for target in (environment, environment / "bin/python", site):
        assert statuses(market.audit(target, code=0)) == INSTALLED


def test_an_environment_that_pip_made(market: Market, tmp_path: Path) -> None:
    """pip writes RECORD in another order and form."""
    target = tmp_path / "target"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    wheels = [str(market.files / name) for name in GOOD]
    subprocess.run([*command, "--target", str(target), *wheels], check=True)
    assert statuses(market.audit(target, code=0)) == INSTALLED


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda s: (s / ENGINE).write_text("edited"), f"{ENGINE} was altered"),
        (lambda s: (s / ENGINE).unlink(), f"{ENGINE} is missing"),
        (
            lambda s: (s / "livekit/agents/sitting.py").write_text(""),
            "livekit/agents/sitting.py is in no wheel",
        ),
        (
            lambda s: next(s.glob("livekit_agents-*/RECORD")).write_text(""),
            f"RECORD's row of {ENGINE} is not the wheel's",
        ),
    ],
    ids=["edited", "missing", "extra", "record"],
)
def test_an_environment_that_was_changed(
    market: Market, site: Path, change: Callable[[Path], object], detail: str
) -> None:
    change(site)
    result = findings(market, site)
    assert statuses(list(result.values())) == INSTALLED | {PATCHED: "differs"}
    assert detail in result[PATCHED]["details"]


def test_an_environment_of_another_series(market: Market, site: Path) -> None:
    """Its metapackage says which series; the checkout's is another by now."""
    path = market.workspace.patches / "guard/1.0.patch"
    path.write_text(engine_patch(line9="second = 2"))
    result = findings(market, site)
    assert statuses(list(result.values())) == {
        name: "official" if status == "official" else "moved" for name, status in INSTALLED.items()
    }
    assert f"git log -S {market.made.series_digest}" in result[PATCHED]["next_step"]


def test_an_environment_of_a_wheel_for_another_platform(market: Market, site: Path) -> None:
    replace_in(next(site.glob("livekit_agents-*/WHEEL")), "py3-none-any", "py3-none-win32")
    assert findings(market, site)[PATCHED]["status"] == "unknown"


def test_an_environment_with_nothing_of_ours(tmp_path: Path, run_verb: RunVerb) -> None:
    environment = make_environment(tmp_path / "bare", make_wheel(tmp_path, "other", "1.0"))
    ran = run_verb("audit", environment)
    assert (ran.code, "has none of" in ran.err) == (25, True)


def test_an_environment_of_a_version_that_nobody_has(
    market: Market, site: Path, tmp_path: Path
) -> None:
    install(site.parents[2], make_official(tmp_path / "x", AGENTS, "9.9.9"))
    assert findings(market, site)["livekit-agents 9.9.9"]["status"] == "unknown"
