"""``update.py``: what is on PyPI, into the catalogue; and nothing of a mirror that is not PyPI."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from packaging.version import Version
from series import engine_patch, write_series
from simple_index import Index
from upstream_index import FEBRUARY, JANUARY, MARCH, Upstream
from verbs import RunVerb
from wheels import AGENTS, PLUGIN

from toolkit.releases.catalogue import Row, record
from toolkit.releases.official import Settings
from toolkit.releases.pypi import ENDPOINT_VARIABLE
from toolkit.util.errors import UnknownRelease
from toolkit.util.workspace import CACHE_VARIABLE, Workspace

ROW = Row(2, "5e" * 32, {"livekit_agents-1.8.9+dispatched.2-py3-none-any.whl": "ab" * 32})
Page = dict[str, Any]
Edit = Callable[[Page], object]


def wheel(version: str) -> str:
    return f"livekit_agents-{version}-py3-none-any.whl"


@pytest.fixture
def upstream(upstream: Upstream) -> Upstream:
    """Two releases, one later than the other, and two before 1.0; no catalogue."""
    upstream.upload("1.8.8", JANUARY)
    upstream.upload("1.8.9", FEBRUARY)
    upstream.upload("0.12.0", JANUARY)
    upstream.upload("1.0.0rc1", JANUARY, names=(AGENTS,))
    return upstream


def update(upstream: Upstream, *args: object) -> dict[str, str]:
    """What happened to each release that changed."""
    changes: dict[str, str] = upstream.run("update", "--json", *args).json
    return changes


def test_every_release_since_1_0(upstream: Upstream) -> None:
    assert [*update(upstream)] == ["1.8.8", "1.8.9"]
    entry = upstream.catalogue()[Version("1.8.9")]
    agents, plugin = entry.official
    assert (agents.distribution, plugin.distribution) == (AGENTS, PLUGIN)
    size = len(upstream.index.files[agents.filename])
    assert (agents.size, agents.upload_time) == (size, FEBRUARY)
    assert (agents.requires_python, agents.yanked, entry.partner) == (">=3.10", None, "1.8.9")
    path = upstream.workspace.catalogue
    assert not re.search(r"https?:|127\.0\.0\.1", path.read_text())
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert update(upstream) == {}
    assert "nothing changed\n" in upstream.run("update").out
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_only_what_changed_on_pypi(upstream: Upstream) -> None:
    update(upstream)
    path = upstream.workspace.catalogue
    record(path, {Version("1.8.9"): ROW}, {})
    before = path.read_text()
    upstream.index.yanked[wheel("1.8.8")] = 'a "bad"\x7fone'
    upstream.upload("1.8.10", MARCH, names=(AGENTS,))
    upstream.upload("1.0.0", datetime(2025, 1, 1, tzinfo=UTC), names=(AGENTS,))
    assert update(upstream) == {
        "1.0.0": "new, without a plugin",
        "1.8.8": r'yanked: a "bad"\x7fone',
        "1.8.10": "new, with plugin 1.8.9",
    }
    catalogue = upstream.catalogue()
    assert catalogue[Version("1.8.8")].yanked == r'a "bad"\x7fone'
    assert catalogue[Version("1.8.9")].row == ROW
    for line in before.splitlines():
        assert "1.8.8-py3" in line or f"{line}\n" in path.read_text()
    with pytest.raises(UnknownRelease, match=r"goes with livekit-agents 1\.0\.0"):
        Settings(upstream.workspace).find("1.0.0")
    upstream.upload("1.8.10", MARCH, names=(PLUGIN,))
    del upstream.index.yanked[wheel("1.8.8")]
    assert upstream.run("update").out == (
        "1.8.8: not yanked any more\n1.8.10: now with plugin 1.8.10\n2 releases changed\n"
    )


def test_as_of_a_day(upstream: Upstream) -> None:
    assert [*update(upstream, "--as-of", "2026-01-01T12:00:00Z")] == ["1.8.8"]
    assert [*update(upstream)] == ["1.8.9"]
    # of 1.8.10 only the agents are there in the middle of February
    upstream.upload("1.8.10", FEBRUARY, names=(AGENTS,))
    upstream.upload("1.8.10", MARCH, names=(PLUGIN,))
    assert [*update(upstream)] == ["1.8.10"]
    before = upstream.workspace.catalogue.read_bytes()
    for day in ("2026-01-31T00:00:00Z", "2026-02-15"):
        assert update(upstream, "--as-of", day) == {}
        assert upstream.workspace.catalogue.read_bytes() == before


def test_the_catalogue_saves_requests(upstream: Upstream) -> None:
    update(upstream)
    index, workspace = upstream.index, upstream.workspace
    index.asked.clear()
    assert str(Settings(workspace).find("1.8.9").version) == "1.8.9"
    assert index.asked == []
    Settings(workspace).fetch("1.8.9")
    assert sum(path.endswith(".whl") for path in index.asked) == 2
    index.asked.clear()
    assert len(Settings(workspace, pypi="http://127.0.0.1:9/").fetch("1.8.9").paths) == 2
    assert index.asked == []


def test_an_index_with_another_file(upstream: Upstream) -> None:
    update(upstream)
    index = upstream.index
    index.files[wheel("1.8.9")] += b" "
    message = f"another {wheel('1.8.9')} than patches/releases.toml"
    assert message in upstream.run("fetch", "1.8.9", code=13).err
    assert message in upstream.run("update", code=13).err
    del index.files[wheel("1.8.9")]
    assert "(any more)" in upstream.run("fetch", "1.8.9", code=10).err


def test_the_newest_offline_and_as_of(upstream: Upstream) -> None:
    upstream.index.yanked[wheel("1.8.9")] = ""
    update(upstream)
    workspace, new_year = upstream.workspace, datetime(2025, 12, 31, tzinfo=UTC)
    assert str(Settings(workspace, offline=True).find(None).version) == "1.8.8"
    with pytest.raises(UnknownRelease, match="did not exist on 2025-12-31"):
        Settings(workspace, as_of=new_year).find("1.8.8")
    with pytest.raises(UnknownRelease):
        Settings(workspace, offline=True, as_of=new_year).find(None)


@pytest.fixture
def mirrored(upstream: Upstream) -> Upstream:
    """Six releases in the catalogue, two of them yanked and one native; and a series."""
    upstream.index.files.clear()
    for number, version in enumerate(("1.8.5", "1.8.6", "1.8.7", "1.8.8", "1.8.9"), 1):
        upstream.upload(version, datetime(2026, 1, number, 12, 0, 0, 5000, UTC))
    for tag in ("cp310-abi3-win_amd64", "cp310-abi3-macosx_11_0_arm64"):
        when = datetime(2026, 1, 4, 12, 0, 0, 5000, UTC)
        upstream.upload("1.9.0b1", when, names=(AGENTS,), tag=tag)
    upstream.index.yanked |= {wheel("1.8.5"): "broken", wheel("1.8.6"): "broken"}
    patches = {"guard": {"1.0": engine_patch(line9="first = 1")}}
    write_series(upstream.workspace.patches, patches)
    update(upstream)
    return upstream


def files(page: Page, part: str = "") -> list[dict[str, Any]]:
    return [file for file in page["files"] if part in file["filename"]]


def without(*keys: str, part: str = "") -> Edit:
    """Take facts away from the files whose name holds ``part``."""
    return lambda page: [file.pop(key, None) for file in files(page, part) for key in keys]


def lacking(*parts: str, project: str = "") -> Edit:
    """Take away files with one of ``parts`` in their name."""

    def edit(page: Page) -> None:
        if project in page["name"]:
            page["files"] = [
                f for f in page["files"] if not any(part in f["filename"] for part in parts)
            ]

    return edit


def with_facts(part: str = "", **facts: Any) -> Edit:
    """Change facts of the files whose name holds ``part``."""
    changes = {key.replace("_", "-"): value for key, value in facts.items()}
    return lambda page: [file.update(changes) for file in files(page, part)]


def sdists(page: Page) -> None:
    for file in files(page):
        file["filename"] = file["filename"].partition("-py3")[0] + ".tar.gz"


def older_api(page: Page) -> None:
    page["meta"]["api-version"] = "1.0"
    without("size", "upload-time")(page)


CANNOT_SERVE: dict[str, tuple[Edit, str]] = {
    "no times": (without("upload-time"), "tells no upload time (PEP 700) of 7 of 7 wheels"),
    "one time missing": (without("upload-time", part="1.8.7"), "of 1 of 7 wheels"),
    "no sizes": (without("size"), "tells no size of 7"),
    "null times": (with_facts(upload_time=None), "tells no upload time"),
    "an old API": (older_api, "tells no size and no upload time"),
    "only md5": (with_facts(hashes={"md5": "0" * 32}), "tells no sha256"),
    "no files": (sdists, "lists no wheel"),
    "lags": (lacking("-1.8.9-"), "has not all that patches/releases.toml knows"),
    "lags by several": (lacking("-1.8.9-", "-1.8.8-", "-1.9.0"), "6 wheels of 1.8.8, 1.8.9, 1.9"),
    "holds a part": (lacking("-1.8.5-", "-1.8.6-"), "wheels of 1.8.5, 1.8.6 are missing"),
    "an old plugin page": (lacking("-1.8.9-", project=PLUGIN), "1 wheels of 1.8.9 are missing"),
    "an old agents page": (lacking("-1.8.9-", project=AGENTS), "1 wheels of 1.8.9 are missing"),
    "no newest version": (lacking("-1.9.0b1-"), "2 wheels of 1.9.0b1 are missing"),
    "another size": (with_facts("1.8.7", size=7), "1.8.7-py3-none-any.whl: 7 bytes, uploaded 2026"),
    "no plugin": (lacking(".whl", project=PLUGIN), "has no livekit-plugins-openai"),
    "one platform": (lacking("win_amd64"), "such as livekit_agents-1.9.0b1-cp310-abi3-win"),
    "its own days": (with_facts(upload_time="2026-05-01T00:00:00Z"), "not tell what PyPI tells"),
    "no yanks": (without("yanked"), "it drops yanks"),
    "all unyanked": (with_facts(yanked=False), "it drops yanks"),
}


@pytest.mark.parametrize("fault", CANNOT_SERVE)
def test_a_mirror_that_cannot_serve(
    mirrored: Upstream, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENDPOINT_VARIABLE)
    before = mirrored.workspace.catalogue.read_bytes()
    mirrored.index.edit, problem = CANNOT_SERVE[fault]
    out = mirrored.folder / "index"
    for args in (("update",), ("release", "new", "--index", out)):
        refused = mirrored.run(*args, "--pypi", mirrored.index.url, code=12).err
        assert problem in refused
        assert "--pypi URL" in refused
        assert mirrored.workspace.catalogue.read_bytes() == before
    assert not out.exists()


def noisy(page: Page) -> None:
    """What a mirror may do: spell otherwise, cut seconds, list files twice, and patched wheels."""
    page["name"] = page["name"].replace("-", "_").title()
    last = page["files"][-1]
    name = last["filename"].replace("-1.", "-9.", 1).replace("-py3", "+dispatched.1-py3")
    name = name.replace("-cp310", "+dispatched.1-cp310")
    for file in files(page):
        file["upload-time"] = file["upload-time"].replace(".005000", "")
        file["hashes"] = {"sha256": file["hashes"]["sha256"].upper()}
        del file["requires-python"]
    twin = {**page["files"][0], "url": "https://example.org/x.whl"}
    page["files"] += [twin, {**last, "filename": name, "yanked": False}]


def test_a_mirror_that_can_serve(mirrored: Upstream) -> None:
    before = mirrored.workspace.catalogue.read_bytes()
    mirrored.index.edit = noisy
    assert update(mirrored) == {}
    assert mirrored.workspace.catalogue.read_bytes() == before
    assert str(Settings(mirrored.workspace).find(None).version) == "1.8.9"


@pytest.mark.parametrize("edit", [without("upload-time", "size"), with_facts(hashes={})])
def test_a_recorded_release_needs_only_addresses(mirrored: Upstream, edit: Edit) -> None:
    mirrored.index.edit = edit
    for path in Settings(mirrored.workspace).fetch("1.8.9").paths:
        assert path.read_bytes() == mirrored.index.files[path.name]


def test_gone_is_one_release_on_pages_that_have_all_others(mirrored: Upstream) -> None:
    index, workspace = mirrored.index, mirrored.workspace
    index.edit = lacking("-1.8.7-")
    assert update(mirrored) == {"1.8.7": "gone from PyPI"}
    assert update(mirrored) == {}
    index.edit = lacking("-1.8.7-", "-1.8.9-", "win_amd64")
    assert "update --gone 1.8.9" in mirrored.run("update", code=12).err
    update(mirrored, "--gone", "1.8.9", "--gone", "1.9.0b1", "--gone", "1.8.8")
    catalogue = mirrored.catalogue()
    assert [str(v) for v, entry in catalogue.items() if entry.gone] == ["1.8.7", "1.8.9"]
    assert len(catalogue[Version("1.9.0b1")].official) == 2
    for offline in (False, True):
        assert str(Settings(workspace, offline=offline).find(None).version) == "1.8.8"
    index.edit = lambda page: None
    assert [*update(mirrored)] == ["1.8.7", "1.8.9", "1.9.0b1"]
    assert not any(entry.gone for entry in mirrored.catalogue().values())


def test_the_newest_never_goes_backwards_in_silence(mirrored: Upstream) -> None:
    mirrored.index.edit = lacking("-1.8.9-")
    refused = mirrored.run("fetch", code=12).err
    assert "no livekit-agents newer than 1.8.8, though" in refused
    mirrored.index.edit = lambda page: None
    mirrored.index.yanked[wheel("1.8.9")] = "worse"
    assert "1.8.9 was yanked: the newest is 1.8.8 now" in mirrored.run("fetch").err


@pytest.mark.pypi
def test_what_is_on_pypi(
    workspace: Workspace, run_verb: RunVerb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    workspace.patches.mkdir()
    pypi = Upstream(Index(), workspace, workspace.root, run_verb)
    assert len(update(pypi)) >= 115
    catalogue = pypi.catalogue()
    partners = {str(v): e.partner for v, e in catalogue.items() if e.partner != str(v)}
    expected = {"1.0.0": "", "1.0.1": "", "1.2.10": "1.2.9"}
    assert partners == {**expected, "1.4.0": "1.3.12", "2.0.0b1": "1.8.6"}
    yanked = {str(version) for version, entry in catalogue.items() if entry.yanked is not None}
    assert yanked >= {"1.1.2", "1.2.7", "1.3.4", "1.5.18"}
    assert len(catalogue[Version("2.0.0b1")].official) == 8
    assert update(pypi) == {}
