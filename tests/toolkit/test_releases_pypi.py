"""Ask an index for a release and its plugin."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

import pytest
from packaging.version import Version
from simple_index import Index
from upstream_index import FEBRUARY, JANUARY, MARCH, upload
from wheels import AGENTS, PLUGIN

from toolkit.releases.download import cached_release
from toolkit.releases.pypi import PyPI
from toolkit.releases.release import Artefact, Release
from toolkit.util.errors import UnknownRelease, Unreachable, YankedRelease
from toolkit.util.workspace import Workspace

WHEEL = "livekit_agents-1.8.9-py3-none-any.whl"


@pytest.fixture
def pypi(index: Index, workspace: Workspace, tmp_path: Path) -> PyPI:
    """An index with one release of both, of which the plugin is a month younger."""
    upload(index, tmp_path, "1.8.9", JANUARY, (AGENTS,))
    upload(index, tmp_path, "1.8.9", FEBRUARY, (PLUGIN,))
    return PyPI(index.url, workspace=workspace)


def test_a_release(pypi: PyPI, index: Index, tmp_path: Path, workspace: Workspace) -> None:
    upload(index, tmp_path, "1.8.8", MARCH, (PLUGIN,))
    with pytest.raises(UnknownRelease, match="not in the cache"):
        cached_release("1.8.9", workspace)
    with pypi:
        release = pypi.find("1.8.9")
    assert (release.version, release.uploaded) == (Version("1.8.9"), FEBRUARY)
    assert [a.distribution for a in release.artefacts] == [AGENTS, PLUGIN]
    assert {a.version for a in release.artefacts} == {"1.8.9"}
    assert release.artefacts[0] == Artefact(
        filename=WHEEL,
        url=f"{index.url.removesuffix('simple/')}files/{WHEEL}",
        sha256=hashlib.sha256(index.files[WHEEL]).hexdigest(),
        size=len(index.files[WHEEL]),
        upload_time=JANUARY,
        requires_python=">=3.10",
        yanked=None,
    )
    assert cached_release("1.8.9", workspace) == Release.from_json(release.to_json()) == release
    for old, new in (('"url"', '"link"'), ('"format": 2', '"format": 1'), ("{", "[")):
        damaged = release.to_json().replace(old, new, 1)
        (workspace.releases / "1.8.9.json").write_text(damaged)
        with pytest.raises(UnknownRelease):
            cached_release("1.8.9", workspace)


def test_the_newest_is_stable_and_not_yanked(pypi: PyPI, index: Index, tmp_path: Path) -> None:
    for version in ("1.8.10", "2.0.0b1", "1.9.0"):
        (name,) = upload(index, tmp_path, version, names=(AGENTS,))
    index.yanked[name] = "broken"
    for name in ("livekit-agents-3.0.0.tar.gz", "livekit_agents-4.whl"):
        index.files[name], index.uploads[name] = b"no wheel, or badly named", JANUARY
    with pypi:
        assert pypi.newest() == Version("1.8.10")


@pytest.mark.parametrize("name", ["1.8.99", "nonsense", "3.0.0"])
def test_unknown_releases_name_close_ones(
    pypi: PyPI, index: Index, tmp_path: Path, name: str
) -> None:
    upload(index, tmp_path, "1.7.0")
    sdist = "livekit-agents-3.0.0.tar.gz"
    index.files[sdist], index.uploads[sdist] = b"sdist", JANUARY
    with pypi, pytest.raises(UnknownRelease, match=f"no livekit-agents {name} with") as caught:
        pypi.find(name)
    assert "1.8.9" in caught.value.next_step


def test_a_yanked_release(pypi: PyPI, index: Index) -> None:
    index.yanked[WHEEL] = "stuck agents"
    with pypi:
        with pytest.raises(YankedRelease, match="stuck agents"):
            pypi.find("1.8.9")
        assert pypi.find("1.8.9", yanked=True).of(AGENTS)[0].yanked == "stuck agents"


PLUGINS: dict[str, tuple[datetime, str]] = {
    "1.3.11": (JANUARY, "livekit-agents>=1.3.11"),
    "1.3.12": (JANUARY, "livekit-agents[codecs]>=1.3.12"),
    "1.3.13": (JANUARY, "livekit-agents<1.4,>=1.3.12"),
    "1.4.0rc2": (JANUARY, "livekit-agents>=1.4.0rc2"),
    "1.4.1": (MARCH, "livekit-agents>=1.3"),
    "0.12.0": (JANUARY, "livekit-agents>=0.12"),
}


@pytest.mark.parametrize(
    ("plugins", "yanked", "partners"),
    [
        ([*PLUGINS], None, ["1.3.12", "1.3.11", "1.4.0rc2"]),
        (["1.3.11", "1.3.12"], "1.3.12", ["1.3.11"]),
        (["1.4.1", "0.12.0"], None, []),
    ],
)
def test_a_release_without_a_plugin_of_its_version(
    index: Index,
    workspace: Workspace,
    tmp_path: Path,
    plugins: list[str],
    yanked: str | None,
    partners: list[str],
) -> None:
    upload(index, tmp_path, "1.4.0", FEBRUARY, (AGENTS,))
    for version in plugins:
        when, requirement = PLUGINS[version]
        upload(index, tmp_path, version, when, (PLUGIN,), requires=[requirement])
    index.yanked[f"livekit_plugins_openai-{yanked}-py3-none-any.whl"] = "broken"
    with PyPI(index.url, workspace=workspace) as pypi:
        assert [*map(str, pypi.partners(Version("1.4.0")))] == partners
        if partners:
            assert pypi.find("1.4.0").of(PLUGIN)[0].version == partners[0]
        else:
            with pytest.raises(UnknownRelease, match=f"no {PLUGIN} that goes with"):
                pypi.find("1.4.0")


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        *((fault, "no usable answer") for fault in (403, 500, b"<html>", b'{"meta": {}}', "cut")),
        (404, f"has no {AGENTS}"),
    ],
)
def test_no_usable_answer(pypi: PyPI, index: Index, fault: int | str | bytes, problem: str) -> None:
    index.faults[AGENTS] = fault
    with pypi, pytest.raises(Unreachable, match=problem):
        pypi.find("1.8.9")


@pytest.mark.pypi
@pytest.mark.parametrize(
    ("version", "partner"),
    [
        ("1.4.6", "1.4.6"),
        ("1.2.10", "1.2.9"),
        ("1.4.0", "1.3.12"),
        ("2.0.0b1", "1.8.6"),
        ("1.0.0", None),
        ("1.0.1", None),
    ],
)
def test_pairs_on_pypi(workspace: Workspace, version: str, partner: str | None) -> None:
    with PyPI(workspace=workspace) as pypi:
        if partner is None:
            with pytest.raises(UnknownRelease, match="goes with"):
                pypi.find(version)
        else:
            plugin = pypi.find(version).of(PLUGIN)
            assert {artefact.version for artefact in plugin} == {partner}
