"""Stand-ins for the proof, which has tests of its own: a verdict, and the race suite alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from publishing import proof_of

from toolkit.environments.environment import Environment
from toolkit.environments.pair import WheelPair
from toolkit.proof.race_suite import SuiteReport, suite_variables
from toolkit.proof.settings import ProofSettings
from toolkit.proof.verdict import Verdict
from toolkit.util.process import run


def judged(word: str) -> Callable[..., Verdict]:
    """A proof that comes to one verdict, whatever it is asked."""

    def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
        proof = proof_of(list(pair.patched), pair.release)
        return Verdict(**{**vars(proof), "verdict": word, "reason": "a test says so"})

    return prove


def publishes(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
    """A proof that lets these very wheels of this very series in."""
    return replace(proof_of(list(pair.patched), pair.release), series=pair.series)


def replace_proof(monkeypatch: pytest.MonkeyPatch, prove: Callable[..., object] | None) -> None:
    """Let ``prove(pair, settings, ...)`` stand in wherever a release is proved."""
    rooms = ("pipeline.flow", "proof.one_release", "proof.unpatched", "refresh.refresher")
    for module in (f"toolkit.{room}" for room in rooms):
        monkeypatch.setattr(importlib.import_module(module), "prove", prove)


def run_race(suite: Path, environment: Environment, folder: Path) -> SuiteReport:
    """The report of all tests of a race suite in an environment; ``folder`` is made for them."""
    folder.mkdir()
    report = folder / "report.json"
    words: list[str | Path] = [
        "-c",
        suite / "pytest.ini",
        "-p",
        "no:cacheprovider",
        f"--race-report={report}",
        # these take two minutes, and say what the others say, in lives
        "-k",
        "not in_a_life",
    ]
    # tracebacks can break pytest on 3.11
    command: list[str | Path] = [environment.python, "-m", "pytest", suite, "--tb=no", *words]
    done = run(command, cwd=folder, env=suite_variables(environment), timeout=600, check=False)
    assert report.is_file(), done.stdout + done.stderr
    found = SuiteReport.parse(report.read_text("utf-8"))
    assert found.exitstatus == done.returncode, done.stdout + done.stderr
    return found
