"""``release.py`` and a release that it has never seen: by itself from PyPI to the index."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from packaging.version import Version
from rebase_world import RebaseWorld
from series import engine_patch
from standing_in import judged, replace_proof
from upstream_index import FEBRUARY, MARCH
from verbs import RunVerb
from wheels import AGENTS, ENGINE, contents_of, source

from toolkit.environments.pair import WheelPair
from toolkit.index.ledger import StatusChange
from toolkit.index.transaction import locked_ledger
from toolkit.proof.settings import ProofSettings
from toolkit.proof.verdict import Verdict
from toolkit.releases.catalogue import Catalogue, dump
from toolkit.util.workspace import CACHE_VARIABLE, Workspace


@pytest.fixture
def world(world: RebaseWorld) -> RebaseWorld:
    """A series that fits 1.8.8."""
    world.release("1.8.8")
    world.series(guard=engine_patch(line10="first = 1"), other=engine_patch(line30="x = 1"))
    return world


def engine(world: RebaseWorld, version: str) -> str:
    """The engine as it was published."""
    (wheel,) = world.out.glob(f"files/livekit_agents-{version}+dispatched.1-*.whl")
    return contents_of(wheel)[ENGINE].decode()


@pytest.mark.parametrize(
    ("changes", "written"),
    [({"line8": "another = 8"}, ["guard/1.8.9.patch"]), ({"line1": "new = 1\nvalue_1 = 1"}, None)],
)
def test_the_next_release_without_a_hand(
    world: RebaseWorld, changes: dict[str, str], written: list[str] | None
) -> None:
    """One that the series fits needs no variant."""
    world.release("1.8.9", FEBRUARY, **changes)  # type: ignore[arg-type]
    before = world.files()
    (row,) = world.publish("--json").json
    assert (row["release"], row["verdict"], row.get("written")) == ("1.8.9", "publish", written)
    assert row.get("carried_from") == (written and "1.8.8")
    assert world.changed(before) == {*(written or []), "releases.toml"}
    assert engine(world, "1.8.9") == source(**changes, line10="first = 1", line30="x = 1")
    assert world.catalogue().row(Version("1.8.9"))
    # and there is nothing more to do
    before = world.files()
    assert "To be committed" not in world.publish().out
    assert world.changed(before) == set()
    assert not world.conflicts.exists()


def test_what_is_to_be_committed(world: RebaseWorld) -> None:
    assert world.publish().out.endswith("To be committed in patches/:\n  releases.toml\n")


def test_two_new_ones_at_once(world: RebaseWorld) -> None:
    """The second is rebased from the first; the third has what the second has."""
    world.release("1.8.9", FEBRUARY, line8="another = 8")
    world.release("1.8.10", FEBRUARY, line8="another = 8", line11="third = 11")
    world.release("1.8.11", FEBRUARY, line8="another = 8", line11="third = 11", line1="y = 1")
    rows = world.publish("1.8.11", "1.8.10", "1.8.9", "--json").json
    assert [(row["release"], row.get("carried_from")) for row in rows] == [
        ("1.8.11", None),
        ("1.8.10", "1.8.9"),
        ("1.8.9", "1.8.8"),
    ]
    guards = {name for name in world.variants if name.startswith("guard/")}
    assert guards == {f"guard/{since}.patch" for since in ("1.0", "1.8.9", "1.8.10")}
    changes = {"line8": "another = 8", "line11": "third = 11", "line1": "y = 1"}
    assert engine(world, "1.8.11") == source(**changes, line10="first = 1", line30="x = 1")


def test_what_was_refused_is_proved_again_only_with_another_series(
    world: RebaseWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1.8.10 gets a variant of its own, in the form in which git exports it; 1.8.7 keeps its."""
    world.release("1.8.7", FEBRUARY)
    world.release("1.8.9", FEBRUARY, line8="another = 8")
    world.release("1.8.10", FEBRUARY)
    proved = []

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
        proved.append(pair.release)
        word = "publish" if pair.release == "1.8.9" else "inconclusive"
        return judged(word)(pair, settings)

    replace_proof(monkeypatch, prove)
    ran = world.publish("1.8.7", "1.8.9", "1.8.10", "--json", code=22)
    assert [row["verdict"] for row in ran.json] == ["inconclusive", "publish", "inconclusive"]
    assert (proved.count("1.8.7"), proved.count("1.8.10")) == (1, 2)


def test_what_the_index_refuses_is_not_said_to_be_published(world: RebaseWorld) -> None:
    world.publish("1.8.8")
    with locked_ledger(world.out) as ledger:
        ledger.append(
            StatusChange("status", AGENTS, "quarantined", "a reason", "2026-02-01T00:00:00Z")
        )
    world.release("1.8.9", FEBRUARY, line8="another = 8")
    (row,) = world.publish("1.8.9", "--json", code=19).json
    assert (row["verdict"], row["exit_code"], row["new"]) == ("error", 19, [])
    assert world.catalogue().row(Version("1.8.9")) is None


def test_one_that_needs_a_human(world: RebaseWorld) -> None:
    world.release("1.8.9", FEBRUARY, line10="other = 10")
    before = world.files()
    (row,) = world.publish("--json", code=16).json
    assert (row["verdict"], row["exit_code"], row["new"]) == ("conflict", 16, [])
    assert str(world.conflicts / "1.8.9" / "report.md") in row["error"]
    assert world.changed(before) == {"releases.toml"}
    assert not world.out.exists()
    assert (world.conflicts / "1.8.9" / "tree").is_dir()
    # it says so again, and status knows the reason
    assert "1.8.9: PatchConflict" in world.publish("1.8.8", "1.8.9", code=22).err
    (line,) = world.run("status", "1.8.9", "--offline", "--json").json["releases"]
    assert line["verdict"] == "conflict"
    assert "patch guard, variant 1.0.patch" in line["reason"]


@pytest.mark.parametrize(("verdict", "code"), [("regressed", 16), ("inconclusive", 18)])
def test_what_is_not_proved_changes_nothing(world: RebaseWorld, verdict: str, code: int) -> None:
    """An inconclusive proof leaves no conflict behind, and is run again."""
    world.release("1.8.9", FEBRUARY, line8="another = 8")
    world.prove_as(verdict)
    before = world.files()
    (row,) = world.publish("--json", code=code).json
    assert row["exit_code"] == code
    assert f"the proof says {verdict}: a test says so" in row["error"]
    assert world.changed(before) == {"releases.toml"}
    assert not world.out.exists()
    world.prove_as("publish")
    world.publish(code=0 if verdict == "inconclusive" else 16)
    assert ("guard/1.8.9.patch" in world.variants) == (verdict == "inconclusive")


def test_all_that_is_new(world: RebaseWorld) -> None:
    world.release("1.8.9", FEBRUARY, line8="another = 8")
    world.release("1.8.10", FEBRUARY)
    world.release("2.0.0b1", MARCH)
    world.release("1.7.9", MARCH)
    world.index.yanked["livekit_agents-1.7.9-py3-none-any.whl"] = "broken"
    rows = world.publish("new", "--json").json
    published = {"1.8.9", "1.8.10", "2.0.0b1"}
    expected = {"1.7.9": "left out", **dict.fromkeys(published, "publish")}
    assert {row["release"]: row["verdict"] for row in rows} == expected
    assert set(map(str, world.catalogue().rows())) == published
    # and then there is nothing, however often one asks
    assert world.publish("new").out == "nothing new\n"
    assert world.publish("new", "--json").json == []
    # only yanked ones are no failure
    world.release("1.7.8", MARCH)
    world.index.yanked["livekit_agents-1.7.8-py3-none-any.whl"] = "broken"
    assert "left out" in world.publish("new").out


@pytest.mark.parametrize("arguments", [("new", "1.8.8"), ("all", "new"), ("new", "--offline")])
def test_new_stands_alone(world: RebaseWorld, arguments: tuple[str, ...]) -> None:
    world.publish(*arguments, code=2)


def test_later_releases_that_are_known(world: RebaseWorld) -> None:
    """As of a day before they neither get a variant nor does a conflict mention them."""
    world.release("1.8.9", FEBRUARY, line8="another = 8")
    world.release("1.8.10", MARCH)
    world.run("update")
    before = world.files()
    world.publish("1.8.9", "--as-of", "2026-02-15")
    assert world.changed(before) == {"guard/1.8.9.patch", "releases.toml"}


def test_a_report_mentions_no_release_that_cannot_be_had(world: RebaseWorld) -> None:
    """Neither one that is gone nor, as of a day, a later one; and it is whole or not there."""
    for version, when in (("1.8.9", FEBRUARY), ("1.8.10", MARCH), ("1.8.11", FEBRUARY)):
        world.release(version, when, line10="other = 10")
    world.run("update")
    for name in [name for name in world.index.files if "-1.8.9-" in name]:
        del world.index.files[name]
    world.run("update")
    world.index.faults["livekit_agents-1.8.10-py3-none-any.whl"] = 404
    world.publish("1.8.11", code=12)
    assert not world.conflicts.exists()
    assert "since 1.8.11" in world.publish("1.8.11", "--as-of", "2026-02-15", code=16).err
    names = {path.name for path in (world.conflicts / "1.8.11").iterdir()}
    assert names == {"report.md", "report.json", "tree"}
    world.publish("1.8.11", code=16)


def test_as_of_a_day_before(world: RebaseWorld) -> None:
    world.release("1.8.9", FEBRUARY, line8="another = 8")
    world.release("1.8.10", MARCH, line10="other = 10")
    before = world.files()
    world.publish("--as-of", "2026-01-31")
    assert world.changed(before) == {"releases.toml"}
    (row,) = world.publish("--as-of", "2026-02-28", "--json").json
    assert (row["release"], row["carried_from"]) == ("1.8.9", "1.8.8")
    assert Version("1.8.10") not in world.catalogue()
    world.publish("1.8.10", "--as-of", "2026-02-28", code=10)


def test_what_was_published_once_is_not_rebased(world: RebaseWorld) -> None:
    """A variant that was good and breaks is a mistake to report, not to merge."""
    world.publish("1.8.8")
    broken = engine_patch(line10="first = 1").replace(" value_9 =", " another =")
    (world.patches / "guard/1.0.patch").write_text(broken)
    assert "patch guard, variant 1.0.patch: does not apply" in world.publish("1.8.8", code=16).err
    assert not world.conflicts.exists()


@pytest.mark.pypi
@pytest.mark.slow
def test_the_real_move_to_1_8_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_verb: RunVerb
) -> None:
    """The engine went from the plugin to livekit-agents: on that day, with the real proof."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    patches, index = tmp_path / "patches", tmp_path / "index"
    shutil.copytree(Workspace.default().patches, patches)
    for path in patches.rglob("*.patch"):
        if Version(path.stem) >= Version("1.8.3"):
            path.unlink()
    known = Catalogue.read(patches / "releases.toml")
    then = {version: known[version] for version in known if version < Version("1.8.3")}
    (patches / "releases.toml").write_text(dump(then), "utf-8")
    places = ("--patches", patches, "--index", index, "--refresh", tmp_path / "conflicts")
    ran = run_verb("release", "1.8.3", "--as-of", "2026-09-23", "--upstream=no", "--json", *places)
    assert ran.code == 0, ran.err
    (row,) = ran.json
    assert (row["verdict"], row["carried_from"]) == ("publish", "1.8.2")
    assert row["written"]
    assert all(name.endswith("/1.8.3.patch") for name in row["written"])
    (wheel,) = index.glob("files/livekit_agents-1.8.3+dispatched.1-*.whl")
    assert [*index.glob("files/livekit_plugins_openai-1.8.3-*.whl")]  # as it is
    moved = contents_of(wheel)["livekit/agents/llm/_realtime/openai.py"]
    assert moved.startswith(b"# Modified by livekit-dispatched")
    assert b"def _is_in_flight(" in moved
    # what is to be committed: the table's row, and variants that are what git exports
    assert max(Catalogue.read(patches / "releases.toml")) == Version("1.8.3")
    assert run_verb("refresh", "1.8.3", "--check", "--patches", patches).code == 0
