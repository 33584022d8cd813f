"""``retire.py``: the series ends by behaviour alone, breaks nobody, and can be taken up again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clients import Client
from indexes import mark
from publishing import make_runner, make_suite, snapshot
from replaying import replaying
from retiring_world import FIXED, PROJECTS, RELEASES, World, open_world
from series import engine_patch, write_series
from standing_in import replace_proof
from upstream_index import MARCH, Upstream
from wheels import AGENTS, PLUGIN

from toolkit.environments.interpreter import uv
from toolkit.environments.pair import WheelPair
from toolkit.forward.github import API_VARIABLE
from toolkit.index.ledger import Ledger, retirement_reason
from toolkit.index.metapackage import PROJECT
from toolkit.index.retire import UNDONE
from toolkit.index.yank import yank
from toolkit.proof import prove, unpatched
from toolkit.proof.settings import ProofSettings
from toolkit.proof.store import VerdictStore
from toolkit.proof.unpatched import cache_unpatched, prove_unpatched
from toolkit.proof.verdict import Verdict
from toolkit.util.errors import IndexConflict, NotFixed, NotProved
from toolkit.util.workspace import CACHE_VARIABLE

OLD = {AGENTS: "1.8.9+dispatched.1", PLUGIN: "1.8.9", PROJECT: "1.8.9.1"}
NEW = {AGENTS: "1.8.10", PLUGIN: "1.8.10", PROJECT: "1.8.10.0"}
PATCHED = [f"livekit_agents-{release}+dispatched.1-py3-none-any.whl" for release in RELEASES]
LAST = [
    "livekit_agents-1.8.10-py3-none-any.whl",
    "livekit_dispatched-1.8.10.0-py3-none-any.whl",
    "livekit_plugins_openai-1.8.10-py3-none-any.whl",
]
REASON = retirement_reason(FIXED)
NOT_FIXED = NotFixed.exit_code


@pytest.fixture
def world(upstream: Upstream) -> World:
    return open_world(upstream)


@pytest.fixture(params=["pip", "uv"])
def client(request: pytest.FixtureRequest, world: World) -> Client:
    return world.client(request.param)


def test_from_a_fixed_release_to_the_end_of_the_series(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, runner = make_suite(tmp_path / "suite"), make_runner(tmp_path / "runner")

    def real(pair: WheelPair, settings: ProofSettings, **rest: Any) -> Verdict:
        tried = replace(settings, race_suite=suite, extra=(runner,), optional=(), timeout=60.0)
        return prove.prove(pair, tried, **rest)

    monkeypatch.setenv("UV_OFFLINE", "1")
    replace_proof(monkeypatch, real)
    before = snapshot(world.index)
    for words in ([], ["--yes"]):
        assert "is not proved" in world.retire(*words, code=27)
    plan = world.retire("--prove")
    assert snapshot(world.index) == before
    assert "tier full" in plan["reason"]
    assert plan == {
        "release": FIXED,
        "verdict": "fixed",
        "reason": plan["reason"],
        "dry_run": True,
        "new": LAST,
        "yanked": PATCHED,
        "unyanked": [],
        "marked": dict.fromkeys(PROJECTS, "deprecated"),
        "kept": [],
    }
    replace_proof(monkeypatch, None)
    assert world.retire("--yes") == {**plan, "dry_run": False}
    for project in PROJECTS:
        assert world.status(project) == ("deprecated", REASON)
        assert world.yanked(project) == dict.fromkeys(PATCHED if project == AGENTS else [], REASON)
    assert f"fixed upstream in livekit-agents {FIXED}" in REASON
    verdict = json.loads((world.index / "verdicts" / f"{FIXED}.json").read_text("utf-8"))
    assert (verdict["series"], verdict["revision"]) == ("", 0)
    after = snapshot(world.index)
    world.retire("--yes")
    assert snapshot(world.index) == after
    world.upstream.run("audit", world.index)


def test_what_people_see(world: World) -> None:
    world.remember()
    lines = world.run("retire").out.splitlines()
    assert lines[0].startswith(f"{FIXED}: fixed: the official wheels lose no call")
    assert f"would publish  {LAST[0]}" in lines
    assert f"would yank     {PATCHED[1]}" in lines
    assert f"would mark     {PROJECT} deprecated" in lines
    assert lines[-1].endswith("nothing was done yet: --yes does it")
    assert f"\nyank     {PATCHED[0]}\n" in world.run("retire", "--yes").out
    assert world.run("retire", "--yes").out.endswith("\nnothing to do\n")
    assert f"unyank   {PATCHED[0]}\n" in world.run("retire", "--undo").out
    assert world.run("retire", "--undo").out == "nothing to do\n"


def test_who_upgrades_gets_the_fixed_release_and_locks_hold(world: World, client: Client) -> None:
    pins = [f"{AGENTS}==1.8.9+dispatched.1", f"{PLUGIN}==1.8.9"]
    assert client.install(f"{PROJECT}==1.8.9.1") == OLD
    world.remember()
    world.retire("--yes")
    assert client.install(PROJECT) == OLD
    assert client.install("--upgrade", PROJECT) == NEW
    assert client.fresh(*pins) == {AGENTS: OLD[AGENTS], PLUGIN: OLD[PLUGIN]}
    assert client.install("--upgrade", f"{AGENTS}>=1.8", PLUGIN) == {AGENTS: FIXED, PLUGIN: FIXED}
    assert client.fresh(*pins, f"{PROJECT}==1.8.9.1") == OLD
    constraints = (world.index / "constraints" / "1.8.9-dispatched.1.txt").as_uri()
    for metapackage in (f"{PROJECT}==1.8.9.1", f"{PROJECT}==1.8.9.*"):
        assert client.fresh("--constraint", constraints, metapackage) == OLD
    # upstream goes on, and the last metapackage holds nobody back
    if client.tool == "pip":
        world.release("1.8.11", loses=False)
        assert client.fresh(PROJECT) == {**NEW, AGENTS: "1.8.11", PLUGIN: "1.8.11"}


BEFORE = {AGENTS: "1.8.8+dispatched.1", PLUGIN: "1.8.8", PROJECT: "1.8.8.1"}
PINS = [f"{PROJECT}==1.8.9.1", f"{AGENTS}==1.8.9+dispatched.1", f"{PLUGIN}==1.8.9"]
FREE = [f"{PROJECT}>=1.8", AGENTS, PLUGIN]


@pytest.mark.parametrize(
    ("names", "end", "after"),
    [
        (PINS, "retired", OLD),
        (PINS, "yanked", OLD),
        # uv takes what is yanked only if the project itself names it
        ([PINS[0], AGENTS, PLUGIN], "retired", {}),
        (FREE, "retired", NEW),
        (FREE, "yanked", BEFORE),
        # without sources, the first index that has a project
        ([f"{PROJECT}>=1.8.9"], "retired", NEW),
    ],
)
def test_a_lock_file_holds_until_it_is_upgraded(
    world: World, names: list[str], end: str, after: dict[str, str]
) -> None:
    client = world.client("uv")
    client.folder.mkdir()
    sources = [f'{name} = {{ index = "dispatched" }}\n' for name in PROJECTS if len(names) > 1]
    (client.folder / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.10"\n'
        f"dependencies = {names}\n"
        f"[tool.uv.sources]\n{''.join(sources)}"
        f'[[tool.uv.index]]\nname = "dispatched"\nurl = "{client.ours[0]}"\n'
        f"explicit = {str(bool(sources)).lower()}\nexclude-newer = false\n"
        f'[[tool.uv.index]]\nurl = "{client.public}"\ndefault = true\n'
    )

    def locked(*words: str) -> dict[str, str]:
        done = client.run(uv(), "lock", "-q", *words, check=False)
        if done.returncode:
            assert "was yanked" in done.stderr
            return {}
        text = client.run(uv(), "export", "-q", "--no-hashes", "--no-header").stdout
        return dict(line.split("==") for line in text.splitlines() if line[0].isalpha())

    assert locked() == OLD
    if end == "retired":
        world.remember()
        world.retire("--yes")
    else:
        yank(world.index, "1.8.9", "a reason")
    assert locked() == OLD
    assert locked("--upgrade") == after
    if after:
        client.run(uv(), "sync", "-q", "--locked", "--no-install-project")


# the last ones are for uv, which looks no further than our index: pip sees the public one too
ASKED = [[PROJECT], [f"{PROJECT}==1.8.9.*"], [f"{AGENTS}>=1.8", PLUGIN], [PLUGIN]]


def test_undone_by_one_command(world: World, client: Client) -> None:
    questions = ASKED if client.tool == "uv" else ASKED[:2]
    before = [client.fresh(*asked) for asked in questions]
    assert before[:2] == [OLD, OLD]
    world.remember()
    world.retire("--yes")
    assert client.fresh(PROJECT) == NEW
    result = world.retire("--undo")
    assert (result["unyanked"], result["yanked"]) == (PATCHED, LAST[:2])
    assert [client.fresh(*asked) for asked in questions] == before
    for project in PROJECTS:
        assert world.status(project) == (None, None)
        names = [name for name in LAST[:2] if project.replace("-", "_") in name]
        assert world.yanked(project) == dict.fromkeys(names, UNDONE)
    # and retired again
    world.retire("--yes")
    assert client.install("--upgrade", PROJECT) == NEW


def other_wheels(world: World) -> Verdict:
    verdict = world.judged()
    wheels = {**verdict.wheels, min(verdict.wheels): "0" * 64}
    return replace(verdict, wheels=wheels, patched=replace(verdict.patched, wheels=wheels))


REFUSED: dict[str, tuple[Any, str]] = {
    "loses": (
        lambda world: world.judged(loses=True),
        "still loses calls: 1 of 1 tests, 3 of 7 schedules",
    ),
    "quick": (lambda world: world.judged(tier="quick"), "only `fixed` in the tier full"),
    "other wheels": (other_wheels, "over its very wheels"),
    "toothless": (lambda world: world.judged(has_teeth=False), ""),
}


@pytest.mark.parametrize("pulls", ["merged", "closed", "open"])
@pytest.mark.parametrize("kind", list(REFUSED)[:3])
def test_only_behaviour_retires(
    kind: str, pulls: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever GitHub says of the pull requests."""
    judged, reason = REFUSED[kind]
    merged = "2026-10-30T00:00:00Z" if pulls == "merged" else None
    with replaying() as github:
        for path, answer in github.answers.items():
            if "/pulls/" in path and isinstance(answer["body"], dict):
                state = "open" if pulls == "open" else "closed"
                github.change(path, state=state, merged_at=merged, closed_at=merged)
        monkeypatch.setenv(API_VARIABLE, github.url)
        before = snapshot(world.index)
        world.remember(judged(world))
        assert reason in world.retire("--yes", code=NOT_FIXED)
        assert snapshot(world.index) == before
        world.remember()
        world.retire("--yes")
        assert github.asked == []


@pytest.mark.parametrize(
    ("tier", "outcome", "reason"),
    [
        ("quick", {"loses": True}, "still loses calls"),
        ("full", {"loses": True}, "still loses calls"),
        ("full", {"has_teeth": False}, "the verdict is inconclusive"),
    ],
)
def test_a_proof_that_fails_retires_nothing(
    tier: str, outcome: dict[str, bool], reason: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def prove(_: object, settings: ProofSettings, **rest: object) -> Verdict:
        asked.append(settings.tier)
        return world.judged(tier=settings.tier, **outcome if settings.tier == tier else {})

    replace_proof(monkeypatch, prove)
    assert reason in world.retire("--yes", "--prove", code=NOT_FIXED)
    # the tier full is asked if quick has not said no
    assert asked == ["quick", "full"][: 1 + (tier == "full")]


def test_a_verdict_that_was_touched_is_none(world: World) -> None:
    kept = world.remember()
    kept.write_bytes(kept.read_bytes().replace(b'"passed": 1', b'"passed": 2'))
    assert "is not proved" in world.retire("--yes", code=NOT_FIXED)


def test_a_newer_release_that_is_not_proved_keeps_the_series_going(world: World) -> None:
    world.remember()
    world.release("1.9.0", loses=True, when=MARCH)
    world.retire("--yes", code=NOT_FIXED)
    world.retire("--as-of", "2026-02-01")
    world.upstream.index.yanked["livekit_agents-1.9.0-py3-none-any.whl"] = "broken"
    world.release("2.0.0b1", loses=True)
    world.retire()


def test_what_others_said_and_later_releases_stay(world: World) -> None:
    world.release("2.0.0b1", loses=True)
    world.publish("2.0.0b1")
    yank(world.index, "1.8.8", "a reason of its own")
    mark(world.index, PLUGIN, "deprecated", "another reason")
    world.remember()
    result = world.retire("--yes")
    later = "livekit_agents-2.0.0b1+dispatched.1-py3-none-any.whl"
    assert (result["yanked"], result["kept"]) == (PATCHED[1:], [later])
    assert sorted(result["marked"]) == [AGENTS, PROJECT]
    world.retire("--undo")
    assert world.yanked(AGENTS) == {PATCHED[0]: "a reason of its own", LAST[0]: UNDONE}
    assert world.status(PLUGIN) == ("deprecated", "another reason")
    # a later release that loses again ends the end, but not what others said
    world.retire("--yes")
    world.release("1.8.11", loses=True)
    world.publish("1.8.11")
    assert [world.status(project)[1] for project in PROJECTS] == [None, None, "another reason"]


@pytest.mark.parametrize("words", [["--as-of", "2026-02-01"], ["--offline"]])
def test_only_today_s_newest_release_ends_a_series(world: World, words: list[str]) -> None:
    world.remember()
    before = snapshot(world.index)
    assert "--yes asks what is newest today" in world.retire("--yes", *words, code=2)
    assert snapshot(world.index) == before


@pytest.mark.parametrize("text", ["{", "[]", '{"release": "1.8.10"}', "\udcff"])
def test_a_damaged_verdict_is_said(world: World, text: str) -> None:
    world.remember()
    world.retire("--yes")
    path = world.index / "verdicts" / f"{FIXED}.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    before = snapshot(world.index)
    assert f"{path} is damaged: it is no verdict" in world.retire("--undo", code=19)
    with pytest.raises(IndexConflict, match="is damaged"):
        yank(world.index, "1.8.9", "a reason")
    assert snapshot(world.index) == before


def test_another_machine_learns_it_from_the_index(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.upstream.run("update")

    def learned() -> tuple[str, bool | None]:
        (line,) = world.run("status", "--offline", "--json", FIXED).json["releases"]
        return line["verdict"], line["loses"]

    world.remember()
    world.retire("--yes")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "another cache"))
    assert learned() == ("fixed", False)
    # a verdict on other wheels says nothing of these
    path = world.index / "verdicts" / f"{FIXED}.json"
    path.write_text(path.read_text().replace(world.fetched().release.artefacts[0].sha256, "0" * 64))
    assert learned() == ("unknown", None)
    path.unlink()
    assert learned() == ("unknown", None)


def test_no_index_is_made(world: World, tmp_path: Path) -> None:
    world.remember()
    none = World(world.upstream, tmp_path / "none")
    for words in (["--yes"], ["--undo"], []):
        none.retire(*words, code=19)
    assert not none.index.exists()


def test_a_fixed_release_that_the_series_does_not_fit_is_not_rebased(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = engine_patch(line9="first = 1")
    fits_not = fits.replace(" value_8 =", " another =")
    patches = world.upstream.workspace.patches
    write_series(patches, {"guard": {"1.0": fits, FIXED: fits_not}})
    before, asked = (snapshot(world.index), snapshot(patches / "guard")), list[str]()

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
        assert pair.official == pair.patched
        asked.append(settings.tier)
        return world.judged(tier=settings.tier)

    replace_proof(monkeypatch, prove)
    words = [FIXED, "--refresh", tmp_path / "refresh", "--json"]
    for _ in range(2):
        result = world.run("release", *words, code=NotProved.exit_code)
        assert result.json[0]["verdict"] == "fixed"
        assert f"nox -s release -- {FIXED} --tier full" in result.err
    assert asked == ["quick"]
    assert (snapshot(world.index), snapshot(patches / "guard")) == before
    assert not (tmp_path / "refresh").exists()
    status = world.upstream.run("status", "--offline", "--json").json
    assert status["newest"]["loses"] is None
    # that was not the tier full
    world.retire("--yes", code=NOT_FIXED)


@pytest.mark.parametrize(
    ("known", "tier", "asked", "loses"),
    [
        ({}, "full", ["quick", "full"], False),
        ({}, "quick", ["quick"], False),
        ({"quick": False}, "full", ["full"], False),
        ({"quick": True}, "full", [], True),
        ({"quick": False, "full": True}, "quick", [], True),
        ({"quick": True, "full": False}, "quick", [], False),
        ({"full": False}, "full", [], False),
    ],
)
def test_the_larger_tier_that_is_remembered_decides(
    world: World,
    known: dict[str, bool],
    tier: str,
    asked: list[str],
    loses: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = world.upstream.workspace
    store, official, seen = VerdictStore.open(workspace.outcomes), world.fetched(), list[str]()
    for name, loss in known.items():
        cache_unpatched(store, official.release, world.judged(tier=name, loses=loss), name)

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
        seen.append(settings.tier)
        return world.judged(tier=settings.tier)

    replace_proof(monkeypatch, prove)
    settings = ProofSettings(workspace, tier=tier)
    verdict = prove_unpatched(official, store, settings)
    assert (seen, bool(verdict.official.lost)) == (asked, loses)
    # and nobody is asked again
    assert prove_unpatched(official, store, settings) == verdict
    assert seen == asked


def test_a_verdict_from_another_machine_ends_the_series(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write the index proves nothing, and takes nothing that is not this release's."""
    path = tmp_path / "verdict.json"
    before = snapshot(world.index)
    # it is written before it is refused, too
    world.remember(world.judged(loses=True))
    world.retire("--out", path, code=NOT_FIXED)
    assert Verdict.parse(path.read_text()).official.lost
    world.remember()
    world.retire("--out", path)
    # another machine, which remembers nothing
    monkeypatch.setattr(unpatched, "cached_unpatched", lambda *_: None)
    world.retire("--yes", code=NOT_FIXED)
    world.retire("--verdict", path)
    assert snapshot(world.index) == before
    world.retire("--verdict", path, "--yes")
    assert set(LAST) <= set(Ledger.read(world.index).files)


@pytest.mark.parametrize("kind", [*REFUSED, "damaged"])
def test_no_other_verdict_from_elsewhere_does(world: World, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "verdict.json"
    path.write_text(REFUSED[kind][0](world).to_json() if kind in REFUSED else "{")
    before = snapshot(world.index)
    code = NotProved.exit_code if kind == "damaged" else NOT_FIXED
    world.retire("--verdict", path, "--yes", code=code)
    assert snapshot(world.index) == before
