"""``status.py``: the support matrix, how upstream does, and CI matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import git
import pytest
from packaging.version import Version
from publishing import proof_of
from replaying import replaying
from retiring_world import FIXED, open_world
from series import diff, engine_patch, mail, write_series
from standing_in import replace_proof
from upstream_index import FEBRUARY, Upstream
from verbs import Ran
from wheels import AGENTS, ENGINE, ENGINE_PATH, members_of, source

from toolkit.environments.pair import WheelPair
from toolkit.forward.github import API_VARIABLE, TOKENS
from toolkit.patches.series import Series
from toolkit.proof.settings import ProofSettings
from toolkit.proof.store import VerdictStore, VerdictSummary
from toolkit.proof.verdict import Verdict
from toolkit.releases.catalogue import Row, record
from toolkit.releases.official import Settings

PULL = "https://github.com/livekit/agents/pull/5114"
ROW = Row(1, "a series", {"a.whl": "0"})


@dataclass(frozen=True)
class House:
    """A catalogue of three releases: 1.0.0 has no plugin, and 1.8.9 is published."""

    upstream: Upstream
    index: Path
    monkeypatch: pytest.MonkeyPatch

    def release(self, version: str, **changes: Any) -> None:
        """Run the verb release; the proof is a good one with ``changes``."""

        def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
            return replace(proof_of(list(pair.patched), pair.release), **changes)

        replace_proof(self.monkeypatch, prove)
        code = 0 if changes.get("verdict", "publish") == "publish" else 18
        self.upstream.run("release", version, "--index", self.index, code=code)

    def show(self, *args: object, code: int = 0) -> Ran:
        return self.upstream.run("status", "--index", self.index, *args, code=code)

    def status(self, *args: object) -> dict[str, dict[str, Any]]:
        """The status of releases by name."""
        document = self.show("--json", *args).json
        return {status["release"]: status for status in document["releases"]}

    def matrix(self, *args: object) -> list[tuple[str, str]]:
        """The jobs of a CI matrix: group or Python, and releases."""
        include = self.show(*args).json["include"]
        assert all([*job][1] == "releases" for job in include)
        return [tuple(job.values()) for job in include]

    def record(self, row: Row) -> None:
        record(self.upstream.workspace.catalogue, {Version("1.8.8"): row}, {})


@pytest.fixture
def house(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> House:
    upstream.upload("1.0.0", datetime(2025, 4, 1, tzinfo=UTC), names=(AGENTS,))
    upstream.upload("1.8.8", datetime(2025, 9, 1, tzinfo=UTC))
    upstream.upload("1.8.9", datetime(2026, 1, 2, tzinfo=UTC))
    monkeypatch.setenv(API_VARIABLE, "http://127.0.0.1:9")
    patches = {"guard": {"1.8.9": engine_patch(line9="first = 1")}}
    write_series(upstream.workspace.patches, patches, extra=f'related = ["{PULL}"]\n')
    upstream.run("update")
    house = House(upstream, upstream.folder / "index", monkeypatch)
    house.release("1.8.9")
    return house


def assert_in(status: dict[str, Any], **expected: object) -> None:
    assert {name: status[name] for name in expected} == expected


def test_releases_that_are_published_and_not(house: House) -> None:
    statuses = house.status()
    assert [*statuses] == ["1.0.0", "1.8.8", "1.8.9"]
    assert_in(statuses["1.0.0"], verdict="unknown", current=False, partner="", pythons=[])
    assert "goes with" in statuses["1.0.0"]["reason"]
    assert_in(statuses["1.8.8"], verdict="conflict", current=True, loses=None, revision=None)
    assert "no variant for 1.8.8" in statuses["1.8.8"]["reason"]
    good = {"verdict": "publish", "loses": True, "current": True, "revision": 1, "gone": False}
    pythons = ["3.10", "3.11", "3.12", "3.13", "3.14"]
    assert_in(statuses["1.8.9"], **good, partner="1.8.9", uploaded="2026-01-02", pythons=pythons)
    assert_in(statuses["1.8.9"], variants={"guard": "1.8.9"}, yanked=None)
    wheels = list(statuses["1.8.9"]["wheels"])
    assert wheels == ["livekit_agents-1.8.9+dispatched.1-py3-none-any.whl"]
    assert [*house.status(">=1.8.9")] == ["1.8.9"]
    assert "has no livekit-agents 7.7.7" in house.show("7.7.7", code=10).err
    # the index has a verdict on other wheels
    verdicts = house.index / "verdicts"
    (verdicts / "1.8.9+dispatched.1.json").rename(verdicts / "1.8.8+dispatched.1.json")
    house.record(ROW)
    assert_in(house.status()["1.8.8"], verdict="conflict", official="", patched="")


def test_a_verdict_of_other_tests_is_not_current(house: House, tmp_path: Path) -> None:
    house.monkeypatch.setattr("toolkit.proof.store.RACE_SUITE", tmp_path / "w")
    status = house.status()["1.8.9"]
    assert_in(status, verdict="publish", loses=True, current=False)
    assert "1 of 2 tests" in status["official"]
    # without an index there is what the catalogue recorded
    status = replace(house, index=tmp_path / "none").status()["1.8.9"]
    assert_in(status, verdict="publish", loses=True, official="")


def test_tables(house: House, tmp_path: Path) -> None:
    house.upstream.index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = "[/] bad\x1b[31m"
    house.upstream.run("update")
    summary = tmp_path / "summary.md"
    shown = house.show("--summary", summary).out
    (line,) = (line for line in shown.splitlines() if "1.8.9 " in line and "publish" in line)
    assert "yes (1 of 2 tests" in line
    assert "yanked: [/] bad\\x1b[31m" in shown
    markdown = summary.read_text()
    assert "| release | official loses calls |" in markdown
    assert "| <code>1.8.9</code> | <code>yes (1 of 2 tests, 4 of 7 schedules)</code> |" in markdown
    assert "unreachable" in markdown


@pytest.mark.parametrize("verdict", ["inconclusive", "regressed", "publish"])
def test_before_and_after_a_proof(house: House, verdict: str) -> None:
    house.upstream.upload("1.8.10", FEBRUARY)
    house.upstream.run("update")
    reason = "not proved on this machine: nox -s release -- 1.8.10"
    unknown = {"verdict": "unknown", "loses": None, "official": "", "reason": reason}
    assert_in(house.status()["1.8.10"], **unknown)
    house.release("1.8.10", verdict=verdict, reason="a test says so")
    status = house.status()["1.8.10"]
    assert_in(status, verdict=verdict, loses=True, current=True, reason="a test says so")
    assert status["official"].startswith("1 of 2 tests, ")


NOT_PROVED, NO_LOSS = "not proved on this machine: nox -s", "the official wheels lose no call in"
UNDECIDED = "the tier full decides: nox -s release -- 1.8.10 --tier"


@pytest.mark.parametrize(
    ("unpatched", "patched", "verdict", "loses", "reason"),
    [
        # by tier, whether the official wheels lose a call: alone, and beside patched ones
        ({"quick": False}, {}, "fixed", None, UNDECIDED),
        ({"quick": False, "full": False}, {}, "fixed", False, NO_LOSS),
        ({"quick": False, "full": True}, {}, "unknown", True, NOT_PROVED),
        ({"full": False}, {}, "fixed", False, NO_LOSS),
        ({"quick": True}, {}, "unknown", True, NOT_PROVED),
        ({"full": True}, {"quick": False}, "unknown", True, NOT_PROVED),
        ({"quick": False}, {"full": True}, "regressed", True, "test_flight"),
        ({"quick": False}, {"full": False}, "fixed", False, NO_LOSS),
        ({"full": False}, {"quick": True}, "fixed", False, NO_LOSS),
    ],
)
def test_the_tier_full_decides(
    upstream: Upstream,
    unpatched: dict[str, bool],
    patched: dict[str, bool],
    verdict: str,
    loses: bool | None,
    reason: str,
) -> None:
    workspace = upstream.workspace
    world = open_world(upstream)
    upstream.run("update")
    store, release = VerdictStore.open(workspace.outcomes), world.fetched().release
    digest = Series.load(workspace.patches).digest(release.version)
    for series, tiers in (("", unpatched), (digest, patched)):
        for tier, loss in tiers.items():
            summary = replace(VerdictSummary.of(world.judged(loses=loss, tier=tier)), revision=1)
            store.write(store.key(release, series, tier), summary)
    args = ("status", "--index", world.index, "--offline")
    document = upstream.run(*args, "--json").json
    (status,) = (each for each in document["releases"] if each["release"] == FIXED)
    assert_in(status, verdict=verdict, loses=loses)
    assert reason in status["reason"]
    assert status["official"]
    shown = {None: "is not proved", True: "still loses", False: "loses no"}[loses]
    assert shown in upstream.run(*args).out.splitlines()[-1]


def test_later_releases_do_not_exist_yet(house: House) -> None:
    seen: list[list[str]] = []

    def watch(links: Any, github: Any, uploads: Any) -> tuple[()]:
        del links, github
        seen.append([str(version) for version in uploads])
        return ()

    house.monkeypatch.setattr("toolkit.pipeline.status.watch", watch)
    record(house.upstream.workspace.catalogue, {Version("1.8.7"): ROW}, {})
    shown = house.show("--as-of", "2025-12-31").out
    assert shown.splitlines()[-1].startswith("1.8.8, the newest, ")
    house.show()
    assert seen == [["1.0.0", "1.8.8"], ["1.0.0", "1.8.8", "1.8.9"]]


def test_pull_requests(house: House) -> None:
    def shown(*args: str) -> list[str]:
        return house.show(*args).out.splitlines()[-3:]

    for name in TOKENS:
        house.monkeypatch.delenv(name, raising=False)
    newest = "1.8.9, the newest, still loses calls; upstream has taken 0 of the 1 patches for it"
    example = "https://example.org/1  is no pull request on GitHub"
    pull = "livekit/agents#5114    "
    assert shown() == [example, f"{pull}unreachable: it refuses the connection", newest]
    with replaying() as github:
        house.monkeypatch.setenv(API_VARIABLE, github.url)
        merged = "merged on 2026-03-18, in no release yet  (Placeholders in the agent's context)"
        assert shown() == [example, f"{pull}{merged}", newest]
        github.asked.clear()
        assert shown("--offline")[-1] == newest
        assert github.asked == []
        document = house.show("--json").json
    assert document["newest"]["loses"] is True
    assert [change["state"] for change in document["upstream"]] == ["unknown", "merged"]


def test_patches_that_upstream_took(house: House) -> None:
    """A release with the fix in it, as upstream would have it: without our notice."""
    first, both = source(line9="first = 1"), source(line9="first = 1", line10="second = 2")
    patched = source(line1="# Modified by us: a fix\nvalue_1 = 1", line9="first = 1")
    third = source(line9="first = 1", line10="second = 2", line30="third = 3")
    steps = {"guard": (source(), patched), "wider": (first, both), "third": (both, third)}
    patches = {n: {"1.8.9": mail(diff(ENGINE_PATH, *step))} for n, step in steps.items()}
    write_series(house.upstream.workspace.patches, patches)
    members = {**members_of(AGENTS, "1.8.10"), ENGINE: both.encode()}
    house.upstream.upload("1.8.10", FEBRUARY)
    house.upstream.upload("1.8.10", FEBRUARY, names=(AGENTS,), members=members)
    house.upstream.run("update")
    assert "are not in the cache" in house.show("--offline").out
    Settings(house.upstream.workspace).fetch("1.8.10")
    assert house.show("--offline").out.splitlines()[-1] == (
        "1.8.10, the newest, is not proved to lose calls, nor to keep them; "
        "upstream has taken 2 of the 3 patches for it: guard, wider"
    )


def test_releases_recorded_since_a_commit(house: House) -> None:
    patches, catalogue = house.upstream.workspace.patches, house.upstream.workspace.catalogue
    with git.Repo.init(patches.parent) as repository:

        def commit() -> str:
            repository.git.add("--all", patches.name)
            person = ("-c", "user.name=A", "-c", "user.email=a@b")
            repository.git.execute(["git", *person, "commit", "-qm", "x", "--allow-empty"])
            return repository.head.commit.hexsha

        before = catalogue.read_bytes()
        catalogue.unlink()
        nothing = commit()
        catalogue.write_bytes(before)
        first = commit()
        # 1.8.8 has a table already, as a release that waits for a maintainer has one
        house.record(ROW)
        second = commit()
        house.record(replace(ROW, revision=2))

    def since(commit: str) -> list[str]:
        return [*house.status("--offline", "--since", commit)]

    assert since(nothing) == ["1.8.8", "1.8.9"]
    assert since(first) == since(second) == ["1.8.8"]
    assert house.matrix("--since", first, "--groups", "20") == [("1", "1.8.8")]
    commit()
    assert since("HEAD") == []
    assert house.matrix("--since", "HEAD", "--groups", "20") == []
    refused = house.show("--since", "0" * 40, code=21)
    assert f"has no commit {'0' * 40}" in refused.err


def test_matrix_of_jobs(house: House) -> None:
    def pairs(pythons: Sequence[str], name: str) -> set[tuple[str, str]]:
        return {(python, name) for python in pythons}

    # Requires-Python is >=3.10
    pythons = ("3.10", "3.11", "3.12", "3.13", "3.14")
    assert {*house.matrix("--matrix")} == pairs(pythons, "1.8.9")
    # nothing was published of it, perhaps as its own wheels are broken
    left_out = house.show("--matrix").err
    assert "1.8.8 is left out: nothing was published of it" in left_out
    assert "1.0.0 is left out: no plugin goes with it" in left_out
    house.record(replace(ROW, wheels={}))
    # 3.14 came between the two
    both = pairs(pythons, "1.8.9") | pairs(pythons[:-1], "1.8.8")
    assert {*house.matrix("--matrix")} == both
    assert len(house.matrix("--matrix", "--jobs", "5")) == 5
    refused = house.show("--matrix", "--jobs", "4", code=2)
    assert "--jobs 4: 5 versions of Python need a job each" in refused.err
    house.upstream.index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = ""
    house.upstream.run("update")
    assert {name for _, name in house.matrix("--matrix")} == {"1.8.9"}
    assert {name for _, name in house.matrix("--matrix", "1.8.8")} == {"1.8.8"}


def test_matrix_of_groups(house: House) -> None:
    # 1.0.0 has no plugin, and PyPI may have 7.7.7 by now
    assert house.matrix("all", "--groups", "1") == [("1", "1.8.8 1.8.9")]
    named = house.matrix("1.8.9", "7.7.7", "1.8.8", "--groups", "2")
    assert named == [("1", "1.8.9 7.7.7"), ("2", "1.8.8")]
    house.show("--groups", "0", code=2)
