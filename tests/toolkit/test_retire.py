"""``retire.py``: the series ends by behaviour alone, breaks nobody, and can be taken up again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from indexes import mark
from making import AGENTS, PLUGIN, Index, engine_patch, write_series
from publishing import make_runner, make_suite, snapshot
from pypi_simple import ProjectPage, ProjectStatus
from replaying import replaying
from retiring_world import COMPANION, FIXED, LATER, PROJECTS, RELEASES, Client, World, open_world
from standing_in import replace_proof

import audit
import release as release_verb
import retire as verb
import status
import update
from toolkit.environments.interpreter import uv
from toolkit.environments.pair import WheelPair
from toolkit.forward.github import API_VARIABLE
from toolkit.index.ledger import Mark, retirement_reason
from toolkit.index.publish import publish_all, read_list
from toolkit.index.retire import UNDONE, last_bundle
from toolkit.index.yank import yank
from toolkit.patches.series import Series
from toolkit.proof import prove
from toolkit.proof.prove import ProofSettings
from toolkit.proof.store import VerdictStore
from toolkit.proof.unpatched import alone, remember
from toolkit.proof.verdict import Verdict
from toolkit.releases.release import Release
from toolkit.util.errors import IndexConflict, NotFixed, NotProved
from toolkit.util.workspace import CACHE_VARIABLE, Workspace

OLD = {AGENTS: "1.8.9+dispatched.1", PLUGIN: "1.8.9", COMPANION: "1.8.9.1"}
NEW = {AGENTS: "1.8.10", PLUGIN: "1.8.10", COMPANION: "1.8.10.0"}
PATCHED = [f"livekit_agents-{release}+dispatched.1-py3-none-any.whl" for release in RELEASES]
LAST = [
    "livekit_agents-1.8.10-py3-none-any.whl",
    "livekit_dispatched-1.8.10.0-py3-none-any.whl",
    "livekit_plugins_openai-1.8.10-py3-none-any.whl",
]


@pytest.fixture
def world(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> World:
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    return open_world(index, workspace, tmp_path)


@pytest.fixture(params=["pip", "uv"])
def client(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Client:
    folder = tmp_path / "client"
    folder.mkdir()
    return Client(request.param, world, folder).begin()


def pages(world: World) -> dict[str, str]:
    """All that clients see."""
    return {name: text for name, (_, text) in snapshot(world.index / "simple").items()}


def test_from_a_fixed_release_to_the_end_of_the_series(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    suite, runner = make_suite(tmp_path / "suite"), make_runner(tmp_path / "runner")

    def real(pair: WheelPair, settings: ProofSettings, **shown: Any) -> Verdict:
        tried = replace(settings, race_suite=suite, extra=(runner,), optional=(), timeout=60.0)
        return prove.prove(pair, tried, **shown)

    monkeypatch.setenv("UV_OFFLINE", "1")
    replace_proof(monkeypatch, real)
    before = snapshot(world.index)
    assert world.retire() == world.retire("--yes") == NotFixed.exit_code == 27
    assert "is not proved" in capsys.readouterr().err

    assert world.retire("--prove") == 0
    plan = json.loads(capsys.readouterr().out)
    assert snapshot(world.index) == before
    assert (plan["release"], plan["verdict"], plan["dry_run"]) == (FIXED, "fixed", True)
    assert "tier full" in plan["reason"]
    assert (plan["new"], plan["yanked"]) == (LAST, PATCHED)
    assert plan["marked"] == dict.fromkeys(PROJECTS, "deprecated")

    replace_proof(monkeypatch, None)
    assert world.retire("--yes") == 0
    assert json.loads(capsys.readouterr().out) == {**plan, "dry_run": False}
    for project in PROJECTS:
        for page in (
            ProjectPage.from_json_data(world.page(project)),
            ProjectPage.from_html(
                project, (world.index / "simple" / project / "index.html").read_text("utf-8")
            ),
        ):
            assert page.status == ProjectStatus.DEPRECATED
            assert page.status_reason == retirement_reason(FIXED)
            yanked = {p.filename: p.yanked_reason for p in page.packages if p.is_yanked}
            wanted = PATCHED if project == AGENTS else []
            assert yanked == dict.fromkeys(wanted, retirement_reason(FIXED))
    assert f"fixed upstream in livekit-agents {FIXED}" in retirement_reason(FIXED)
    verdict = json.loads((world.index / "verdicts" / f"{FIXED}.json").read_text("utf-8"))
    assert (verdict["series"], verdict["revision"]) == ("", 0)
    after = snapshot(world.index)
    assert after.keys() > before.keys()
    assert world.retire("--yes") == 0
    assert snapshot(world.index) == after
    assert audit.main([str(world.index), *world.places, "--json"]) == 0


def test_a_retirement_that_was_cut_is_finished(world: World) -> None:
    verdict = world.judged()
    world.remember(verdict)
    bundle = last_bundle(world.fetched(), verdict, Series.load(world.workspace.patches))
    publish_all([bundle], world.index)
    assert world.retire("--yes") == 0
    assert world.page(AGENTS)["project-status"]["status"] == "deprecated"
    assert [f["filename"] for f in world.page(AGENTS)["files"] if f["yanked"]] == PATCHED


def test_what_people_see(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.remember(world.judged())
    words = ["--index", str(world.index), *world.places]
    assert verb.main(words) == 0
    said = capsys.readouterr().out
    for line in (
        f"{FIXED}: fixed: the official wheels lose no call",
        f"would publish  {LAST[0]}",
        f"would yank     {PATCHED[1]}",
        f"would mark     {COMPANION} deprecated",
        "--yes does it",
    ):
        assert line in said
    assert verb.main([*words, "--yes"]) == verb.main([*words, "--yes"]) == 0
    said = capsys.readouterr().out
    assert f"\nyank     {PATCHED[0]}\n" in said
    assert said.endswith("nothing to do\n")


def test_who_upgrades_gets_the_fixed_release_and_locks_hold(client: Client) -> None:
    world = client.world
    pins = [f"{AGENTS}==1.8.9+dispatched.1", f"{PLUGIN}==1.8.9"]
    assert client.install(f"{COMPANION}==1.8.9.1") == OLD
    world.remember(world.judged())
    assert world.retire("--yes") == 0
    assert client.install(COMPANION) == OLD
    assert client.install("--upgrade", COMPANION) == NEW
    assert client.fresh(*pins) == {AGENTS: OLD[AGENTS], PLUGIN: OLD[PLUGIN]}
    assert client.install("--upgrade", f"{AGENTS}>=1.8", PLUGIN) == {
        AGENTS: FIXED,
        PLUGIN: FIXED,
    }
    assert client.fresh(*pins, f"{COMPANION}==1.8.9.1") == OLD
    constraints = (world.index / "constraints" / "1.8.9-dispatched.1.txt").as_uri()
    for companion in (f"{COMPANION}==1.8.9.1", f"{COMPANION}==1.8.9.*"):
        assert client.fresh("--constraint", constraints, companion) == OLD
    # upstream goes on, and the last companion holds nobody back
    if client.tool == "pip":
        world.release("1.8.11", loses=False)
        assert client.fresh(COMPANION) == {**NEW, AGENTS: "1.8.11", PLUGIN: "1.8.11"}


def test_a_lock_file_holds_until_it_is_upgraded(world: World, tmp_path: Path) -> None:
    client = Client("uv", world, tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.10"\n'
        f'dependencies = ["{COMPANION}>=1.8.9"]\n'
        f'[[tool.uv.index]]\nname = "ours"\nurl = "{world.index.as_uri()}/simple/"\n'
        f'[[tool.uv.index]]\nurl = "{world.public.url}"\ndefault = true\n'
    )

    def locked(*words: str) -> list[str]:
        client.run([uv(), "lock", "-q", *words])
        found = client.run([uv(), "export", "-q", "--no-hashes", "--no-header"]).stdout
        return [line for line in found.splitlines() if line[0].isalpha()]

    before = locked()
    assert before == [f"{name}=={OLD[name]}" for name in PROJECTS]
    world.remember(world.judged())
    assert world.retire("--yes") == 0
    assert locked() == before
    client.run([uv(), "sync", "-q", "--locked", "--no-install-project"])
    assert locked("--upgrade") == [f"{name}=={NEW[name]}" for name in PROJECTS]


BEFORE = {AGENTS: "1.8.8+dispatched.1", PLUGIN: "1.8.8", COMPANION: "1.8.8.1"}
PINS = [f"{COMPANION}==1.8.9.1", f"{AGENTS}==1.8.9+dispatched.1", f"{PLUGIN}==1.8.9"]
FREE = [f"{COMPANION}>=1.8", AGENTS, PLUGIN]


@pytest.mark.parametrize(
    ("names", "end", "after"),
    [
        (PINS, "retired", OLD),
        (PINS, "yanked", OLD),
        # uv takes what is yanked only if the project itself names it
        ([PINS[0], AGENTS, PLUGIN], "retired", {}),
        (FREE, "retired", NEW),
        (FREE, "yanked", BEFORE),
    ],
)
def test_a_project_of_uv_that_names_its_pins_holds(
    world: World, tmp_path: Path, names: list[str], end: str, after: dict[str, str]
) -> None:
    client = Client("uv", world, tmp_path)
    sources = "".join(f'{name} = {{ index = "dispatched" }}\n' for name in PROJECTS)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.10"\n'
        f"dependencies = {names}\n"
        f"[tool.uv.sources]\n{sources}"
        f'[[tool.uv.index]]\nname = "dispatched"\nurl = "{world.index.as_uri()}/simple/"\n'
        "explicit = true\nexclude-newer = false\n"
        f'[[tool.uv.index]]\nurl = "{world.public.url}"\ndefault = true\n'
    )

    def locked(*words: str) -> dict[str, str]:
        done = client.run([uv(), "lock", "-q", *words], check=False)
        if done.returncode:
            assert "was yanked" in done.stderr
            return {}
        said = client.run([uv(), "export", "-q", "--no-hashes", "--no-header"]).stdout
        return dict(line.split("==") for line in said.splitlines() if line[0].isalpha())

    assert locked() == OLD
    if end == "retired":
        world.remember(world.judged())
        assert world.retire("--yes") == 0
    else:
        yank(world.index, "1.8.9", "a reason")
    assert locked() == OLD
    assert locked("--upgrade") == after
    if after:
        client.run([uv(), "sync", "-q", "--locked", "--no-install-project"])


# the last ones are for uv, which looks no further than our index: pip sees the public one too
ASKED = [[COMPANION], [f"{COMPANION}==1.8.9.*"], [f"{AGENTS}>=1.8", PLUGIN], [PLUGIN]]


def test_undone_by_one_command(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    world = client.world
    questions = ASKED if client.tool == "uv" else ASKED[:2]
    before, seen = [client.fresh(*asked) for asked in questions], pages(world)
    assert before[:2] == [OLD, OLD]
    world.remember(world.judged())
    assert world.retire("--yes") == 0
    assert client.fresh(COMPANION) == NEW
    capsys.readouterr()
    assert world.retire("--undo") == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["unyanked"], done["yanked"]) == (PATCHED, LAST[:2])
    assert [client.fresh(*asked) for asked in questions] == before
    for project in PROJECTS:
        page = world.page(project)
        assert "project-status" not in page
        yanked = {f["filename"]: f["yanked"] for f in page["files"] if f["yanked"] is not False}
        assert yanked == {name: UNDONE for name in LAST[:2] if project.replace("-", "_") in name}
    was = snapshot(world.index)
    assert world.retire("--undo") == 0
    assert snapshot(world.index) == was
    # and retired again
    assert world.retire("--yes") == 0
    assert client.install("--upgrade", COMPANION) == NEW
    assert seen.keys() == pages(world).keys()


def test_nothing_was_retired_so_nothing_is_undone(world: World) -> None:
    before = snapshot(world.index)
    assert world.retire("--undo") == 0
    assert snapshot(world.index) == before


def loses(world: World) -> Verdict:
    return world.judged(loses=True)


def quick(world: World) -> Verdict:
    return world.judged(tier="quick")


def other_wheels(world: World) -> Verdict:
    verdict = world.judged()
    name = min(verdict.wheels)
    sums = {**verdict.wheels, name: "0" * 64}
    return Verdict(**{
        **vars(verdict), "wheels": sums, "patched": type(verdict.patched)(
            **{**vars(verdict.patched), "wheels": sums})})  # fmt: skip


REFUSED = {
    loses: "still loses calls: 1 of 1 tests, 3 of 7 schedules",
    quick: "only `fixed` in the tier full",
    other_wheels: "over its very wheels",
}


@pytest.mark.parametrize("verdict", REFUSED)
@pytest.mark.parametrize("pulls", ["merged", "closed", "open"])
def test_only_behaviour_retires(
    verdict: object,
    pulls: str,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever GitHub says of the pull requests."""
    merged = "2026-10-30T00:00:00Z" if pulls == "merged" else None
    with replaying() as github:
        for path, answer in github.answers.items():
            if "/pulls/" in path and isinstance(answer["body"], dict):
                state = "open" if pulls == "open" else "closed"
                github.change(path, state=state, merged_at=merged, closed_at=merged)
        monkeypatch.setenv(API_VARIABLE, github.url)
        before = snapshot(world.index)
        world.remember(verdict(world))  # type: ignore[operator]
        assert world.retire("--yes") == NotFixed.exit_code
        assert REFUSED[verdict] in capsys.readouterr().err  # type: ignore[index]
        assert snapshot(world.index) == before
        world.remember(world.judged())
        assert world.retire("--yes") == 0
        assert github.asked == []


@pytest.mark.parametrize(
    ("tier", "said", "reason"),
    [
        ("quick", {"loses": True}, "still loses calls"),
        ("full", {"loses": True}, "still loses calls"),
        ("full", {"has_teeth": False}, "the verdict is inconclusive"),
    ],
)
def test_a_proof_that_fails_retires_nothing(
    tier: str,
    said: dict[str, bool],
    reason: str,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = []

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
        asked.append(settings.tier)
        return world.judged(tier=asked[-1], **said if asked[-1] == tier else {})

    replace_proof(monkeypatch, prove)
    assert world.retire("--yes", "--prove") == NotFixed.exit_code
    assert reason in capsys.readouterr().err
    # the tier full is asked if quick has not said no
    assert asked == ["quick", "full"][: 1 + (tier == "full")]


def test_a_verdict_that_was_touched_is_none(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = world.remember(world.judged())
    kept.write_bytes(kept.read_bytes().replace(b'"passed": 1', b'"passed": 2'))
    assert world.retire("--yes") == NotFixed.exit_code
    assert "is not proved" in capsys.readouterr().err


def test_a_newer_release_that_is_not_proved_keeps_the_series_going(world: World) -> None:
    world.remember(world.judged())
    world.release("1.9.0", loses=True, when=LATER)
    assert world.retire("--yes") == NotFixed.exit_code
    assert world.retire("--as-of", "2026-02-01") == 0
    world.public.yanked["livekit_agents-1.9.0-py3-none-any.whl"] = "broken"
    world.release("2.0.0b1", loses=True)
    assert world.retire() == 0


def test_what_others_said_and_later_releases_stay(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.release("2.0.0b1", loses=True)
    world.publish("2.0.0b1")
    yank(world.index, "1.8.8", "a reason of its own")
    mark(world.index, PLUGIN, "deprecated", "another reason")
    before = snapshot(world.index)
    world.remember(world.judged())
    assert world.retire("--yes") == 0
    done = json.loads(capsys.readouterr().out)
    later = "livekit_agents-2.0.0b1+dispatched.1-py3-none-any.whl"
    assert (done["yanked"], done["kept"]) == (PATCHED[1:], [later])
    assert sorted(done["marked"]) == [AGENTS, COMPANION]
    assert world.retire("--undo") == 0
    now = {f["filename"]: f["yanked"] for f in world.page(AGENTS)["files"]}
    assert (now[PATCHED[0]], now[PATCHED[1]], now[later]) == ("a reason of its own", False, False)
    assert world.page(PLUGIN)["project-status"]["reason"] == "another reason"
    files = f"simple/{PLUGIN}/"
    assert {n for n in before if n.startswith(files)} == {
        n for n in snapshot(world.index) if n.startswith(files)
    }


def test_an_own_build_of_the_fixed_release_makes_way(world: World) -> None:
    world.publish(FIXED)
    world.remember(world.judged())
    assert world.retire("--yes") == 0
    offered = {
        project: [f["filename"] for f in world.page(project)["files"] if f["yanked"] is False]
        for project in PROJECTS
    }
    assert offered[AGENTS] == LAST[:1]
    assert offered[COMPANION][-1] == LAST[1]


def test_a_later_release_that_loses_again_is_published(world: World) -> None:
    world.remember(world.judged())
    assert world.retire("--yes") == 0
    # one of before, and a pre-release, are no reason to go on
    world.release("1.8.7", loses=True)
    world.release("1.9.0rc1", loses=True)
    mark(world.index, PLUGIN, "deprecated", "another reason")
    world.publish("1.8.7")
    world.publish("1.9.0rc1")
    assert [world.page(p)["project-status"]["reason"] for p in PROJECTS] == [
        retirement_reason(FIXED),
        retirement_reason(FIXED),
        "another reason",
    ]
    world.release("1.8.11", loses=True)
    world.publish("1.8.11")
    assert "livekit_dispatched-1.8.11.1-py3-none-any.whl" in read_list(world.index)
    for project in (AGENTS, COMPANION):
        html = (world.index / "simple" / project / "index.html").read_text("utf-8")
        found = [
            ProjectPage.from_json_data(world.page(project)),
            ProjectPage.from_html(project, html),
        ]
        # a page without a status is one of an active project
        assert [(page.status, page.status_reason) for page in found] == [(None, None)] * 2
        assert any(p.version and p.version.startswith("1.8.11") for p in found[0].packages)
    # what is not ours stays, and what was yanked as well
    assert world.page(PLUGIN)["project-status"]["reason"] == "another reason"
    yanked = {f["filename"]: f["yanked"] for f in world.page(AGENTS)["files"] if f["yanked"]}
    assert yanked == dict.fromkeys(PATCHED, retirement_reason(FIXED))


def test_a_mark_names_the_release_that_ended_a_series() -> None:
    reasons = {
        retirement_reason("1.8.10"): "1.8.10",
        "fixed upstream in livekit-agents 1.8.10": None,
    }
    reasons |= {"": None, "1.8.10": None, retirement_reason("x"): None}
    for reason, release in reasons.items():
        found = Mark("status", AGENTS, "deprecated", reason, "").retired_to
        assert (found and str(found)) == release


@pytest.mark.parametrize("words", [["--as-of", "2026-02-01"], ["--offline"]])
def test_only_today_s_newest_release_ends_a_series(
    world: World, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    world.remember(world.judged())
    before = snapshot(world.index)
    with pytest.raises(SystemExit) as ended:
        world.retire("--yes", *words)
    assert ended.value.code == 2
    assert "--yes asks what is newest today" in capsys.readouterr().err
    assert snapshot(world.index) == before


@pytest.mark.parametrize("text", ["{", "[]", '{"release": "1.8.10"}', "\udcff"])
def test_a_damaged_verdict_is_said(
    world: World, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    world.remember(world.judged())
    assert world.retire("--yes") == 0
    path = world.index / "verdicts" / f"{FIXED}.json"
    whole = path.read_bytes()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    before = snapshot(world.index)
    assert world.retire("--undo") == 19
    assert f"{path} is damaged: it is no verdict" in capsys.readouterr().err
    with pytest.raises(IndexConflict, match="is damaged"):
        yank(world.index, "1.8.9", "a reason")
    assert snapshot(world.index) == before
    path.write_bytes(whole)
    assert world.retire("--undo") == 0


def test_another_machine_learns_it_from_the_index(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert update.main(world.places) == 0
    words = ["--offline", "--patches", str(world.workspace.patches), "--json", FIXED]

    def said(index: Path) -> tuple[str, bool | None]:
        capsys.readouterr()
        assert status.main([*words, "--index", str(index)]) == 0
        (line,) = json.loads(capsys.readouterr().out)["releases"]
        return line["verdict"], line["loses"]

    world.remember(world.judged())
    assert world.retire("--yes") == 0
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "another cache"))
    assert said(world.index) == ("fixed", False)
    assert said(tmp_path / "none") == ("unknown", None)
    # a verdict on other wheels says nothing of these
    path = world.index / "verdicts" / f"{FIXED}.json"
    path.write_text(path.read_text().replace(world.fetched().release.artefacts[0].sha256, "0" * 64))
    assert said(world.index) == ("unknown", None)


def test_no_index_is_made(world: World, tmp_path: Path) -> None:
    world.remember(world.judged())
    for words in (["--yes"], ["--undo"], []):
        index = ["--index", str(tmp_path / "none")]
        assert verb.main([*words, *index, *world.places]) == 19
    assert not (tmp_path / "none").exists()


def test_a_fixed_release_that_the_series_does_not_fit_is_not_carried(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fits = engine_patch(line9="first = 1")
    fits_not = fits.replace(" value_8 =", " another =")
    write_series(world.workspace.patches, {"guard": {"1.0": fits, FIXED: fits_not}})
    patches = snapshot(world.workspace.patches / "guard")
    asked: list[str] = []

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
        assert pair.official == pair.patched
        asked.append(settings.tier)
        return world.judged(tier=asked[-1])

    replace_proof(monkeypatch, prove)
    words = [FIXED, "--index", str(world.index), "--refresh", str(tmp_path / "refresh")]
    before = snapshot(world.index)
    for _ in range(2):
        assert release_verb.main([*words, *world.places, "--json"]) == NotProved.exit_code
        said = capsys.readouterr()
        assert json.loads(said.out)[0]["verdict"] == "fixed"
        assert f"nox -s release -- {FIXED} --tier full" in said.err
    assert asked == ["quick"]
    assert snapshot(world.index) == before
    assert snapshot(world.workspace.patches / "guard") == patches
    assert not (tmp_path / "refresh").exists()
    assert status.main(["--offline", "--patches", str(world.workspace.patches), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["newest"]["loses"] is None
    # that was not the tier full
    assert world.retire("--yes") == NotFixed.exit_code
    assert isinstance(world.fetched().release, Release)


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
    outcomes = VerdictStore.open(world.workspace.outcomes)
    fetched, seen = world.fetched(), list[str]()
    for one, loss in known.items():
        remember(outcomes, fetched.release, world.judged(tier=one, loses=loss), one)

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
        seen.append(settings.tier)
        return world.judged(tier=settings.tier)

    replace_proof(monkeypatch, prove)
    settings = ProofSettings(world.workspace, tier=tier)
    verdict = alone(fetched, outcomes, settings)
    assert (seen, bool(verdict.official.lost)) == (asked, loses)
    # and nobody is asked again
    again = alone(fetched, outcomes, settings)
    assert (seen, again) == (asked, verdict)


def test_a_verdict_from_another_machine_ends_the_series(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write the index proves nothing, and takes nothing that is not this release's."""
    path = tmp_path / "verdict.json"
    world.remember(world.judged())
    before = snapshot(world.index)
    assert world.retire("--out", str(path)) == 0
    assert snapshot(world.index) == before
    # another machine, which remembers nothing
    monkeypatch.setattr(verb, "remembered", lambda *_: None)
    assert world.retire("--yes") == NotFixed.exit_code
    assert world.retire("--verdict", str(path)) == 0
    assert snapshot(world.index) == before
    assert world.retire("--verdict", str(path), "--yes") == 0
    assert set(LAST) <= set(read_list(world.index))


@pytest.mark.parametrize(
    ("judged", "code"),
    [({"loses": True}, 27), ({"tier": "quick"}, 27), ({"has_teeth": False}, 27), (None, 18)],
)
def test_no_other_verdict_from_elsewhere_does(
    world: World, tmp_path: Path, judged: dict[str, Any] | None, code: int
) -> None:
    path = tmp_path / "verdict.json"
    path.write_text("{" if judged is None else world.judged(**judged).to_json())
    before = snapshot(world.index)
    assert world.retire("--verdict", str(path), "--yes") == code
    assert snapshot(world.index) == before


def test_a_verdict_is_written_before_it_is_refused(world: World, tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    world.remember(world.judged(loses=True))
    assert world.retire("--out", str(path)) == NotFixed.exit_code
    assert Verdict.parse(path.read_text()).official.lost
