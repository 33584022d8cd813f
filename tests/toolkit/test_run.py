"""The subprocess wrapper."""

from __future__ import annotations

import sys

import pytest

from toolkit.errors import CommandFailed
from toolkit.run import Ended, Job, run, run_together

SAY = "import os, sys; print(os.environ.get('SAID', 'nothing')); sys.exit(int(sys.argv[1]))"


def test_jobs_end_with_their_own_code_and_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAID", "inherited")
    jobs = [
        Job([sys.executable, "-c", SAY, "0"]),
        Job([sys.executable, "-c", SAY, "3"], env={"SAID": "own"}),
        Job([sys.executable, "-c", SAY, "0"], env={"SAID": None}),
    ]
    assert run_together(jobs, timeout=60) == (
        Ended(0, "inherited\n"),
        Ended(3, "own\n"),
        Ended(0, "nothing\n"),
    )


def test_a_missing_program_ends_what_was_started() -> None:
    with pytest.raises(CommandFailed, match="no-such-program is not installed"):
        run_together([Job([sys.executable, "-c", "input()"]), Job(["no-such-program"])], timeout=60)


def test_a_variable_can_be_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAID", "inherited")
    assert run([sys.executable, "-c", SAY, "0"], env={"SAID": None}).stdout == "nothing\n"
