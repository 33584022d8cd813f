"""Proofs: two real environments, a suite and an explorer in each, a verdict, and what stops one."""

from __future__ import annotations

import os
import runpy
import signal
import time
import zipfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from publishing import (
    EXPLORER,
    LOSS,
    LOST,
    SUITE,
    UPLOADED,
    Prove,
    kept_in,
    make_runner,
    make_suite,
)
from wheels import make_wheel

from toolkit.environments.pair import WheelPair, prepare
from toolkit.proof import prove
from toolkit.proof.explorer import CANONICAL, explore
from toolkit.proof.fault_injection import FaultInjection
from toolkit.proof.replay import replay
from toolkit.proof.settings import RACE_SUITE
from toolkit.util.errors import EnvironmentUnresolvable, HashMismatch, InvalidWheel
from toolkit.util.files import sha256_of
from toolkit.util.workspace import Workspace

Edit = tuple[str, str]


def edited(text: str, *edits: Edit) -> str:
    """``text`` with each first half replaced by its second, which has to be there."""
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


def test_publish(proved: Prove, official: list[Path], patched: list[Path], said: list[str]) -> None:
    verdict = proved()
    assert verdict.verdict == "publish", said
    assert verdict.official.lost == (LOSS,)
    assert verdict.patched.lost == ()
    assert verdict.wheels == {wheel.name: sha256_of(wheel) for wheel in patched}
    assert verdict.official.wheels == {wheel.name: sha256_of(wheel) for wheel in official}
    assert (verdict.revision, verdict.series) == (3, "5e" * 32)
    assert said == []
    found = verdict.exploration
    assert found is not None
    assert (found.tier, found.seed, found.compared, found.added) == ("quick", 0, 1, {})
    assert (found.covered, found.pairs, found.official.schedules) == (7, 1, 2)
    counts = [
        {n: v.count for n, v in f.violations.items()} for f in (found.official, found.patched)
    ]
    assert counts == [{LOST: 1, "refused": 2}, {"refused": 1}]
    assert found.official.violations[LOST].shortest == "call:A"


# -- what is cached ---------------------------------------------------------------------------


def test_the_same_inputs_run_nothing_and_other_inputs_do(
    proved: Prove, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = proved()
    assert kept_in(tmp_path) == [first.to_json()]
    monkeypatch.setattr(prove, "prepare", None)
    # with the picture of the simplest loss, which was drawn when it was found
    assert proved(picture=tmp_path / "a" / "b.svg") == first
    assert (tmp_path / "a" / "b.svg").read_text() == "<svg>call:A 1.8.9</svg>"
    for change in (
        {"series": "5f" * 32},
        {"race_suite": make_suite(tmp_path / "other", SUITE + "#")},
        {"uploaded": UPLOADED.replace(year=2025)},
        {"extra": ()},
        {"tier": "full"},
    ):
        with pytest.raises(TypeError, match="not callable"):
            proved(**change)


def test_the_tier_full_serves_quick_too(proved: Prove, tmp_path: Path) -> None:
    quick, full = proved(picture=tmp_path / "a.svg"), proved(tier="full")
    assert (tmp_path / "a.svg").read_text() == "<svg>call:A 1.8.9</svg>"
    assert [v.exploration and v.exploration.tier for v in (quick, full)] == ["quick", "full"]
    assert sorted(kept_in(tmp_path)) == sorted([quick.to_json(), full.to_json()])
    assert proved() == full


def test_the_same_inputs_elsewhere_give_the_same_bytes(proved: Prove, tmp_path: Path) -> None:
    texts = {
        proved(workspace=Workspace(tmp_path / place, tmp_path / "patches")).to_json()
        for place in ("here", "there")
    }
    assert len(texts) == 1
    assert str(tmp_path) not in texts.pop()


def test_a_damaged_verdict_is_made_again(proved: Prove, tmp_path: Path) -> None:
    first = proved()
    (kept,) = (tmp_path / "verdicts").glob("*.json")
    kept.write_text(first.to_json()[:-40])
    assert proved() == first
    assert kept.read_text() == first.to_json()


# -- official wheels that lose nothing --------------------------------------------------------


@pytest.fixture
def fixed(tmp_path: Path, patched: list[Path]) -> list[Path]:
    """Official wheels that lose no call."""
    quiet = {"livekit/agents/__init__.py": "LOSES = False\n"}
    return [make_wheel(tmp_path / "q", "livekit-agents", "1.8.9", quiet), patched[1]]


def test_fixed_upstream(proved: Prove, tmp_path: Path, fixed: list[Path]) -> None:
    verdict = proved(official=fixed)
    assert verdict.verdict == "fixed", verdict.reason
    assert verdict.probe == FaultInjection(caught=1, schedules={"session": 1, "agent": 1})
    assert kept_in(tmp_path) == [verdict.to_json()]
    assert proved(official=fixed) == verdict


INJECTED = 'if "--plant" in sys.argv:\n    '
UNNOTICED: dict[str, tuple[Edit, str]] = {
    "tests": ((f"{INJECTED}livekit", 'if "no" in sys.argv:\n    livekit'), "1 tests (the first: "),
    "one level": (('("session", "agent")}', '("session", "session")}'), "of the agent level"),
    "both levels": ((f"{INJECTED}BROKEN", 'if "no" in sys.argv:\n    BROKEN'), "session or agent"),
    "breaks down": ((INJECTED, f"{INJECTED}sys.exit(3)\n    "), "exit code 3 and no report"),
}


@pytest.mark.parametrize(("edit", "reason"), UNNOTICED.values(), ids=UNNOTICED)
def test_a_suite_that_notices_no_fault_says_nothing_of_a_fix(
    edit: Edit, reason: str, proved: Prove, tmp_path: Path, fixed: list[Path]
) -> None:
    suite = make_suite(tmp_path / "dull", explorer=edited(EXPLORER, edit))
    verdict = proved(official=fixed, race_suite=suite)
    assert verdict.verdict == "inconclusive"
    assert "lose no call, but the suite would not notice a loss here: " in verdict.reason
    assert reason in verdict.reason
    assert kept_in(tmp_path) == []


# -- suites and explorers that let no wheel go on ---------------------------------------------


def failing_when_patched(message: str) -> str:
    """A suite whose quiet test fails on the patched wheels alone."""
    return edited(
        SUITE,
        ('"outcome": "passed", "check": "wire"', '"outcome": OUT, "check": "wire"'),
        ('"message": "", "seconds": 0.5', '"message": SAID, "seconds": 0.5'),
        ("int(LOSES)", "int(LOSES or bool(SAID))"),
        ("names = ", f"OUT, SAID = ('passed', '') if LOSES else ('failed', {message!r})\nnames = "),
    )


FLAG_KIND = ('"refused": "diff', '"twice": "flag", "refused": "diff')
# what the patched wheels do, the reason, and what is told
REGRESSED: list[tuple[str, str, str, list[str]]] = [
    (
        failing_when_patched("it got loud"),
        EXPLORER,
        "1 tests (the first: test_wire.py::test_quiet)",
        ["test_wire.py::test_quiet: it got loud"],
    ),
    (
        SUITE,
        edited(EXPLORER, ('"call:B": ["refused"]}\n', '"call:B": ["twice"]}\n'), FLAG_KIND),
        "break twice",
        ["replay call:B", "the picture of call:B"],
    ),
    (
        SUITE,
        edited(EXPLORER, ('"call:B": ["refused"]}\n', '"call:C": ["refused"]}\n')),
        "break refused on 1",
        ["replay call:C", "the picture of call:C"],
    ),
]


@pytest.mark.parametrize(("suite", "explorer", "reason", "told"), REGRESSED)
def test_regressed_tells_what_is_worse(
    suite: str,
    explorer: str,
    reason: str,
    told: list[str],
    proved: Prove,
    tmp_path: Path,
    said: list[str],
) -> None:
    picture = tmp_path / "picture.svg"
    verdict = proved(race_suite=make_suite(tmp_path / "s", suite, explorer), picture=picture)
    assert verdict.verdict == "regressed"
    assert reason in verdict.reason
    assert said == [f"patched wheels: {told[0]}", *told[1:]]
    schedule, wheels = (told[0][-6:], "+dispatched.3") if told[1:] else ("call:A", "")
    assert picture.read_text() == f"<svg>{schedule} 1.8.9{wheels}</svg>"
    assert not (tmp_path / "verdicts").exists()


SHORT = ("OSError: [Errno 28] No space left on device", "MemoryError", "x: [Errno 24] Too many")
SUITES: list[tuple[str, str]] = [
    ("import sys; print('no such option'); sys.exit(4)", "suite ended with exit code 2 and no rep"),
    ("import os; os.abort()", "and no report"),
    ("import sys; from pathlib import Path; Path(sys.argv[1]).write_text('{')", "not JSON"),
    (edited(SUITE, ("sys.exit(int(LOSES))", "sys.exit(3)")), "exit code"),
    (edited(SUITE, ("version(name) for", "'0.1' for")), "livekit-agents 0.1 was tested, not 1.8.9"),
    (edited(SUITE, ('"collected": 2', '"collected": 3')), "3 tests were collected and 2 reported"),
    # on the patched side alone, where a failure would be a regression
    *(
        (
            failing_when_patched(message),
            "on the patched wheels the machine is short of something: test_wire.py::test_quiet: "
            f"{message}",
        )
        for message in SHORT
    ),
]
EXPLORERS: list[tuple[Edit, str]] = [
    ((EXPLORER, "import sys; print('which?'); sys.exit(2)"), "exit code 2 and no report"),
    (("json.dumps({", "str({"), "report is no sound JSON"),
    (('"format": 2', '"format": 1'), "of format 1, not 2"),
    (('"seed": 0', '"seed": 0, "more": 1'), "unknown keys: more"),
    (('"tier": options.tier', '"tier": "full"'), "the same tier"),
    (('"seed": 0', '"seed": int(LOSES)'), "with the same seed"),
    (("sys.exit(int(any", "sys.exit(int(not any"), "exit code 0 contradicts the report"),
    (('"compared": len(found)', '"compared": 0'), "1 results were to be compared, and 0 were"),
    (
        ("def compare():\n", "def compare():\n    sys.exit(1)\n"),
        "comparing the explorer ended with exit code 1 and no report",
    ),
]


@pytest.mark.parametrize(
    ("suite", "explorer", "reason"),
    [(suite, EXPLORER, reason) for suite, reason in SUITES]
    + [(SUITE, edited(EXPLORER, edit), reason) for edit, reason in EXPLORERS],
)
def test_a_run_that_cannot_be_used_proves_nothing(
    suite: str, explorer: str, reason: str, proved: Prove, tmp_path: Path
) -> None:
    verdict = proved(race_suite=make_suite(tmp_path / "s", suite, explorer))
    assert verdict.verdict == "inconclusive"
    assert reason in verdict.reason
    assert not (tmp_path / "verdicts").exists()


def test_the_canonical_loss_comes_first(proved: Prove, tmp_path: Path) -> None:
    canonical = edited(EXPLORER, ('{"call:A":', f'{{"{CANONICAL}": ["{LOST}"], "call:A":'))
    suite = make_suite(tmp_path / "known", explorer=canonical)
    proved(race_suite=suite, picture=tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text() == f"<svg>{CANONICAL} 1.8.9</svg>"


def test_what_no_wheel_may_do_on_any_schedule() -> None:
    """A tool that never starts is as lost a call as a deleted one."""
    names = runpy.run_path(str(RACE_SUITE / "kit" / "explore" / "checks.py"))
    assert {LOST, "not-started", "twice", "arguments", "undeletable"} <= {*names["FLAG"]}
    assert not {*names["FLAG"]} & {*names["DIFFERENTIAL"]}


# -- runs that do not end ---------------------------------------------------------------------


@pytest.mark.parametrize("ctrl_c", [False, True])
def test_suites_that_hang_are_ended(
    ctrl_c: bool, proved: Prove, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()
    say = f"open(f'{pids}/{{os.getpid()}}', 'x')"
    script = f"import os, threading\n{say}\nthreading.Event().wait()"

    def monotonic() -> float:
        # a clock that is asked as soon as both suites were started
        while len(list(pids.iterdir())) < 2:
            os.sched_yield()
        if ctrl_c:
            signal.raise_signal(signal.SIGINT)
        return time.monotonic()

    monkeypatch.setattr("toolkit.util.process.time", SimpleNamespace(monotonic=monotonic))
    with pytest.raises(KeyboardInterrupt) if ctrl_c else nullcontext():
        verdict = proved(race_suite=make_suite(tmp_path / "hangs", script), timeout=0.05)
        assert (verdict.verdict, verdict.reason) == (
            "inconclusive",
            "on the official wheels the suite was ended after 0.05 s without progress: it said "
            "nothing",
        )
    for path in pids.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)
    assert kept_in(tmp_path) == []


def test_an_explorer_that_hangs_is_ended(
    proved: Prove, tmp_path: Path, official: list[Path], patched: list[Path], shop: Path
) -> None:
    pair = WheelPair(tuple(official), tuple(patched), "1.8.9", UPLOADED)
    extra = (make_runner(shop / "runner"),)
    sides = prepare(pair, shop / "envs", extra=extra, optional=())
    hanging = make_suite(tmp_path / "h", explorer="import threading; threading.Event().wait()")
    evidence = explore(hanging, sides, tier="quick", timeout=0.01)
    ended = "on the official wheels the explorer was ended, as nothing moved: it said nothing"
    assert evidence.explored.trouble == ended
    still = "the suite was ended after 0.01 s without progress: it said nothing"
    assert [run.trouble for run in evidence.tests] == [still] * 2
    (shown,) = replay(hanging, sides[:1], "call:A", timeout=0.01)
    assert (shown.svg, shown.trouble) == ("", ended.replace("on the official wheels", "replaying"))


# -- environments -----------------------------------------------------------------------------


def test_different_dependencies_prove_nothing(
    proved: Prove, tmp_path: Path, patched: list[Path]
) -> None:
    other = make_wheel(tmp_path / "other", "something", "2.0")
    needy = make_wheel(
        tmp_path / "needy",
        "livekit-agents",
        "1.8.9+dispatched.3",
        {"livekit/agents/__init__.py": "LOSES = False\n"},
        requires=[f"something @ {other.as_uri()}"],
    )
    verdict = proved(patched=[needy, patched[1]])
    assert (verdict.verdict, verdict.reason) == (
        "inconclusive",
        "other dependencies differ: something",
    )


def test_an_altered_wheel_is_found_before_anything_runs(
    proved: Prove, tmp_path: Path, patched: list[Path]
) -> None:
    members = zipfile.ZipFile(patched[0])
    with members, zipfile.ZipFile(tmp_path / patched[0].name, "w") as archive:
        for info in members.infolist():
            data = members.read(info)
            archive.writestr(info, data.replace(b"LOSES = False", b"LOSES = 0"))
    with pytest.raises(HashMismatch, match=r"agents/__init__\.py was altered"):
        proved(patched=[tmp_path / patched[0].name, patched[1]])


def test_wheels_that_make_no_pair(proved: Prove, official: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidWheel, match="both distributions"):
        proved(patched=official[:1])
    with pytest.raises(InvalidWheel, match="two wheels of livekit-agents"):
        proved(official=[*official, official[0]])
    with pytest.raises(InvalidWheel, match="is no file"):
        proved(official=[tmp_path / official[0].name, official[1]])
    with pytest.raises(InvalidWheel):
        proved(official=[tmp_path / "x.zip", official[1]])


def test_an_environment_that_cannot_be_had(
    proved: Prove, tmp_path: Path, official: list[Path]
) -> None:
    needy = make_wheel(tmp_path / "n", "livekit-agents", "1.8.9", requires=["no-such-thing"])
    with pytest.raises(EnvironmentUnresolvable, match="no-such-thing"):
        proved(official=[needy, official[1]])


def test_a_subclass_is_installed_if_the_release_has_one(proved: Prove, tmp_path: Path) -> None:
    plugin = make_wheel(tmp_path / "p", "livekit-plugins-xai", "1.8.9")
    verdict = proved(optional=[f"livekit-plugins-xai @ {plugin.as_uri()}"])
    assert verdict.dependencies["livekit-plugins-xai"] == "1.8.9"
    without = proved(optional=["no-such-plugin"])
    assert without.verdict == "publish"
    assert "livekit-plugins-xai" not in without.dependencies
