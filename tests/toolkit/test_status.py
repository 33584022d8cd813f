"""``status.py``: the support matrix, and the CI matrix."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import git
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
from packaging.version import Version
from publishing import proof_of
from replaying import replaying
from retiring_world import FIXED, open_world

import release as release_verb
import status as verb
import update
from toolkit.forward.github import API_VARIABLE, TOKENS
from toolkit.patches.series import Series
from toolkit.pipeline.pythons import PYTHONS, groups, jobs
from toolkit.proof.store import Judged, Outcomes
from toolkit.proof.unpatched import remember
from toolkit.proof.verdict import Verdict
from toolkit.releases.catalogue import Row, record
from toolkit.releases.official import fetch_release
from toolkit.util.workspace import CACHE_VARIABLE, Workspace

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
    monkeypatch.setattr("toolkit.proof.store.RACE_SUITE", tmp_path / "w")
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


@pytest.mark.parametrize("verdict", ["inconclusive", "regressed", "publish"])
def test_what_was_not_published(
    here: Workspace,
    index: Index,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verdict: str,
) -> None:
    for name in (AGENTS, PLUGIN):
        wheel = make_wheel(tmp_path / "w", name, "1.8.10")
        index.add(wheel, datetime(2026, 2, 1, tzinfo=UTC))
    words = ("--patches", str(here.patches))
    assert update.main(words) == 0
    line = lines(here, tmp_path / "index", capsys)["1.8.10"]
    assert (line["verdict"], line["loses"], line["official"]) == ("unknown", None, "")
    assert line["reason"] == "not proved on this machine: nox -s release -- 1.8.10"

    def prove(official: Any, patched: Any, **inputs: Any) -> Verdict:
        del official
        good = proof_of(list(patched), inputs["release"])
        return replace(good, verdict=verdict, reason="so it is")

    monkeypatch.setattr(release_verb, "prove", prove)
    release_verb.main(["1.8.10", "--index", str(tmp_path / "index"), *words])
    line = lines(here, tmp_path / "index", capsys)["1.8.10"]
    assert (line["verdict"], line["loses"], line["current"]) == (verdict, True, True)
    assert (line["reason"], line["official"][:14]) == ("so it is", "1 of 2 tests, ")


@pytest.mark.parametrize(
    ("tiers", "verdict", "loses", "why"),
    [
        ({"quick": False}, "fixed", None, "the tier full decides: nox -s release -- 1.8.10 --tier"),
        ({"quick": False, "full": False}, "fixed", False, "the official wheels lose no call in"),
        ({"quick": False, "full": True}, "unknown", True, "not proved on this machine: nox -s"),
        ({"full": False}, "fixed", False, "the official wheels lose no call in"),
        ({"quick": True}, "unknown", True, "not proved on this machine: nox -s"),
    ],
)
def test_the_tier_full_decides(
    index: Index,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiers: dict[str, bool],
    verdict: str,
    loses: bool | None,
    why: str,
) -> None:
    """Official wheels alone, which lose a call in one tier and in another not."""
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    world = open_world(index, workspace, tmp_path)
    assert update.main(world.places) == 0
    outcomes = Outcomes.open(workspace.outcomes)
    for tier, loss in tiers.items():
        found = world.judged(loses=loss, tier=tier)
        remember(outcomes, world.fetched().release, found, tier)
    line = lines(workspace, world.index, capsys, "--offline")[FIXED]
    assert (line["verdict"], line["loses"]) == (verdict, loses)
    assert line["reason"].startswith(why)
    assert bool(line["official"]) is True
    assert verb.main(["--patches", str(workspace.patches), "--offline"]) == 0
    assert {None: "is not proved", True: "still loses", False: "loses no"}[loses] in (
        capsys.readouterr().out.splitlines()[-1]
    )


@pytest.mark.parametrize(
    ("ours", "alone", "found"),
    [
        # (tier, whether official wheels lose): the verdict, and whether they lose
        (("quick", False), ("full", True), ("unknown", True)),
        (("full", True), ("quick", False), ("regressed", True)),
        (("full", False), ("quick", False), ("fixed", False)),
        (("quick", True), ("full", False), ("fixed", False)),
    ],
)
def test_with_and_without_the_series(
    index: Index,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ours: tuple[str, bool],
    alone: tuple[str, bool],
    found: tuple[str, bool],
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    world = open_world(index, workspace, tmp_path)
    assert update.main(world.places) == 0
    outcomes, release = Outcomes.open(workspace.outcomes), world.fetched().release
    series = Series.load(workspace.patches).digest(release.version)
    for digest, (tier, loss) in ((series, ours), ("", alone)):
        judged = replace(Judged.of(world.judged(loses=loss, tier=tier)), revision=1)
        outcomes.write(outcomes.key(release, digest, tier), judged)
    line = lines(workspace, world.index, capsys, "--offline")[FIXED]
    assert (line["verdict"], line["loses"]) == found


def test_as_of_a_day_later_releases_do_not_exist(
    here: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[list[str]] = []

    def watch(links: Any, github: Any, uploads: Any) -> tuple[()]:
        del links, github
        seen.append([str(version) for version in uploads])
        return ()

    monkeypatch.setattr(verb, "watch", watch)
    words = ["--patches", str(here.patches)]
    assert verb.main([*words, "--as-of", "2025-12-31"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1].startswith("1.8.8, the newest, ")
    assert verb.main(words) == 0
    assert seen == [["1.0.0", "1.8.8"], ["1.0.0", "1.8.8", "1.8.9"]]


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


def test_what_was_recorded_since_a_commit(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with git.Repo.init(here.patches.parent) as repository:

        def commit() -> str:
            repository.git.add("--all", here.patches.name)
            repository.git.execute(
                ["git", "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "x"]
            )
            return repository.head.commit.hexsha

        (here.patches.parent / "other").touch()
        repository.git.add("other")
        known = here.catalogue.read_bytes()
        here.catalogue.unlink()
        nothing = commit()
        here.catalogue.write_bytes(known)
        first = commit()
        # the table of the second is there already, as a release that waits for a human has one
        row = Row(1, "a series", {"a.whl": "0"})
        record(here.catalogue, {Version("1.8.8"): row}, {})
        second = commit()
        record(here.catalogue, {Version("1.8.8"): replace(row, revision=2)}, {})

    def since(commit: str) -> list[str]:
        return [*lines(here, tmp_path / "index", capsys, "--offline", "--since", commit)]

    assert since(nothing) == ["1.8.8", "1.8.9"]
    assert since(first) == since(second) == ["1.8.8"]
    commit()
    assert since("HEAD") == []
    assert verb.main(["--patches", str(here.patches), "--since", "0" * 40]) == 21
    assert f"has no commit {'0' * 40}" in capsys.readouterr().err


def test_an_unknown_release(here: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert verb.main(["7.7.7", "--patches", str(here.patches)]) == 10
    assert "has no livekit-agents 7.7.7" in capsys.readouterr().err


def test_the_ci_matrix(here: Workspace, index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []

    def matrix(*words: str) -> list[dict[str, str]]:
        capsys.readouterr()
        assert verb.main(["--matrix", "--patches", str(here.patches), *words]) == 0
        printed = capsys.readouterr()
        said.append(printed.err)
        found: list[dict[str, str]] = json.loads(printed.out)["include"]
        return found

    def pairs() -> list[tuple[str, str]]:
        return [(job["python"], job["releases"]) for job in matrix()]

    # Requires-Python is >=3.10
    every = [(python, "1.8.9") for python in ("3.10", "3.11", "3.12", "3.13", "3.14")]
    assert pairs() == every
    # nothing was published of it, perhaps as its own wheels are broken
    assert "1.8.8 is left out: nothing was published of it" in said[-1]
    assert "1.0.0 is left out: no plugin goes with it" in said[-1]
    row = Row(1, "a series", {})
    record(here.catalogue, {Version("1.8.8"): row}, {})
    # 3.14 came between the two
    both = [(python, name) for python, _ in every for name in ("1.8.8", "1.8.9")]
    both.remove(("3.14", "1.8.8"))
    assert pairs() == both
    assert len(matrix("--jobs", "5")) == 5
    with pytest.raises(SystemExit) as caught:
        matrix("--jobs", "4")
    assert caught.value.code == 2
    assert "--jobs 4: 5 versions of Python need a job each" in capsys.readouterr().err
    index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = ""
    assert update.main(["--patches", str(here.patches)]) == 0
    assert {job["releases"] for job in matrix()} == {"1.8.9"}
    assert {job["releases"] for job in matrix("1.8.8")} == {"1.8.8"}


def test_groups_of_releases(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(*words: str) -> list[tuple[str, str]]:
        capsys.readouterr()
        assert verb.main(["--patches", str(here.patches), *words]) == 0
        document = json.loads(capsys.readouterr().out)
        return [(job["group"], job["releases"]) for job in document["include"]]

    # 1.0.0 has no plugin, and PyPI may have 7.7.7 by now
    assert found("all", "--groups", "1") == [("1", "1.8.8 1.8.9")]
    assert found("1.8.9", "7.7.7", "1.8.8", "--groups", "2") == [
        ("1", "1.8.9 7.7.7"),
        ("2", "1.8.8"),
    ]
    with git.Repo.init(tmp_path) as repository:
        repository.git.add("--all", "patches")
        names = ("-c", "user.name=a", "-c", "user.email=a@b")
        repository.git.execute(["git", *names, "commit", "--quiet", "--message=x"])
    since = ("--since", "HEAD", "--groups", "20")
    assert found(*since) == []
    record(here.catalogue, {Version("1.8.8"): Row(1, "a series", {})}, {})
    assert found(*since) == [("1", "1.8.8")]
    with pytest.raises(SystemExit):
        found("--groups", "0")


@pytest.mark.parametrize(("count", "most"), [(0, 20), (1, 20), (20, 20), (21, 20), (115, 20)])
def test_each_release_is_in_one_group(count: int, most: int) -> None:
    releases = [f"1.0.{number}" for number in range(count)]
    found = groups(releases, most)
    assert " ".join(group["releases"] for group in found).split() == releases
    assert len(found) == len({group["group"] for group in found}) <= most
    sizes = [len(group["releases"].split()) for group in found]
    assert max(sizes, default=0) == -(-count // most)


def test_the_summary_is_markdown(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    words = ["1.8.9", "--patches", str(here.patches), "--index", str(tmp_path / "index")]
    assert verb.main([*words, "--summary", str(summary)]) == 0
    assert "1.8.9" in capsys.readouterr().out
    said = summary.read_text()
    assert "| release | official loses calls |" in said
    assert "| <code>1.8.9</code> | <code>yes (1 of 2 tests, 4 of 7 schedules)</code> |" in said
    assert "unreachable" in said


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
