"""``update.py``: what is on PyPI, into the catalogue, and nothing else."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from making import AGENTS, PLUGIN, Index, make_wheel
from packaging.version import Version

import update as verb
from toolkit.releases.catalogue import Catalogue, Row, record
from toolkit.releases.official import fetch_release, find_release
from toolkit.util.errors import UnknownRelease
from toolkit.util.workspace import CACHE_VARIABLE, Workspace

JANUARY, FEBRUARY, MARCH = (datetime(2026, month, 1, 12, tzinfo=UTC) for month in (1, 2, 3))
ROW = Row(2, "5e" * 32, {"livekit_agents-1.8.9+dispatched.2-py3-none-any.whl": "ab" * 32})


def offer(index: Index, folder: Path, name: str, version: str, when: datetime) -> str:
    path = make_wheel(folder, name, version)
    index.add(path, when)
    return path.name


@pytest.fixture
def here(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """Two releases, one later than the other, and two before 1.0."""
    for version, when in (("1.8.8", JANUARY), ("1.8.9", FEBRUARY), ("0.12.0", JANUARY)):
        for name in (AGENTS, PLUGIN):
            offer(index, tmp_path / "w", name, version, when)
    offer(index, tmp_path / "w", AGENTS, "1.0.0rc1", JANUARY)
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    workspace.patches.mkdir()
    return workspace


def update(here: Workspace, *words: str) -> int:
    return verb.main(["--patches", str(here.patches), *words])


def said(here: Workspace, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    assert update(here, "--json", *words) == 0
    answer: dict[str, str] = json.loads(capsys.readouterr().out)
    return answer


def test_every_release_since_1_0(
    here: Workspace, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(said(here, capsys)) == ["1.8.8", "1.8.9"]
    entry = Catalogue.read(here.catalogue)[Version("1.8.9")]
    agents, plugin = entry.official
    assert (agents.distribution, plugin.distribution) == (AGENTS, PLUGIN)
    assert (agents.size, agents.upload_time) == (len(index.files[agents.filename]), FEBRUARY)
    assert (agents.requires_python, agents.yanked, entry.partner) == (">=3.10", None, "1.8.9")
    assert not re.search(r"https?:|127\.0\.0\.1", here.catalogue.read_text())


def test_again_changes_nothing(here: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    said(here, capsys)
    before = here.catalogue.read_bytes(), here.catalogue.stat().st_mtime_ns
    assert said(here, capsys) == {}
    assert (here.catalogue.read_bytes(), here.catalogue.stat().st_mtime_ns) == before
    assert update(here) == 0
    assert "nothing changed" in capsys.readouterr().out


def test_only_what_changed_on_pypi(
    here: Workspace, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(here, capsys)
    record(here.catalogue, {Version("1.8.9"): ROW}, {})
    before = here.catalogue.read_text()
    index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = 'a "bad"\x7fone'
    offer(index, tmp_path / "w", AGENTS, "1.8.10", MARCH)
    answer = said(here, capsys)
    assert list(answer) == ["1.8.8", "1.8.10"]
    assert answer["1.8.8"].startswith('yanked: a "bad"')
    assert answer["1.8.10"] == "new, with plugin 1.8.9"
    found = Catalogue.read(here.catalogue)
    assert found[Version("1.8.8")].yanked == r'a "bad"\x7fone'
    assert found[Version("1.8.9")].row == ROW
    for line in before.splitlines():
        assert "1.8.8-py3" in line or f"{line}\n" in here.catalogue.read_text()


def test_a_release_that_pypi_has_no_more(
    here: Workspace, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    said(here, capsys)
    gone = {name: index.files.pop(name) for name in list(index.files) if "-1.8.8-" in name}
    assert said(here, capsys) == {"1.8.8": "gone from PyPI"}
    assert Catalogue.read(here.catalogue)[Version("1.8.8")].gone
    assert said(here, capsys) == {}
    index.files |= gone
    assert list(said(here, capsys)) == ["1.8.8"]
    assert not Catalogue.read(here.catalogue)[Version("1.8.8")].gone


def test_as_of_a_day(here: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(said(here, capsys, "--as-of", "2026-01-01")) == ["1.8.8"]
    assert list(said(here, capsys)) == ["1.8.9"]
    # what is known of later releases stays
    assert said(here, capsys, "--as-of", "2026-01-31T00:00:00Z") == {}
    assert set(map(str, Catalogue.read(here.catalogue))) == {"1.8.8", "1.8.9"}


def test_as_of_a_day_between_two_uploads(
    here: Workspace, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is known of a release that was whole only later stays."""
    offer(index, tmp_path / "w", AGENTS, "1.8.10", FEBRUARY)
    offer(index, tmp_path / "w", PLUGIN, "1.8.10", MARCH)
    said(here, capsys)
    before = here.catalogue.read_bytes()
    assert said(here, capsys, "--as-of", "2026-02-15") == {}
    assert here.catalogue.read_bytes() == before


def test_a_release_without_a_plugin(
    here: Workspace, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(index, tmp_path / "w", AGENTS, "1.0.0", datetime(2025, 1, 1, tzinfo=UTC))
    assert said(here, capsys)["1.0.0"] == "new, without a plugin"
    with pytest.raises(UnknownRelease, match=r"goes with livekit-agents 1\.0\.0"):
        find_release("1.0.0", here)


def test_a_known_release_needs_no_page_but_for_its_address(
    here: Workspace, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    said(here, capsys)
    index.asked.clear()
    assert str(find_release("1.8.9", here).version) == "1.8.9"
    assert index.asked == []
    fetch_release("1.8.9", here)
    assert sum(path.endswith(".whl") for path in index.asked) == 2
    index.asked.clear()
    assert len(fetch_release("1.8.9", here, endpoint="http://127.0.0.1:9/").paths) == 2
    assert index.asked == []


def test_an_index_with_another_file_is_refused(
    here: Workspace, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    said(here, capsys)
    name = "livekit_agents-1.8.9-py3-none-any.whl"
    index.files[name] = index.files[name] + b" "
    import fetch

    assert fetch.main(["1.8.9", "--patches", str(here.patches)]) == 13
    assert f"another {name} than patches/releases.toml" in capsys.readouterr().err
    del index.files[name]
    assert fetch.main(["1.8.9", "--patches", str(here.patches)]) == 10
    assert "(any more)" in capsys.readouterr().err


def test_the_newest_offline_and_as_of(
    here: Workspace, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    index.yanked["livekit_agents-1.8.9-py3-none-any.whl"] = ""
    said(here, capsys)
    assert str(find_release(None, here, offline=True).version) == "1.8.8"
    with pytest.raises(UnknownRelease, match="did not exist on 2025-12-31"):
        find_release("1.8.8", here, as_of=datetime(2025, 12, 31, tzinfo=UTC))
    with pytest.raises(UnknownRelease):
        find_release(None, here, offline=True, as_of=datetime(2025, 12, 31, tzinfo=UTC))


@pytest.mark.parametrize("fault", [500, b"<html>"])
def test_pypi_out_of_reach_changes_nothing(
    here: Workspace, index: Index, fault: int | bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    index.faults[PLUGIN] = fault
    assert update(here) == 12
    assert not here.catalogue.exists()
    assert "no usable answer" in capsys.readouterr().err


@pytest.mark.pypi
def test_what_is_on_pypi(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    workspace.patches.mkdir()
    assert len(said(workspace, capsys)) >= 115
    found = Catalogue.read(workspace.catalogue)
    partners = {str(v): e.partner for v, e in found.items() if e.partner != str(v)}
    assert partners == {
        "1.0.0": "",
        "1.0.1": "",
        "1.2.10": "1.2.9",
        "1.4.0": "1.3.12",
        "2.0.0b1": "1.8.6",
    }
    yanked = {str(version) for version, entry in found.items() if entry.yanked is not None}
    assert yanked >= {"1.1.2", "1.2.7", "1.3.4", "1.5.18"}
    assert len(found[Version("2.0.0b1")].official) == 8
    assert said(workspace, capsys) == {}
