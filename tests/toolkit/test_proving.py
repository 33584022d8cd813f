"""proving: two real environments, a suite in each, a verdict, and what stops one."""

from __future__ import annotations

import os
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from publishing import EXPLORER, LOSS, SUITE, UPLOADED, Prove, kept_in, make_suite, make_wheel

from toolkit.proof import prove
from toolkit.proof.fault_injection import FaultInjection
from toolkit.util.errors import EnvironmentUnresolvable, HashMismatch, InvalidWheel
from toolkit.util.files import sha256_of
from toolkit.util.workspace import Workspace


def test_publish(proved: Prove, official: list[Path], patched: list[Path], said: list[str]) -> None:
    verdict = proved()
    assert verdict.verdict == "publish", said
    assert verdict.official.lost == (LOSS,)
    assert verdict.patched.lost == ()
    assert verdict.wheels == {wheel.name: sha256_of(wheel) for wheel in patched}
    assert verdict.official.wheels == {wheel.name: sha256_of(wheel) for wheel in official}
    assert (verdict.revision, verdict.series) == (3, "5e" * 32)
    assert said == []


def test_a_known_verdict_runs_nothing_and_is_the_same(
    proved: Prove, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = proved()
    assert kept_in(tmp_path) == [first.to_json()]
    monkeypatch.setattr(prove, "prepare", None)
    assert proved() == first
    for change in (
        {"series": "5f" * 32},
        {"race_suite": make_suite(tmp_path / "other", SUITE + "#")},
        {"uploaded": UPLOADED.replace(year=2025)},
        {"extra": ()},
    ):
        with pytest.raises(TypeError, match="not callable"):
            proved(**change)


def test_the_same_inputs_elsewhere_give_the_same_bytes(proved: Prove, tmp_path: Path) -> None:
    texts = {
        proved(workspace=Workspace(tmp_path / place, tmp_path / "patches")).to_json()
        for place in ("here", "there")
    }
    assert len(texts) == 1
    assert str(tmp_path) not in texts.pop()


def test_a_damaged_record_of_a_verdict_is_made_again(proved: Prove, tmp_path: Path) -> None:
    first = proved()
    (kept,) = (tmp_path / "verdicts").glob("*.json")
    kept.write_text(first.to_json()[:-40])
    assert proved() == first
    assert kept.read_text() == first.to_json()


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


PLANTED = 'if "--plant" in sys.argv:\n    '
TOOTHLESS = {
    "tests": (f"{PLANTED}livekit", 'if "no" in sys.argv:\n    livekit', "1 tests (the first: "),
    "one level": ('("session", "agent")}', '("session", "session")}', "of the agent level"),
    "both levels": (f"{PLANTED}BROKEN", 'if "no" in sys.argv:\n    BROKEN', "session or agent"),
    "breaks down": (PLANTED, f"{PLANTED}sys.exit(3)\n    ", "exit code 3 and no report"),
}


@pytest.mark.parametrize("case", TOOTHLESS)
def test_a_suite_without_teeth_says_nothing_of_a_fix(
    case: str, proved: Prove, tmp_path: Path, fixed: list[Path]
) -> None:
    was, now, reason = TOOTHLESS[case]
    assert was in EXPLORER
    suite = make_suite(tmp_path / "dull", explorer=EXPLORER.replace(was, now))
    verdict = proved(official=fixed, race_suite=suite)
    assert verdict.verdict == "inconclusive"
    assert "lose no call, but the suite would not notice a loss here: " in verdict.reason
    assert reason in verdict.reason
    assert kept_in(tmp_path) == []


def test_regressed_tells_what_fails(proved: Prove, tmp_path: Path, said: list[str]) -> None:
    broken = SUITE.replace(
        '"outcome": "passed", "check": "wire"',
        '"outcome": "passed" if LOSES else "failed", "check": "wire"',
    )
    assert broken != SUITE
    broken = broken.replace(
        '"message": "", "seconds": 0.5', '"message": "it got loud", "seconds": 0.5'
    )
    verdict = proved(race_suite=make_suite(tmp_path / "broken", broken))
    assert verdict.verdict == "regressed"
    assert "test_wire.py::test_quiet" in verdict.reason
    assert said == ["patched wheels: test_wire.py::test_quiet: it got loud"]
    assert not (tmp_path / "verdicts").exists()


INCONCLUSIVE = {
    "no report": ("import sys; print('no such option'); sys.exit(4)", "exit code 2 and no report"),
    "crash": ("import os; os.abort()", "and no report"),
    "not JSON": (
        "import sys; from pathlib import Path; Path(sys.argv[1]).write_text('{')",
        "not JSON",
    ),
    "says another exit code": (SUITE.replace("sys.exit(int(LOSES))", "sys.exit(3)"), "exit code"),
    "tested something else": (
        SUITE.replace("version(name) for", "'0.1' for"),
        "livekit-agents 0.1 was tested",
    ),
    "left some out": (SUITE.replace('"collected": 2', '"collected": 3'), "3 tests were collected"),
}


@pytest.mark.parametrize("case", INCONCLUSIVE)
def test_inconclusive(case: str, proved: Prove, tmp_path: Path, said: list[str]) -> None:
    script, reason = INCONCLUSIVE[case]
    verdict = proved(race_suite=make_suite(tmp_path / "odd", script))
    assert verdict.verdict == "inconclusive"
    assert reason in verdict.reason
    assert not (tmp_path / "verdicts").exists()


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    """A suite that says its process id by a file in ``tmp_path/pids`` and never ends."""
    (tmp_path / "pids").mkdir()
    say = f"open(f'{tmp_path}/pids/{{os.getpid()}}', 'x')"
    return make_suite(tmp_path / "hangs", f"import os, threading\n{say}\nthreading.Event().wait()")


def once_both_run(pids: Path, then: Callable[[], object]) -> SimpleNamespace:
    """A clock for toolkit.run, which asks for the time as soon as both suites were started."""

    def monotonic() -> float:
        while len(list(pids.iterdir())) < 2:
            os.sched_yield()
        then()
        return time.monotonic()

    return SimpleNamespace(monotonic=monotonic)


def require_ended(pids: Path) -> None:
    for path in pids.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


def test_a_suite_that_hangs_is_ended_and_proves_nothing(
    proved: Prove, tmp_path: Path, hanging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = once_both_run(tmp_path / "pids", lambda: None)
    monkeypatch.setattr("toolkit.util.process.time", clock)
    verdict = proved(race_suite=hanging, timeout=0.05)
    assert verdict.verdict == "inconclusive"
    assert verdict.reason == (
        "on the official wheels the suite was ended after 0.05 s without progress: it said nothing"
    )
    require_ended(tmp_path / "pids")


def test_ctrl_c_ends_the_suites_and_keeps_nothing(
    proved: Prove, tmp_path: Path, hanging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = once_both_run(tmp_path / "pids", lambda: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr("toolkit.util.process.time", clock)
    with pytest.raises(KeyboardInterrupt):
        proved(race_suite=hanging)
    require_ended(tmp_path / "pids")
    assert not (tmp_path / "verdicts").exists()


@pytest.mark.parametrize(
    "message", ["OSError: [Errno 28] No space left on device", "MemoryError", "x: [Errno 24] Too"]
)
def test_a_machine_that_is_short_of_something_proves_nothing(
    proved: Prove, tmp_path: Path, message: str
) -> None:
    """On the patched side alone, where a failure would be a regression."""
    short = SUITE.replace('"outcome": "passed", "check": "wire"', '"outcome": OUT, "check": "wire"')
    short = short.replace('"message": "", "seconds": 0.5', '"message": SAID, "seconds": 0.5')
    short = short.replace("int(LOSES)", "int(LOSES or bool(SAID))")
    said = f"OUT, SAID = ('passed', '') if LOSES else ('failed', {message!r})\n"
    short = short.replace("names = ", f"{said}names = ")
    verdict = proved(race_suite=make_suite(tmp_path / "short", short))
    assert verdict.verdict == "inconclusive"
    assert "on the patched wheels the machine is short of something" in verdict.reason
    assert message in verdict.reason


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


def test_a_tampered_wheel_is_found_before_anything_runs(
    proved: Prove, tmp_path: Path, patched: list[Path]
) -> None:
    members = zipfile.ZipFile(patched[0])
    with members, zipfile.ZipFile(tmp_path / patched[0].name, "w") as archive:
        for info in members.infolist():
            data = members.read(info)
            archive.writestr(info, data.replace(b"LOSES = False", b"LOSES = 0"))
    with pytest.raises(HashMismatch, match=r"agents/__init__\.py was altered"):
        proved(patched=[tmp_path / patched[0].name, patched[1]])


def test_lists_that_do_not_match(proved: Prove, official: list[Path], tmp_path: Path) -> None:
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


def test_a_subclass_is_there_if_the_release_has_one(proved: Prove, tmp_path: Path) -> None:
    plugin = make_wheel(tmp_path / "p", "livekit-plugins-xai", "1.8.9")
    verdict = proved(optional=[f"livekit-plugins-xai @ {plugin.as_uri()}"])
    assert verdict.dependencies["livekit-plugins-xai"] == "1.8.9"
    without = proved(optional=["no-such-plugin"])
    assert without.verdict == "publish"
    assert "livekit-plugins-xai" not in without.dependencies
