"""Ask an index for a release and its plugin."""

from __future__ import annotations

import hashlib
from datetime import datetime

import pytest
from packaging.version import Version
from upstream_index import FEBRUARY, JANUARY, MARCH, Upstream
from wheels import AGENTS, PLUGIN

from toolkit.releases.download import cached_release
from toolkit.releases.pypi import PyPI
from toolkit.releases.release import Artefact, Release
from toolkit.util.errors import UnknownRelease, Unreachable, YankedRelease

WHEEL = "livekit_agents-1.8.9-py3-none-any.whl"


@pytest.fixture
def pypi(upstream: Upstream) -> PyPI:
    """An index with one release of both, of which the plugin is a month younger."""
    upstream.upload("1.8.9", JANUARY, (AGENTS,))
    upstream.upload("1.8.9", FEBRUARY, (PLUGIN,))
    return PyPI(workspace=upstream.workspace)


def test_a_release(pypi: PyPI, upstream: Upstream) -> None:
    index, workspace = upstream.index, upstream.workspace
    upstream.upload("1.8.8", MARCH, (PLUGIN,))
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


def test_the_newest_and_unknown_releases(pypi: PyPI, upstream: Upstream) -> None:
    index = upstream.index
    for version in ("1.8.10", "2.0.0b1", "1.9.0"):
        (name,) = upstream.upload(version, names=(AGENTS,))
    index.yanked[name] = "broken"
    for name in ("livekit-agents-3.0.0.tar.gz", "livekit_agents-4.whl"):
        index.files[name], index.uploads[name] = b"no wheel, or badly named", JANUARY
    with pypi:
        assert pypi.newest() == Version("1.8.10")
        close = {
            "1.8.99": "1.8.9, 1.8.10",
            "x": "2.0.0b1, 1.9.0, 1.8.10",
            "3.0.0": "2.0.0b1",
        }
        for unknown, names in close.items():
            with pytest.raises(UnknownRelease, match=f"no {AGENTS} {unknown} with") as caught:
                pypi.find(unknown)
            assert caught.value.next_step == f"did you mean {names}?"


def test_a_yanked_release(pypi: PyPI, upstream: Upstream) -> None:
    upstream.index.yanked[WHEEL] = "stuck agents"
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
    upstream: Upstream, plugins: list[str], yanked: str | None, partners: list[str]
) -> None:
    upstream.upload("1.4.0", FEBRUARY, (AGENTS,))
    for version in plugins:
        when, requirement = PLUGINS[version]
        upstream.upload(version, when, (PLUGIN,), requires=[requirement])
    upstream.index.yanked[f"livekit_plugins_openai-{yanked}-py3-none-any.whl"] = "broken"
    with PyPI(workspace=upstream.workspace) as pypi:
        assert [*map(str, pypi.partners(Version("1.4.0")))] == partners
        if partners:
            assert pypi.find("1.4.0").of(PLUGIN)[0].version == partners[0]
        else:
            with pytest.raises(UnknownRelease, match=f"no {PLUGIN} that goes with"):
                pypi.find("1.4.0")


@pytest.mark.parametrize("fault", [403, 404, 500, b"<html>", b'{"meta": {}}', "cut"])
def test_no_usable_answer(pypi: PyPI, upstream: Upstream, fault: int | str | bytes) -> None:
    upstream.index.faults[AGENTS] = fault
    problem = f"has no {AGENTS}" if fault == 404 else "no usable answer"
    with pypi, pytest.raises(Unreachable, match=problem):
        pypi.find("1.8.9")
