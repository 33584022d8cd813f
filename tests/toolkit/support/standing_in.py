"""Stand-ins for the proof, which has tests of its own: a verdict, and the race suite alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from publishing import proof_of

from toolkit.environments.environment import Environment
from toolkit.proof.race_report import Report
from toolkit.proof.race_suite import surroundings
from toolkit.proof.verdict import Verdict
from toolkit.util.process import run


def judged(word: str) -> Callable[..., Verdict]:
    """A proof that comes to one verdict, whatever it is asked."""

    def prove(official: Any, patched: Any, **inputs: Any) -> Verdict:
        proof = proof_of(list(patched), inputs["release"])
        return Verdict(**{**vars(proof), "verdict": word, "reason": "a test says so"})

    return prove


def run_race(suite: Path, environment: Environment, folder: Path) -> Report:
    """The report of all tests of a race suite in an environment; ``folder`` is made for them."""
    folder.mkdir()
    report = folder / "report.json"
    words: list[str | Path] = [
        "-c",
        suite / "pytest.ini",
        "-p",
        "no:cacheprovider",
        f"--race-report={report}",
    ]
    # tracebacks can break pytest on 3.11
    command: list[str | Path] = [environment.python, "-m", "pytest", suite, "--tb=no", *words]
    done = run(command, cwd=folder, env=surroundings(environment), timeout=600, check=False)
    assert report.is_file(), done.stdout + done.stderr
    found = Report.parse(report.read_text("utf-8"))
    assert found.exitstatus == done.returncode, done.stdout + done.stderr
    return found
