"""The subprocess wrapper."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import toolkit.errors
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


def test_a_reader_that_leaves_early_is_no_crash() -> None:
    script = "from toolkit.errors import run_verb\n"
    script += "raise SystemExit(run_verb(lambda: print('x' * 10_000_000)))"
    scripts = Path(toolkit.errors.__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(scripts)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout
        assert child.stderr
        child.stdout.read(1)
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(30) == 141
