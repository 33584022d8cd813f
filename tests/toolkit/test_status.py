"""``status.py``: the support matrix, and the CI matrix."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from making import (
    AGENTS,
    ENGINE,
    ENGINE_PATH,
    PLUGIN,
    Index,
    diff,
    engine_patch,
    mail,
    make_wheel,
    members_of,
    source,
    write_series,
)
from publishing import proof_of
from replaying import replaying

import release as release_verb
import status as verb
import update
from toolkit.fetched import fetch_release
from toolkit.github import API_VARIABLE, TOKENS
from toolkit.pythons import PYTHONS, jobs
from toolkit.verdict import Verdict
from toolkit.workspace import CACHE_VARIABLE, Workspace

PULL = "https://github.com/livekit/agents/pull/5114"
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
    monkeypatch.setenv(API_VARIABLE, "http://127.0.0.1:9")
    write_series(
        workspace.patches,
        {"guard": {"1.8.9": engine_patch(line9="first = 1")}},
        extra=f'related = ["{PULL}"]\n',
    )

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
    return {line["release"]: line for line in json.loads(capsys.readouterr().out)["releases"]}


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


def test_for_people(
    here: Workspace, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = "[/] bad\x1b[31m"
    assert update.main(["--patches", str(here.patches)]) == 0
    capsys.readouterr()
    assert verb.main(["--patches", str(here.patches), "--index", str(tmp_path / "index")]) == 0
    table = capsys.readouterr().out
    (line,) = (line for line in table.splitlines() if "1.8.9 " in line and "publish" in line)
    assert "yes (1 of 2 tests" in line
    assert "yanked: [/] bad\\x1b[31m" in table


def test_upstream(
    here: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--patches", str(here.patches))

    def told(*more: str) -> list[str]:
        capsys.readouterr()
        assert verb.main([*words, *more]) == 0
        return capsys.readouterr().out.splitlines()[-3:]

    for name in TOKENS:
        monkeypatch.delenv(name, raising=False)
    newest = "1.8.9, the newest, still loses calls; upstream has taken 0 of the 1 patches for it"
    example = "https://example.org/1  is no pull request on GitHub"
    pull = "livekit/agents#5114    "
    assert told() == [example, f"{pull}unreachable: it refuses the connection", newest]
    with replaying() as github:
        monkeypatch.setenv(API_VARIABLE, github.url)
        merged = "merged on 2026-03-18, in no release yet  (Placeholders in the agent's context)"
        assert told() == [example, f"{pull}{merged}", newest]
        github.asked.clear()
        assert told("--offline")[-1] == newest
        assert github.asked == []
        assert verb.main([*words, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
    assert document["newest"]["loses"] is True
    assert [change["state"] for change in document["upstream"]] == ["unknown", "merged"]


def test_what_upstream_took(
    here: Workspace, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A release with the fix in it, as upstream would have it: without our notice."""
    first, both = source(line9="first = 1"), source(line9="first = 1", line10="second = 2")
    ours = source(line1="# Modified by us: a fix\nvalue_1 = 1", line9="first = 1")
    third = source(line9="first = 1", line10="second = 2", line30="third = 3")
    steps = {"guard": (source(), ours), "wider": (first, both), "third": (both, third)}
    patches = {n: {"1.8.9": mail(diff(ENGINE_PATH, *step))} for n, step in steps.items()}
    write_series(here.patches, patches)
    members = members_of(AGENTS, "1.8.10")
    members[ENGINE] = both.encode()
    wheel = make_wheel(tmp_path / "w", AGENTS, "1.8.10", members=members)
    index.add(wheel, datetime(2026, 2, 1, tzinfo=UTC))
    index.add(make_wheel(tmp_path / "w", PLUGIN, "1.8.10"), datetime(2026, 2, 1, tzinfo=UTC))
    words = ("--patches", str(here.patches))
    assert update.main(words) == 0
    assert verb.main([*words, "--offline"]) == 0
    assert "are not in the cache" in capsys.readouterr().out
    fetch_release("1.8.10", here)
    assert verb.main([*words, "--offline"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == (
        "1.8.10, the newest, is not proved to lose calls, nor to keep them; "
        "upstream has taken 2 of the 3 patches for it: guard, wider"
    )


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
