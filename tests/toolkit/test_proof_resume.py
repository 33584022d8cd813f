"""A proof that was ended goes on where it was, and time limits follow progress."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from publishing import EXPLORER, SUITE, Prove, kept_in, make_suite
from standing_in import judged, replace_proof
from upstream_index import Upstream
from verbs import RunVerb
from wheels import AGENTS, ENGINE, members_of, source

from toolkit.environments.pair import WheelPair
from toolkit.proof.race_suite import progress_of
from toolkit.proof.settings import ProofSettings
from toolkit.proof.verdict import Verdict

LIMIT = 0.2


def test_how_far_a_run_came() -> None:
    assert progress_of("") == "it said nothing"
    output = "tests\ncollected 686 items\n\ntest_a.py::test_b PASSED   [411/686]\n"
    output += "test_a.py::test_c SKIPPED (no such client)   [412/686]\ntest_a.py::test_d \n"
    assert progress_of(output) == "412 of 686 tests had finished; last: test_a.py::test_d"
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


@dataclass(frozen=True)
class Noted:
    """A proof over a suite whose sides note what they do in ``folder``."""

    folder: Path
    suite: Path
    proved: Prove

    def prove(self, *, hangs: str = "", timeout: float = LIMIT) -> Verdict:
        """Prove; with ``hangs``, such as "patched tests", that step does not end."""
        for file in [*self.folder.glob("hang*"), *self.folder.glob("ready-*")]:
            file.unlink()
        if hangs:
            (self.folder / "hangs").write_text(hangs)
        verdict = self.proved(race_suite=self.suite, timeout=timeout)
        assert (verdict.verdict == "inconclusive") is bool(hangs), verdict.reason
        return verdict

    def notes(self) -> list[str]:
        """The steps since the last call, sorted."""
        notes = self.folder / "notes"
        lines = notes.read_text().split("\n")
        notes.unlink()
        return sorted(filter(None, lines))

    def edit(self, name: str, *changes: tuple[str, str]) -> None:
        """Replace texts in a file of the suite."""
        text = (self.suite / name).read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (self.suite / name).write_text(text)


@pytest.fixture
def noted(tmp_path: Path, proved: Prove, monkeypatch: pytest.MonkeyPatch) -> Noted:
    """The clock runs when one side hangs and the other has nothing left to do."""
    made = Noted(tmp_path, make_suite(tmp_path / "noted", SUITE, EXPLORER), proved)
    note = NOTED.format(folder=str(tmp_path))
    head = "from livekit.agents import LOSES\n"
    made.edit("suite.py", (head, f"{head}{note}note('tests')\n"))
    made.edit("explore.py", (head, head + note))
    for before, step in (
        ("    found = {n:", "note('schedules')"),
        ("    theirs = json", "note('comparison')"),
        ("    sys.stdin.read()", "ready()"),
        ("    sys.exit(int(any(KINDS[n]", "ready()"),
    ):
        made.edit("explore.py", (before, f"    {step}\n{before}"))
    looks = 0

    def monotonic() -> float:
        nonlocal looks
        if (tmp_path / "hanging").exists():
            side = (tmp_path / "hangs").read_text().split()[0]
            other = {"official": "patched", "patched": "official"}[side]
            looks += (tmp_path / f"ready-{other}").exists()
        return float(looks)

    monkeypatch.setattr("toolkit.util.process.time", SimpleNamespace(monotonic=monotonic))
    return made


SUITE_ENDED = "on the {} wheels the suite was ended after 0.2 s without progress: "
EXPLORER_ENDED = "on the {} wheels the explorer was ended, as nothing moved: "
CASES = {
    "patched tests": (SUITE_ENDED, ["official comparison", "patched schedules", "patched tests"]),
    "official tests": (
        SUITE_ENDED,
        ["official comparison", "official schedules", "official tests"],
    ),
    "patched schedules": (EXPLORER_ENDED, ["official comparison", "patched schedules"]),
    "official schedules": (EXPLORER_ENDED, ["official comparison", "official schedules"]),
    "official comparison": (EXPLORER_ENDED, ["official comparison"]),
}


@pytest.mark.parametrize("step", CASES)
def test_what_was_finished_is_not_done_again(step: str, noted: Noted, tmp_path: Path) -> None:
    reason, again = CASES[step]
    assert noted.prove(hangs=step).reason == (
        f"{reason.format(step.split()[0])}412 of 686 tests had finished; "
        f"last: {step.replace(' ', ': ')} PASSED [412/686]"
    )
    noted.notes()
    verdict = noted.prove()
    assert verdict.verdict == "publish"
    assert noted.notes() == again
    assert kept_in(tmp_path) == [verdict.to_json()]
    assert [path.suffix for path in (tmp_path / "verdicts").iterdir() if path.is_dir()] == []
    # and it is the same as without the interruption
    for path in (tmp_path / "verdicts").iterdir():
        path.unlink()
    assert noted.prove() == verdict


def test_a_side_that_was_killed_leaves_what_it_finished(noted: Noted) -> None:
    """As the system does to a process when memory is out."""
    for name in ("suite.py", "explore.py"):
        noted.edit(name, ("threading.Event().wait()", "signal.raise_signal(9)"))
    verdict = noted.prove(hangs="patched schedules", timeout=60)
    assert verdict.reason.startswith("on the patched wheels the explorer was ended by signal 9")
    noted.notes()
    assert noted.prove(timeout=60).verdict == "publish"
    assert noted.notes() == ["official comparison", "patched schedules"]


def test_what_speaks_against_the_patched_wheels_is_done_again(noted: Noted) -> None:
    """It may have come of what ended the run."""
    failing = '"failed" if LOSES or (NOTES / "hangs").exists() else "passed"'
    noted.edit(
        "suite.py",
        ('"failed" if LOSES else "passed"', failing),
        ("int(LOSES)", "int('failed' in (lost['outcome'], kept['outcome']))"),
    )
    noted.prove(hangs="patched schedules")
    noted.notes()
    assert noted.prove().verdict == "publish"
    assert "patched tests" in noted.notes()


# -- --timeout -------------------------------------------------------------------------------


def test_every_verb_that_proves_takes_the_limit(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = members_of(AGENTS, "1.8.9") | {ENGINE: source(line8="another = 8").encode()}
    upstream.add_two_releases()
    upstream.upload("1.8.9", names=[AGENTS], members=changed)
    upstream.run("update")
    limits: list[float] = []

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> object:
        limits.append(settings.timeout)
        return judged("publish")(pair, settings)

    replace_proof(monkeypatch, prove)
    limit = ("--timeout", "1234")
    upstream.run("prove", "1.8.8", *limit)
    upstream.run("retire", "--prove", *limit, code=27)
    upstream.run("refresh", "1.8.9", "--tree", tmp_path / "tree", *limit)
    upstream.run("release", "1.8.9", "--index", tmp_path / "index", *limit)
    assert limits == [1234.0] * 4


@pytest.mark.parametrize("verb", ["release", "refresh", "retire", "prove", "upstream"])
@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "soon"])
def test_a_limit_that_is_none(verb: str, limit: str, run_verb: RunVerb) -> None:
    assert run_verb(verb, "1.8.9", "--timeout", limit).code == 2
