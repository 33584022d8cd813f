"""``status.py``: the support matrix, and the CI matrix."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from making import AGENTS, PLUGIN, Index, engine_patch, make_wheel, write_series
from publishing import proof_of

import release as release_verb
import status as verb
import update
from toolkit.pythons import PYTHONS, jobs
from toolkit.verdict import Verdict
from toolkit.workspace import CACHE_VARIABLE, Workspace

UPLOADS = {
    "1.0.0": datetime(2025, 4, 1, tzinfo=UTC),
    "1.8.8": datetime(2025, 9, 1, tzinfo=UTC),
    "1.8.9": datetime(2026, 1, 2, tzinfo=UTC),
}


@pytest.fixture
def here(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """A catalogue of three releases, of which the first has no plugin and the last is published."""
    for version, when in UPLOADS.items():
        for name in (AGENTS, PLUGIN):
            if (name, version) != (PLUGIN, "1.0.0"):
                index.add(make_wheel(tmp_path / "w", name, version), when)
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    write_series(workspace.patches, {"guard": {"1.8.9": engine_patch(line9="first = 1")}})

    def prove(official: Any, patched: Any, **inputs: Any) -> Verdict:
        del official
        return proof_of(list(patched), inputs["release"])

    monkeypatch.setattr(release_verb, "prove", prove)
    patches = ("--patches", str(workspace.patches))
    assert update.main(patches) == 0
    assert release_verb.main(["1.8.9", "--index", str(tmp_path / "index"), *patches]) == 0
    return workspace


def lines(
    here: Workspace, index: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert verb.main(["--patches", str(here.patches), "--index", str(index), "--json", *words]) == 0
    return {line["release"]: line for line in json.loads(capsys.readouterr().out)}


def test_what_is_known(here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = lines(here, tmp_path / "index", capsys)
    assert list(found) == ["1.0.0", "1.8.8", "1.8.9"]
    assert {name: line["verdict"] for name, line in found.items()} == {
        "1.0.0": "unknown",
        "1.8.8": "conflict",
        "1.8.9": "publish",
    }
    assert "goes with" in found["1.0.0"]["reason"]
    assert "no variant for 1.8.8" in found["1.8.8"]["reason"]
    good = found["1.8.9"]
    assert (good["loses"], good["current"], good["revision"]) == (True, True, 1)
    assert good["variants"] == {"guard": "1.8.9"}
    assert list(good["wheels"]) == ["livekit_agents-1.8.9+dispatched.1-py3-none-any.whl"]
    assert list(lines(here, tmp_path / "index", capsys, ">=1.8.9")) == ["1.8.9"]


def test_with_other_tests_it_is_not_current(
    here: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("toolkit.outcome.RACE_SUITE", tmp_path / "w")
    good = lines(here, tmp_path / "index", capsys)["1.8.9"]
    assert (good["verdict"], good["loses"], good["current"]) == ("publish", True, False)
    assert "1 of 2 tests" in good["official"]
    # without an index there is what the catalogue recorded
    good = lines(here, tmp_path / "none", capsys)["1.8.9"]
    assert (good["verdict"], good["revision"], good["official"]) == ("publish", 1, "")


def test_for_people(here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert verb.main(["--patches", str(here.patches), "--index", str(tmp_path / "index")]) == 0
    table = capsys.readouterr().out
    (line,) = (line for line in table.splitlines() if "1.8.9 " in line and "publish" in line)
    assert "yes (1 of 2 tests" in line


def test_an_unknown_release(here: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert verb.main(["7.7.7", "--patches", str(here.patches)]) == 10
    assert "has no livekit-agents 7.7.7" in capsys.readouterr().err


def test_the_ci_matrix(here: Workspace, index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    def matrix(*words: str) -> list[dict[str, str]]:
        capsys.readouterr()
        assert verb.main(["--matrix", "--patches", str(here.patches), *words]) == 0
        found: list[dict[str, str]] = json.loads(capsys.readouterr().out)["include"]
        return found

    pairs = [(job["python"], job["releases"]) for job in matrix()]
    # Requires-Python is >=3.10, and 3.14 came between the two
    assert pairs == [
        *[
            (python, release)
            for python in ("3.10", "3.11", "3.12", "3.13")
            for release in ("1.8.8", "1.8.9")
        ],
        ("3.14", "1.8.9"),
    ]
    assert len(matrix("--jobs", "5")) == 5
    index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = ""
    assert update.main(["--patches", str(here.patches)]) == 0
    assert {job["releases"] for job in matrix()} == {"1.8.9"}
    assert {job["releases"] for job in matrix("1.8.8")} == {"1.8.8"}


@pytest.mark.parametrize(("releases", "most"), [(115, 256), (115, 700), (115, 6), (1000, 256)])
def test_every_pair_is_in_one_job(releases: int, most: int) -> None:
    pythons = {str(n): [*PYTHONS][n % 3 :] for n in range(releases)}
    found = jobs(pythons, most)
    assert len(found) <= most
    pairs = [(job["python"], name) for job in found for name in job["releases"].split()]
    assert sorted(pairs) == sorted((p, name) for name, some in pythons.items() for p in some)
    sizes = {len(job["releases"].split()) for job in found}
    if max(sizes) > 1:
        smaller = -(-len(pairs) // (max(sizes) - 1))
        assert smaller > most - len(PYTHONS)
