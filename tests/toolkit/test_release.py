"""Asking an index for a release, and fetching its wheels."""

from __future__ import annotations

import hashlib
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from making import AGENTS, PLUGIN, Index, make_wheel
from packaging.version import Version

from toolkit.releases.download import cached_release, fetch, fetch_all
from toolkit.releases.pypi import PyPI
from toolkit.releases.release import Artefact, Release
from toolkit.util.errors import (
    HashMismatch,
    NotWritable,
    UnknownRelease,
    Unreachable,
    YankedRelease,
)
from toolkit.util.workspace import Workspace

JANUARY, FEBRUARY, MARCH = (datetime(2026, month, 1, 12, tzinfo=UTC) for month in (1, 2, 3))


def offer(
    index: Index,
    folder: Path,
    name: str,
    version: str,
    when: datetime = JANUARY,
    requires: str | None = None,
) -> Path:
    path = make_wheel(folder, name, version, requires=None if requires is None else [requires])
    index.add(path, when)
    return path


@pytest.fixture
def pair(index: Index, tmp_path: Path) -> Index:
    """An index with one release of both."""
    for name in (AGENTS, PLUGIN):
        offer(index, tmp_path / "w", name, "1.8.9")
    return index


def found(index: Index, workspace: Workspace, version: str = "1.8.9") -> Release:
    with PyPI(index.url, workspace=workspace) as pypi:
        return pypi.find(version)


def agents_wheel(index: Index, workspace: Workspace) -> Artefact:
    return found(index, workspace).of(AGENTS)[0]


def test_release_is_parsed(pair: Index, workspace: Workspace, tmp_path: Path) -> None:
    offer(pair, tmp_path / "w", PLUGIN, "1.8.8", MARCH)
    pair.uploads["livekit_plugins_openai-1.8.9-py3-none-any.whl"] = FEBRUARY
    release = found(pair, workspace)
    assert release.version == Version("1.8.9")
    assert release.uploaded == FEBRUARY
    agents, plugin = release.artefacts
    assert (agents.distribution, plugin.distribution) == (AGENTS, PLUGIN)
    content = pair.files[agents.filename]
    assert agents == Artefact(
        distribution=AGENTS,
        version="1.8.9",
        filename="livekit_agents-1.8.9-py3-none-any.whl",
        url=f"{pair.url.removesuffix('simple/')}files/{agents.filename}",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        upload_time=JANUARY,
        requires_python=">=3.10",
        yanked=None,
    )


def test_newest_is_stable_and_not_yanked(pair: Index, workspace: Workspace, tmp_path: Path) -> None:
    for version in ("1.8.10", "1.9.0", "2.0.0b1"):
        path = offer(pair, tmp_path / "w", AGENTS, version)
        if version == "1.9.0":
            pair.yanked[path.name] = "broken"
    pair.files["livekit-agents-3.0.0.tar.gz"] = b"sdist"
    pair.files["livekit_agents-4.whl"] = b"badly named"
    for name in list(pair.files)[-2:]:
        pair.uploads[name] = JANUARY
    with PyPI(pair.url, workspace=workspace) as pypi:
        assert pypi.newest() == Version("1.8.10")


def test_unknown_release_names_close_ones(
    pair: Index, workspace: Workspace, tmp_path: Path
) -> None:
    offer(pair, tmp_path / "w", AGENTS, "1.7.0")
    for wanted in ("1.8.99", "nonsense"):
        with pytest.raises(UnknownRelease, match=wanted) as caught:
            found(pair, workspace, wanted)
        assert "1.8.9" in caught.value.next_step


def test_release_without_wheels_is_unknown(pair: Index, workspace: Workspace) -> None:
    pair.files["livekit-agents-3.0.0.tar.gz"] = b"sdist"
    pair.uploads["livekit-agents-3.0.0.tar.gz"] = JANUARY
    with pytest.raises(UnknownRelease, match=r"3\.0\.0"):
        found(pair, workspace, "3.0.0")


def test_yanked_release(pair: Index, workspace: Workspace) -> None:
    pair.yanked["livekit_agents-1.8.9-py3-none-any.whl"] = "stuck agents"
    with pytest.raises(YankedRelease, match="stuck agents"):
        found(pair, workspace)
    with PyPI(pair.url, workspace=workspace) as pypi:
        assert pypi.find("1.8.9", yanked=True).of(AGENTS)[0].yanked == "stuck agents"


PLUGINS = {
    "1.3.11": (JANUARY, "livekit-agents>=1.3.11"),
    "1.3.12": (JANUARY, "livekit-agents[codecs]>=1.3.12"),
    "1.3.13": (JANUARY, "livekit-agents<1.4,>=1.3.12"),
    "1.4.0rc2": (JANUARY, "livekit-agents>=1.4.0rc2"),
    "1.4.1": (MARCH, "livekit-agents>=1.3"),
    "0.12.0": (JANUARY, "livekit-agents>=0.12"),
}


def test_missing_partner(index: Index, workspace: Workspace, tmp_path: Path) -> None:
    offer(index, tmp_path / "w", AGENTS, "1.4.0", FEBRUARY)
    for version, (when, requires) in PLUGINS.items():
        offer(index, tmp_path / "w", PLUGIN, version, when, requires)
    with PyPI(index.url, workspace=workspace) as pypi:
        partners = [str(partner) for partner in pypi.partners(Version("1.4.0"))]
        assert partners == ["1.3.12", "1.3.11", "1.4.0rc2"]
        assert pypi.find("1.4.0").of(PLUGIN)[0].version == "1.3.12"


def test_yanked_partner_is_passed_over(index: Index, workspace: Workspace, tmp_path: Path) -> None:
    offer(index, tmp_path / "w", AGENTS, "1.4.0", FEBRUARY)
    for version in ("1.3.11", "1.3.12"):
        path = offer(index, tmp_path / "w", PLUGIN, version, *PLUGINS[version])
    index.yanked[path.name] = "broken"
    assert found(index, workspace, "1.4.0").of(PLUGIN)[0].version == "1.3.11"


def test_no_partner_at_all(index: Index, workspace: Workspace, tmp_path: Path) -> None:
    offer(index, tmp_path / "w", AGENTS, "1.4.0", FEBRUARY)
    for version in ("1.4.1", "0.12.0"):
        offer(index, tmp_path / "w", PLUGIN, version, *PLUGINS[version])
    with pytest.raises(UnknownRelease, match=f"no {PLUGIN} that goes with"):
        found(index, workspace, "1.4.0")


def test_several_platform_wheels(index: Index, workspace: Workspace, tmp_path: Path) -> None:
    for tag in ("cp310-abi3-win_amd64", "cp310-abi3-manylinux_2_28_x86_64"):
        index.add(make_wheel(tmp_path / "w", AGENTS, "2.0.0b1", tag=tag))
    offer(index, tmp_path / "w", PLUGIN, "2.0.0b1")
    assert len(found(index, workspace, "2.0.0b1").of(AGENTS)) == 2


def test_project_that_is_not_there(index: Index, workspace: Workspace) -> None:
    with pytest.raises(Unreachable, match=f"has no {AGENTS}"):
        found(index, workspace)


@pytest.mark.parametrize("fault", [403, 500, b"<html>", b'{"meta": {}}', "cut"])
def test_answer_that_is_none(pair: Index, workspace: Workspace, fault: int | str | bytes) -> None:
    pair.faults[AGENTS] = fault
    with pytest.raises(Unreachable, match="no usable answer"):
        found(pair, workspace)


def test_nobody_listens(workspace: Workspace, index: Index) -> None:
    del index
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(Unreachable, match="no usable answer"):
            found(Index(f"http://127.0.0.1:{port}/simple/"), workspace)


def test_index_is_named_by_the_environment(
    pair: Index, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", pair.url)
    with PyPI(workspace=workspace) as pypi:
        assert pypi.newest() == Version("1.8.9")


def test_release_is_remembered(pair: Index, workspace: Workspace) -> None:
    with pytest.raises(UnknownRelease, match="not in the cache"):
        cached_release("1.8.9", workspace)
    release = found(pair, workspace)
    assert cached_release("1.8.9", workspace) == release
    assert Release.from_json(release.to_json()) == release
    (workspace.releases / "1.8.9.json").write_text(
        release.to_json().replace('"url"', '"link"'), "utf-8"
    )
    with pytest.raises(UnknownRelease):
        cached_release("1.8.9", workspace)


def test_fetch_keeps_by_content(pair: Index, workspace: Workspace) -> None:
    release = found(pair, workspace)
    seen: list[int] = []
    paths = fetch_all(release, workspace, seen.append)
    for path, artefact in zip(paths, release.artefacts, strict=True):
        sha = artefact.sha256
        assert path == workspace.artefacts / sha[:2] / sha / artefact.filename
        assert path.read_bytes() == pair.files[artefact.filename]
    assert sum(seen) == sum(artefact.size for artefact in release.artefacts)
    pair.asked.clear()
    assert fetch_all(release, workspace) == paths
    assert pair.asked == []


def test_damaged_cache_is_fetched_again(pair: Index, workspace: Workspace) -> None:
    artefact = agents_wheel(pair, workspace)
    path = fetch(artefact, workspace)
    path.write_bytes(b"damaged")
    assert fetch(artefact, workspace).read_bytes() == pair.files[artefact.filename]


def kept(workspace: Workspace) -> list[Path]:
    return [path for path in workspace.artefacts.rglob("*") if path.is_file()]


@pytest.mark.parametrize("fault", ["cut", 404, 503])
def test_download_that_fails(pair: Index, workspace: Workspace, fault: int | str) -> None:
    artefact = agents_wheel(pair, workspace)
    pair.faults[artefact.filename] = fault
    pair.asked.clear()
    with pytest.raises(Unreachable, match="did not arrive whole"):
        fetch(artefact, workspace)
    assert kept(workspace) == []
    assert len(pair.asked) == (1 if fault == 404 else len(pair.asked))
    assert fault == 404 or len(pair.asked) >= 4


def test_download_that_is_cut_once(pair: Index, workspace: Workspace) -> None:
    artefact = agents_wheel(pair, workspace)
    pair.faults[artefact.filename] = "once"
    assert fetch(artefact, workspace).read_bytes() == pair.files[artefact.filename]


@pytest.mark.parametrize("grow", [0, 1, -1])
def test_wrong_hash(pair: Index, workspace: Workspace, grow: int) -> None:
    artefact = agents_wheel(pair, workspace)
    content = bytearray(pair.files[artefact.filename])
    content[100] ^= 1
    pair.faults[artefact.filename] = (
        bytes(content + b"x") if grow > 0 else bytes(content[: grow or None])
    )
    with pytest.raises(Unreachable if grow < 0 else HashMismatch):
        fetch(artefact, workspace)
    assert kept(workspace) == []


def test_one_of_two_fails(pair: Index, workspace: Workspace) -> None:
    release = found(pair, workspace)
    pair.faults[release.artefacts[1].filename] = 404
    with pytest.raises(Unreachable):
        fetch_all(release, workspace)
    assert [path.name for path in kept(workspace)] == [release.artefacts[0].filename]


def test_unusable_address(pair: Index, workspace: Workspace) -> None:
    artefact = replace(agents_wheel(pair, workspace), url="ftp://127.0.0.1/x.whl")
    with pytest.raises(Unreachable):
        fetch(artefact, workspace)


def test_cache_that_cannot_be_written(pair: Index, workspace: Workspace) -> None:
    artefact = agents_wheel(pair, workspace)
    workspace.artefacts.write_text("a file", "utf-8")
    with pytest.raises(NotWritable):
        fetch(artefact, workspace)


def test_many_at_once(pair: Index, workspace: Workspace) -> None:
    artefact = agents_wheel(pair, workspace)
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: fetch(artefact, workspace), range(16)))
    assert kept(workspace) == [paths.pop()]
    assert not paths


@pytest.mark.pypi
@pytest.mark.parametrize(
    ("version", "partner"),
    [("1.4.6", "1.4.6"), ("1.2.10", "1.2.9"), ("1.4.0", "1.3.12"), ("2.0.0b1", "1.8.6")],
)
def test_pairs_on_pypi(workspace: Workspace, version: str, partner: str) -> None:
    with PyPI(workspace=workspace) as pypi:
        release = pypi.find(version)
    assert {artefact.version for artefact in release.of(PLUGIN)} == {partner}
    assert release.version == Version(version)


@pytest.mark.pypi
@pytest.mark.parametrize("version", ["1.0.0", "1.0.1"])
def test_first_releases_have_no_partner(workspace: Workspace, version: str) -> None:
    with PyPI(workspace=workspace) as pypi, pytest.raises(UnknownRelease, match="goes with"):
        pypi.find(version)
