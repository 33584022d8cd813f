"""The schedules of a proof: its tiers, its picture, the differential oracle, and what stops it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from publishing import EXPLORER, LOST, UPLOADED, Prove, kept_in, make_runner, make_suite

from toolkit.environments.pair import WheelPair, prepare
from toolkit.proof import prove, replay
from toolkit.proof.exploration import LOSS
from toolkit.proof.explorer import CANONICAL, explore


def test_the_verdict_says_what_the_schedules_showed(proved: Prove, said: list[str]) -> None:
    found = proved().exploration
    assert found is not None
    assert (found.tier, found.seed, found.compared, found.added) == ("quick", 0, 1, {})
    assert (found.covered, found.pairs) == (7, 1)
    assert {name: v.count for name, v in found.official.violations.items()} == {
        LOST: 1,
        "refused": 2,
    }
    assert {name: v.count for name, v in found.patched.violations.items()} == {"refused": 1}
    assert found.official.violations[LOST].shortest == "call:A"
    assert found.official.schedules == 2


def test_a_tier_of_its_own_and_the_full_one_stands_for_both(proved: Prove, tmp_path: Path) -> None:
    quick = proved()
    full = proved(tier="full")
    assert [v.exploration and v.exploration.tier for v in (quick, full)] == ["quick", "full"]
    assert sorted(kept_in(tmp_path)) == sorted([quick.to_json(), full.to_json()])
    assert proved() == full


def test_the_simplest_loss_is_drawn_and_drawn_again_from_the_cache(
    proved: Prove, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved()
    pictures = [tmp_path / "a" / "verdict.svg", tmp_path / "b.svg"]
    proved(picture=pictures[0])
    monkeypatch.setattr(prove, "prepare", None)
    proved(picture=pictures[1])
    assert [path.read_text() for path in pictures] == ["<svg>call:A 1.8.9</svg>"] * 2


def test_the_canonical_loss_comes_first(proved: Prove, tmp_path: Path) -> None:
    known = EXPLORER.replace('{"call:A":', f'{{"{CANONICAL}": ["{LOST}"], "call:A":')
    assert known != EXPLORER
    suite = make_suite(tmp_path / "known", explorer=known)
    proved(race_suite=suite, picture=tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text() == f"<svg>{CANONICAL} 1.8.9</svg>"


WORSE = {
    "breaks the flag": (
        '"call:B": ["refused"]}\n',
        '"call:B": ["twice"]}\n',
        "break twice",
        "call:B",
    ),
    "adds": (
        '"call:B": ["refused"]}\n',
        '"call:C": ["refused"]}\n',
        "break refused on 1",
        "call:C",
    ),
}


@pytest.mark.parametrize("case", WORSE)
def test_schedules_can_say_that_it_regressed(
    case: str, proved: Prove, tmp_path: Path, said: list[str]
) -> None:
    was, now, reason, schedule = WORSE[case]
    script = EXPLORER.replace(was, now).replace(
        '"refused": "diff', '"twice": "flag", "refused": "diff'
    )
    verdict = proved(
        race_suite=make_suite(tmp_path / "worse", explorer=script), picture=tmp_path / "worse.svg"
    )
    assert verdict.verdict == "regressed", verdict.reason
    assert reason in verdict.reason
    assert said == [f"patched wheels: replay {schedule}", f"the picture of {schedule}"]
    assert (tmp_path / "worse.svg").read_text() == f"<svg>{schedule} 1.8.9+dispatched.3</svg>"
    assert not (tmp_path / "verdicts").exists()


UNEXPLORED = {
    "no explorer": (None, "on the official wheels the suite ended with exit code 2 and no report"),
    "wrong usage": ("import sys; print('which?'); sys.exit(2)", "exit code 2 and no report"),
    "not JSON": (EXPLORER.replace("json.dumps({", "str({"), "report is no sound JSON"),
    "another format": (EXPLORER.replace('"format": 2', '"format": 1'), "of format 1, not 2"),
    "more": (EXPLORER.replace('"seed": 0', '"seed": 0, "more": 1'), "unknown keys: more"),
    "another tier": (EXPLORER.replace('"tier": options.tier', '"tier": "full"'), "the same tier"),
    "another seed": (EXPLORER.replace('"seed": 0', '"seed": int(LOSES)'), "with the same seed"),
    "says another exit code": (
        EXPLORER.replace("sys.exit(int(any", "sys.exit(int(not any"),
        "exit code 0 contradicts the report",
    ),
    "compares less": (
        EXPLORER.replace('"compared": len(found)', '"compared": 0'),
        "1 results were to be compared, and 0 were",
    ),
    "breaks down comparing": (
        EXPLORER.replace("def compare():\n", "def compare():\n    sys.exit(1)\n"),
        "comparing the explorer ended with exit code 1 and no report",
    ),
}


@pytest.mark.parametrize("case", UNEXPLORED)
def test_an_exploration_that_cannot_be_used(case: str, proved: Prove, tmp_path: Path) -> None:
    script, reason = UNEXPLORED[case]
    assert script != EXPLORER
    suite = make_suite(tmp_path / "odd", explorer=script or "")
    if script is None:
        (suite / "explore.py").unlink()
    verdict = proved(race_suite=suite)
    assert verdict.verdict == "inconclusive"
    assert reason in verdict.reason
    assert not (tmp_path / "verdicts").exists()


def test_an_explorer_that_hangs_is_ended(
    proved: Prove, tmp_path: Path, official: list[Path], patched: list[Path], shop: Path
) -> None:
    pair = prepare(
        WheelPair(tuple(official), tuple(patched), "1.8.9", UPLOADED),
        shop / "envs",
        extra=(make_runner(shop / "runner"),),
        optional=(),
    )
    hanging = make_suite(tmp_path / "h", explorer="import threading; threading.Event().wait()")
    found = explore(hanging, pair, tier="quick", timeout=0.01)
    ended = "on the official wheels the explorer was ended, as nothing moved: it said nothing"
    assert found.explored.trouble == ended
    still = "the suite was ended after 0.01 s without progress: it said nothing"
    assert [run.trouble for run in found.tests] == [still] * 2
    (shown,) = replay.replay(hanging, pair[:1], "call:A", timeout=0.01)
    assert (shown.svg, shown.trouble) == ("", ended.replace("on the official wheels", "replaying"))


def test_what_no_wheel_may_do_on_any_schedule() -> None:
    """A tool that never starts is as lost a call as a deleted one."""
    names = runpy.run_path(str(prove.RACE_SUITE / "kit" / "explore" / "checks.py"))
    assert {LOSS, "not-started", "twice", "arguments", "undeletable"} <= {*names["FLAG"]}
    assert not {*names["FLAG"]} & {*names["DIFFERENTIAL"]}
