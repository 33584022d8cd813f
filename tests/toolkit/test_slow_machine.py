"""Time limits follow progress: what moves on has no limit, what stands still is ended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import making
import pytest
from making import AGENTS, PLUGIN, Index, engine_patch, source, write_series
from publishing import EXPLORER, SUITE, Prove, kept_in, make_suite
from standing_in import judged, replace_proof

import prove as proving_verb
import refresh
import release
import retire
import update
import upstream
from toolkit.environments.pair import WheelPair
from toolkit.proof.prove import ProofSettings
from toolkit.proof.race_suite import progress_of
from toolkit.util.process import Exited, Job, run_together
from toolkit.util.workspace import CACHE_VARIABLE, Workspace

# It says the next number once it may, as the file of that name says.
STEPS = """
import pathlib, sys, time
for number in range(12):
    while not pathlib.Path(sys.argv[1], f"go-{number}").exists():
        time.sleep(0.001)
    print("step", number, flush=True)
"""
LIMIT = 0.2


def clock(read: Callable[[], float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.util.process.time", SimpleNamespace(monotonic=read))


def test_what_moves_on_is_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    looks = 0

    def monotonic() -> float:
        """An hour a look, and between two looks the child gets one step further."""
        nonlocal looks
        (tmp_path / f"go-{looks}").touch()
        while looks < 12 and f"step {looks}\n" not in said.read_text():
            pass
        looks += 1
        return looks * 3600.0

    clock(monotonic, monkeypatch)
    job = Job([sys.executable, "-c", STEPS, str(tmp_path)], log=said)
    (ended,) = run_together([job], timeout=LIMIT)
    assert (ended.exit_code, ended.output.splitlines()[-1]) == (0, "step 11")
    # twelve looks, of which each counts half the limit, if nothing moved
    assert looks >= 12


@pytest.mark.parametrize("does", ["pass", "print('waiting', flush=True)"])
def test_what_stands_still_is_ended(
    does: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever repeats himself stands still."""
    said, looks = tmp_path / "said", 0

    def monotonic() -> float:
        nonlocal looks
        while "begun\n" not in said.read_text():
            pass
        looks += 1
        return float(looks)

    clock(monotonic, monkeypatch)
    script = f"import time; print('begun', flush=True)\nwhile True: {does}; time.sleep(0.01)"
    (ended,) = run_together([Job([sys.executable, "-c", script], log=said)], timeout=LIMIT)
    assert ended.exit_code is None
    assert ended.output.startswith("begun\n")


def test_while_one_moves_nobody_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    looks = 0

    def monotonic() -> float:
        nonlocal looks
        (tmp_path / f"go-{looks}").touch()
        while looks < 12 and f"step {looks}\n" not in said.read_text():
            pass
        looks += 1
        return looks * 3600.0

    clock(monotonic, monkeypatch)
    waits = "import sys; sys.stdin.read(); print('and then')"
    jobs = [
        Job([sys.executable, "-c", waits], stdin_until=1),
        Job([sys.executable, "-c", STEPS, str(tmp_path)], log=said),
    ]
    assert [ended.exit_code for ended in run_together(jobs, timeout=LIMIT)] == [0, 0]


def test_time_in_which_all_slept_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def monotonic() -> float:
        nonlocal looks
        looks += 1
        if looks == 2:
            (tmp_path / "awake").touch()
        # a night between the first look and the second
        return 0.0 if looks == 1 else 36_000.0

    clock(monotonic, monkeypatch)
    script = "import pathlib, sys\nwhile not pathlib.Path(sys.argv[1], 'awake').exists(): pass"
    job = Job([sys.executable, "-c", script, str(tmp_path)])
    assert run_together([job], timeout=LIMIT) == (Exited(0, ""),)


def test_how_far_a_run_came() -> None:
    assert progress_of("") == "it said nothing"
    said = "tests\ncollected 686 items\n\ntest_a.py::test_b PASSED   [411/686]\n"
    said += "test_a.py::test_c SKIPPED (no such client)   [412/686]\ntest_a.py::test_d \n"
    assert progress_of(said) == "412 of 686 tests had finished; last: test_a.py::test_d"
    assert progress_of("tests\nagent level, 3 scenarios\n") == "last: agent level, 3 scenarios"


# Each side notes what it does; as long as a file is there, one of them hangs where that says.
NOTED = """
import signal, threading
from pathlib import Path
NOTES = Path({folder!r})

def note(step):
    side = "official" if LOSES else "patched"
    with (NOTES / "notes").open("a") as file:
        file.write(f"{{side}} {{step}}\\n")
    hangs = NOTES / "hangs"
    if hangs.exists() and hangs.read_text() == f"{{side}} {{step}}":
        print(f"{{side}}: {{step}} PASSED [412/686]", flush=True)
        (NOTES / "hanging").touch()
        threading.Event().wait()

def ready():
    (NOTES / f"ready-{{'official' if LOSES else 'patched'}}").touch()

"""


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite whose sides note what they do, and a clock that runs when one hangs and the other
    has nothing left to do."""
    note = NOTED.format(folder=str(tmp_path))
    head = "from livekit.agents import LOSES\n"
    suite = SUITE.replace(head, f"{head}{note}note('tests')\n")
    explorer = EXPLORER.replace(head, head + note)
    for before in ("    found = {n:", "    theirs = json"):
        assert before in explorer
        step = "schedules" if "found" in before else "comparison"
        explorer = explorer.replace(before, f"    note({step!r})\n{before}")
    for before in ("    sys.stdin.read()", "    sys.exit(int(any(KINDS[n]"):
        assert before in explorer
        explorer = explorer.replace(before, f"    ready()\n{before}")
    looks = 0

    def monotonic() -> float:
        nonlocal looks
        if (tmp_path / "hanging").exists():
            hangs = (tmp_path / "hangs").read_text().split()[0]
            other = {"official": "patched", "patched": "official"}[hangs]
            looks += (tmp_path / f"ready-{other}").exists()
        return float(looks)

    clock(monotonic, monkeypatch)
    return make_suite(tmp_path / "noted", suite, explorer)


def take_notes(folder: Path) -> list[str]:
    notes = (folder / "notes").read_text().split("\n")
    (folder / "notes").unlink()
    return sorted(filter(None, notes))


CASES = {
    "patched tests": (
        ["official comparison", "patched schedules", "patched tests"],
        "on the patched wheels the suite was ended after 0.2 s without progress: ",
    ),
    "official tests": (
        ["official comparison", "official schedules", "official tests"],
        "on the official wheels the suite was ended after 0.2 s without progress: ",
    ),
    "patched schedules": (
        ["official comparison", "patched schedules"],
        "on the patched wheels the explorer was ended, as nothing moved: ",
    ),
    "official schedules": (
        ["official comparison", "official schedules"],
        "on the official wheels the explorer was ended, as nothing moved: ",
    ),
    "official comparison": (
        ["official comparison"],
        "on the official wheels the explorer was ended, as nothing moved: ",
    ),
}


@pytest.mark.parametrize("step", CASES)
def test_what_was_finished_is_not_done_again(
    step: str, proved: Prove, noted: Path, tmp_path: Path
) -> None:
    again, reason = CASES[step]
    (tmp_path / "hangs").write_text(step)
    verdict = proved(race_suite=noted, timeout=LIMIT)
    assert verdict.verdict == "inconclusive"
    assert verdict.reason == (
        f"{reason}412 of 686 tests had finished; last: {step.replace(' ', ': ')} PASSED [412/686]"
    )
    take_notes(tmp_path)
    for file in [*tmp_path.glob("hang*"), *tmp_path.glob("ready-*")]:
        file.unlink()
    # the second time
    verdict = proved(race_suite=noted, timeout=LIMIT)
    assert verdict.verdict == "publish", verdict.reason
    assert take_notes(tmp_path) == again
    assert kept_in(tmp_path) == [verdict.to_json()]
    assert [path.suffix for path in (tmp_path / "verdicts").iterdir() if path.is_dir()] == []
    # and it is the same as without the interruption
    for path in (tmp_path / "verdicts").iterdir():
        path.unlink()
    assert proved(race_suite=noted, timeout=LIMIT) == verdict


def test_a_side_that_was_killed_leaves_what_it_finished(
    proved: Prove, noted: Path, tmp_path: Path
) -> None:
    """As the system does to a process when memory is out."""
    for name in ("suite.py", "explore.py"):
        text = (noted / name).read_text()
        dies = text.replace("threading.Event().wait()", "signal.raise_signal(9)")
        assert dies != text
        (noted / name).write_text(dies)
    (tmp_path / "hangs").write_text("patched schedules")
    verdict = proved(race_suite=noted, timeout=60)
    assert verdict.verdict == "inconclusive"
    assert verdict.reason.startswith("on the patched wheels the explorer was ended by signal 9")
    take_notes(tmp_path)
    for file in tmp_path.glob("hang*"):
        file.unlink()
    assert proved(race_suite=noted, timeout=60).verdict == "publish"
    assert take_notes(tmp_path) == ["official comparison", "patched schedules"]


def test_what_speaks_against_the_patched_wheels_is_done_again(
    proved: Prove, noted: Path, tmp_path: Path
) -> None:
    """It may have come of what ended the run."""
    suite = noted / "suite.py"
    failing = '"failed" if LOSES or (NOTES / "hangs").exists() else "passed"'
    text = suite.read_text().replace('"failed" if LOSES else "passed"', failing)
    text = text.replace("int(LOSES)", "int('failed' in (lost['outcome'], kept['outcome']))")
    suite.write_text(text)
    (tmp_path / "hangs").write_text("patched schedules")
    assert proved(race_suite=noted, timeout=LIMIT).verdict == "inconclusive"
    take_notes(tmp_path)
    for file in [*tmp_path.glob("hang*"), *tmp_path.glob("ready-*")]:
        file.unlink()
    assert proved(race_suite=noted, timeout=LIMIT).verdict == "publish"
    assert "patched tests" in take_notes(tmp_path)


@pytest.fixture
def asked(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[float]:
    """The time limits with which proofs are asked for."""
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    members = making.members_of(AGENTS, "1.8.9") | {
        making.ENGINE: source(line8="another = 8").encode()
    }
    for version, changed in (("1.8.8", None), ("1.8.9", members)):
        index.add(making.make_wheel(tmp_path / "w", AGENTS, version, members=changed))
        index.add(making.make_wheel(tmp_path / "w", PLUGIN, version))
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line10="first = 1")}})
    assert update.main(["--patches", str(workspace.patches)]) == 0
    limits: list[float] = []

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> object:
        limits.append(settings.timeout)
        return judged("publish")(pair, settings)

    replace_proof(monkeypatch, prove)
    return limits


def test_every_verb_that_proves_takes_the_limit(
    asked: list[float], workspace: Workspace, tmp_path: Path
) -> None:
    words = ["--timeout", "1234", "--patches", str(workspace.patches)]
    assert proving_verb.main(["1.8.8", *words]) == 0
    assert retire.main(["--prove", *words]) != 0
    assert refresh.main(["1.8.9", "--tree", str(tmp_path / "q"), *words]) == 0
    assert release.main(["1.8.9", "--index", str(tmp_path / "index"), *words]) == 0
    assert asked == [1234.0] * 4


@pytest.mark.parametrize("verb", [release, refresh, retire, proving_verb, upstream])
@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "soon"])
def test_a_limit_that_is_none(verb: object, limit: str) -> None:
    with pytest.raises(SystemExit) as caught:
        verb.main(["1.8.9", "--timeout", limit])  # type: ignore[attr-defined]
    assert caught.value.code == 2
