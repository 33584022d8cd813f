"""``release.py`` and a release that it has never seen: by itself from PyPI to the index."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from making import (
    AGENTS,
    ENGINE,
    PLUGIN,
    Index,
    contents_of,
    engine_patch,
    make_wheel,
    members_of,
    source,
    write_series,
)
from packaging.version import Version
from standing_in import judged, replace_proof

import refresh
import release as verb
import update
from toolkit.environments.pair import WheelPair
from toolkit.index.ledger import Mark
from toolkit.index.transaction import locked_ledger
from toolkit.patches.series import Series
from toolkit.pipeline.results import hashes_below
from toolkit.pipeline.support_matrix import SupportMatrix
from toolkit.proof.prove import ProofSettings
from toolkit.proof.store import VerdictStore
from toolkit.proof.verdict import Verdict
from toolkit.releases.catalogue import Catalogue, dump
from toolkit.util.workspace import CACHE_VARIABLE, Workspace

JANUARY, FEBRUARY, MARCH = (datetime(2026, month, 1, 12, tzinfo=UTC) for month in (1, 2, 3))


class House:
    """A series that fits 1.8.8, an index on which releases appear, and the verb."""

    def __init__(self, index: Index, workspace: Workspace, root: Path) -> None:
        self.index, self.workspace, self.root = index, workspace, root
        self.out, self.questions = root / "out", root / "questions"

    def release(self, version: str, when: datetime, **changes: str) -> None:
        members = members_of(AGENTS, version) | {ENGINE: source(**changes).encode()}
        self.index.add(make_wheel(self.root / "w", AGENTS, version, members=members), when)
        self.index.add(make_wheel(self.root / "w", PLUGIN, version), when)

    def run(self, *words: str) -> int:
        places = ("--index", str(self.out), "--refresh", str(self.questions))
        return verb.main([*words, *places, "--patches", str(self.workspace.patches)])

    @property
    def patches(self) -> dict[str, str]:
        return hashes_below(self.workspace.patches)

    def changed(self, before: dict[str, str]) -> set[str]:
        now = self.patches
        return {path for path in {*before, *now} if before.get(path) != now.get(path)}


@pytest.fixture
def house(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> House:
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    replace_proof(monkeypatch, judged("publish"))
    found = House(index, workspace, tmp_path)
    found.release("1.8.8", JANUARY)
    patches = {"guard": engine_patch(line10="first = 1"), "other": engine_patch(line30="x = 1")}
    write_series(workspace.patches, {name: {"1.0": text} for name, text in patches.items()})
    assert update.main(["--patches", str(workspace.patches)]) == 0
    return found


def test_the_next_release_without_a_hand(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.release("1.8.9", FEBRUARY, line8="another = 8")
    before = house.patches
    assert house.run("--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["release"], row["verdict"]) == ("1.8.9", "publish")
    assert (row["carried_from"], row["written"]) == ("1.8.8", ["guard/1.8.9.patch"])
    assert house.changed(before) == {"guard/1.8.9.patch", "releases.toml"}
    (wheel,) = house.out.glob("files/livekit_agents-1.8.9+dispatched.1-*.whl")
    patched = source(line8="another = 8", line10="first = 1", line30="x = 1").encode()
    assert contents_of(wheel)[ENGINE] == patched
    catalogue = Catalogue.read(house.workspace.catalogue)
    assert catalogue.row(Version("1.8.9"))
    # and there is nothing more to do
    before = house.patches
    assert house.run() == 0
    assert "To be committed" not in capsys.readouterr().out
    assert house.changed(before) == set()
    assert not house.questions.exists()


def test_one_that_fits_needs_no_variant(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.release("1.8.9", FEBRUARY, line1="new = 1\nvalue_1 = 1")
    before = house.patches
    assert house.run() == 0
    assert house.changed(before) == {"releases.toml"}
    said = capsys.readouterr().out
    assert said.endswith("To be committed in patches/:\n  releases.toml\n")


def test_two_new_ones_at_once(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """The second is carried from the first; the third has what the second has."""
    house.release("1.8.9", FEBRUARY, line8="another = 8")
    house.release("1.8.10", FEBRUARY, line8="another = 8", line11="third = 11")
    house.release("1.8.11", FEBRUARY, line8="another = 8", line11="third = 11", line1="y = 1")
    assert house.run("1.8.11", "1.8.10", "1.8.9", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["release"] for row in rows] == ["1.8.11", "1.8.10", "1.8.9"]
    assert [row.get("carried_from") for row in rows] == [None, "1.8.9", "1.8.8"]
    assert {path for path in house.patches if path.startswith("guard/")} == {
        f"guard/{since}.patch" for since in ("1.0", "1.8.9", "1.8.10")
    }
    (wheel,) = house.out.glob("files/livekit_agents-1.8.11+dispatched.1-*.whl")
    changes = {"line8": "another = 8", "line11": "third = 11", "line1": "y = 1"}
    assert (
        contents_of(wheel)[ENGINE] == source(**changes, line10="first = 1", line30="x = 1").encode()
    )


def test_what_was_refused_is_proved_again_only_with_another_series(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1.8.10 gets a variant of its own, in the form in which git exports it; 1.8.7 keeps its."""
    house.release("1.8.7", FEBRUARY)
    house.release("1.8.9", FEBRUARY, line8="another = 8")
    house.release("1.8.10", FEBRUARY)
    proved = []

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
        proved.append(pair.release)
        word = "publish" if pair.release == "1.8.9" else "inconclusive"
        return judged(word)(pair, settings)

    replace_proof(monkeypatch, prove)
    assert house.run("1.8.7", "1.8.9", "1.8.10", "--json") == 22
    rows = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in rows] == ["inconclusive", "publish", "inconclusive"]
    assert (proved.count("1.8.7"), proved.count("1.8.10")) == (1, 2)


def test_what_the_index_refuses_is_not_said_to_be_published(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    assert house.run("1.8.8") == 0
    with locked_ledger(house.out) as ledger:
        ledger.append(Mark("status", AGENTS, "quarantined", "a reason", "2026-02-01T00:00:00Z"))
    house.release("1.8.9", FEBRUARY, line8="another = 8")
    capsys.readouterr()
    assert house.run("1.8.9", "--json") == 19
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["verdict"], row["exit_code"], row["new"]) == ("error", 19, [])
    assert Catalogue.read(house.workspace.catalogue).row(Version("1.8.9")) is None


def test_one_that_needs_a_human(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.release("1.8.9", FEBRUARY, line10="other = 10")
    before = house.patches
    assert house.run("--json") == 16
    said = capsys.readouterr()
    (row,) = json.loads(said.out)
    assert (row["verdict"], row["exit_code"], row["new"]) == ("conflict", 16, [])
    assert str(house.questions / "1.8.9" / "report.md") in row["error"]
    assert house.changed(before) == {"releases.toml"}
    assert not house.out.exists()
    assert (house.questions / "1.8.9" / "tree").is_dir()
    # it says so again, and status knows the reason
    assert house.run("1.8.8", "1.8.9") == 22
    assert "1.8.9: PatchConflict" in capsys.readouterr().err
    series = Series.load(house.workspace.patches)
    matrix = SupportMatrix(series, VerdictStore.open(house.workspace.outcomes), house.out)
    status = matrix.status(Catalogue.read(house.workspace.catalogue)[Version("1.8.9")])
    assert status.verdict == "conflict"
    assert "patch guard, variant 1.0.patch" in status.reason


@pytest.mark.parametrize(("word", "code"), [("regressed", 16), ("inconclusive", 18)])
def test_what_is_not_proved_leaves_nothing(
    house: House,
    word: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    house.release("1.8.9", FEBRUARY, line8="another = 8")
    replace_proof(monkeypatch, judged(word))
    before = house.patches
    assert house.run() == code
    assert f"the proof says {word}" in capsys.readouterr().err
    assert house.changed(before) == {"releases.toml"}
    assert not house.out.exists()


def test_a_cause_that_is_gone_the_next_time(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is inconclusive leaves no question behind, and is proved again."""
    house.release("1.8.9", FEBRUARY, line8="another = 8")
    replace_proof(monkeypatch, judged("inconclusive"))
    assert house.run("--json") == 18
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["verdict"], row["reason"]) == ("inconclusive", "a test says so")
    assert not house.questions.exists()
    replace_proof(monkeypatch, judged("publish"))
    assert house.run() == 0
    assert "guard/1.8.9.patch" in house.patches


def test_all_that_is_new(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.release("1.8.9", FEBRUARY, line8="another = 8")
    house.release("1.8.10", FEBRUARY)
    house.release("2.0.0b1", MARCH)
    house.release("1.7.9", MARCH)
    house.index.yanked["livekit_agents-1.7.9-py3-none-any.whl"] = "broken"
    capsys.readouterr()
    assert house.run("new", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["release"]: row["verdict"] for row in rows} == {
        "1.7.9": "left out",
        "1.8.9": "publish",
        "1.8.10": "publish",
        "2.0.0b1": "publish",
    }
    published = set(map(str, Catalogue.read(house.workspace.catalogue).rows()))
    assert published == {"1.8.9", "1.8.10", "2.0.0b1"}
    # and then there is nothing, however often one asks
    assert house.run("new") == 0
    assert capsys.readouterr().out == "nothing new\n"
    assert house.run("new", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    # only yanked ones are no failure
    house.release("1.7.8", MARCH)
    house.index.yanked["livekit_agents-1.7.8-py3-none-any.whl"] = "broken"
    assert house.run("new") == 0
    assert "left out" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("new", "1.8.8"), ("all", "new"), ("new", "--offline")])
def test_new_stands_alone(house: House, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        house.run(*words)
    assert caught.value.code == 2


def test_later_releases_that_are_known(house: House) -> None:
    """As of a day before they neither get a variant nor are they asked about."""
    house.release("1.8.9", FEBRUARY, line8="another = 8")
    house.release("1.8.10", MARCH)
    assert update.main(["--patches", str(house.workspace.patches)]) == 0
    before = house.patches
    assert house.run("1.8.9", "--as-of", "2026-02-15") == 0
    assert house.changed(before) == {"guard/1.8.9.patch", "releases.toml"}


def test_a_report_asks_about_no_release_that_cannot_be_had(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither one that is gone nor, as of a day, a later one; and it is whole or not there."""
    for version, when in (("1.8.9", FEBRUARY), ("1.8.10", MARCH), ("1.8.11", FEBRUARY)):
        house.release(version, when, line10="other = 10")
    assert update.main(["--patches", str(house.workspace.patches)]) == 0
    for name in [name for name in house.index.files if "-1.8.9-" in name]:
        del house.index.files[name]
    assert update.main(["--patches", str(house.workspace.patches)]) == 0
    house.index.faults["livekit_agents-1.8.10-py3-none-any.whl"] = 404
    assert house.run("1.8.11") == 12
    assert not house.questions.exists()
    assert house.run("1.8.11", "--as-of", "2026-02-15") == 16
    assert "since 1.8.11" in capsys.readouterr().err
    assert {path.name for path in (house.questions / "1.8.11").iterdir()} == {
        "report.md",
        "report.json",
        "tree",
    }
    assert house.run("1.8.11") == 16


def test_as_of_a_day_before(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.release("1.8.9", FEBRUARY, line8="another = 8")
    house.release("1.8.10", MARCH, line10="other = 10")
    before = house.patches
    assert house.run("--as-of", "2026-01-31") == 0
    assert house.changed(before) == {"releases.toml"}
    assert house.run("--as-of", "2026-02-28", "--json") == 0
    printed = capsys.readouterr().out
    (row,) = json.loads(printed[printed.index("[\n") :])
    assert (row["release"], row["carried_from"]) == ("1.8.9", "1.8.8")
    assert Version("1.8.10") not in Catalogue.read(house.workspace.catalogue)
    assert house.run("1.8.10", "--as-of", "2026-02-28") == 10


def test_what_was_published_once_is_not_carried(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """If a variant that was good breaks, that is a mistake to be told, not to be merged."""
    assert house.run("1.8.8") == 0
    broken = engine_patch(line10="first = 1").replace(" value_9 =", " another =")
    (house.workspace.patches / "guard" / "1.0.patch").write_text(broken)
    assert house.run("1.8.8") == 16
    assert "patch guard, variant 1.0.patch: does not apply" in capsys.readouterr().err
    assert not house.questions.exists()


@pytest.mark.pypi
def test_the_real_move_to_1_8_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine went from the plugin to livekit-agents: on that day, with the real proof."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    workspace = Workspace.default()
    patches, index = tmp_path / "patches", tmp_path / "index"
    shutil.copytree(workspace.patches, patches)
    for path in patches.rglob("*.patch"):
        if Version(path.stem) >= Version("1.8.3"):
            path.unlink()
    known = Catalogue.read(patches / "releases.toml")
    then = {version: known[version] for version in known if version < Version("1.8.3")}
    (patches / "releases.toml").write_text(dump(then), "utf-8")
    words = ["1.8.3", "--as-of", "2026-09-23", "--patches", str(patches), "--upstream", "no"]
    words += ["--index", str(index), "--refresh", str(tmp_path / "question"), "--json"]
    assert verb.main(words) == 0, capsys.readouterr().err
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["verdict"], row["carried_from"]) == ("publish", "1.8.2")
    assert row["written"]
    assert all(name.endswith("/1.8.3.patch") for name in row["written"])
    (wheel,) = index.glob("files/livekit_agents-1.8.3+dispatched.1-*.whl")
    assert [*index.glob("files/livekit_plugins_openai-1.8.3-*.whl")]  # as it is
    engine = contents_of(wheel)["livekit/agents/llm/_realtime/openai.py"]
    assert engine.startswith(b"# Modified by livekit-dispatched")
    assert b"def _is_in_flight(" in engine
    # what is to be committed: the table's row, and variants that are what git exports
    assert max(Catalogue.read(patches / "releases.toml")) == Version("1.8.3")
    assert refresh.main(["1.8.3", "--check", "--patches", str(patches)]) == 0
