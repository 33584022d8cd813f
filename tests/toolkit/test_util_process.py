"""Programs that the toolkit runs: what they inherit, how they end, and when one hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from children import ENV, command, python

from toolkit.util import child_environment
from toolkit.util.errors import CommandFailed
from toolkit.util.process import Exited, Job, run, run_together

# Prints the next number as soon as a file of that name is there.
STEPS = """
import pathlib, sys, time
for number in range(12):
    while not pathlib.Path(sys.argv[1], f"go-{number}").exists():
        time.sleep(0.001)
    print("step", number, flush=True)
"""
LIMIT = 0.2
HOUR = 3600.0


def test_jobs_end_with_their_own_code_and_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAID", "not inherited")
    script = "import os, sys; print(os.environ.get('SAID', 'nothing')); sys.exit(int(sys.argv[1]))"
    jobs = [Job(command(script, 0)), Job(command(script, 3), env={"SAID": "own"})]
    assert run_together(jobs, timeout=60) == (Exited(0, "nothing\n"), Exited(3, "own\n"))


def test_a_missing_program_ends_what_was_started() -> None:
    with pytest.raises(CommandFailed, match="no-such-program is not installed"):
        run_together([Job(command("input()")), Job(["no-such-program"])], timeout=60)


def test_a_child_has_the_variables_that_are_listed_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SAID", "PYTHONPATH", "GIT_DIR", "LANGUAGE", "LC_NUMERIC", "HTTP_PROXY", "PIP_X"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("TMPDIR", "/kept")
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    seen = json.loads(run([sys.executable, "-I", "-c", script], env={"MINE": "1"}).stdout)
    fixed = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC", "MINE": "1"}
    assert seen == {**child_environment.plain(), **fixed}
    assert seen["TMPDIR"] == "/kept"
    assert not {"SAID", "PYTHONPATH", "GIT_DIR", "LANGUAGE", "HTTP_PROXY"} & seen.keys()
    assert child_environment.network()["HTTP_PROXY"] == "x"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_what_a_child_writes_may_be_read(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        run(command("open('file', 'w')"), cwd=tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


# -- hanging programs: a clock that the test turns --------------------------------------------


def turn_clock(read: Callable[[], float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.util.process.time", SimpleNamespace(monotonic=read))


@pytest.mark.parametrize("beside", [False, True])
def test_a_program_that_prints_new_lines_is_not_ended(
    beside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one ``beside`` it that waits for it to end."""
    log, looks = tmp_path / "log", 0

    def monotonic() -> float:
        """An hour a look, and between two looks the child gets one step further."""
        nonlocal looks
        (tmp_path / f"go-{looks}").touch()
        while looks < 12 and f"step {looks}\n" not in log.read_text():
            pass
        looks += 1
        return looks * HOUR

    turn_clock(monotonic, monkeypatch)
    jobs = [Job(command(STEPS, tmp_path), log=log)]
    if beside:
        jobs.insert(0, Job(command("import sys; sys.stdin.read()"), stdin_until=1))
    exited = run_together(jobs, timeout=LIMIT)
    assert [job.exit_code for job in exited] == [0] * len(jobs)
    assert exited[-1].output.splitlines()[-1] == "step 11"
    # each of which counts half the limit, if nothing moved
    assert looks >= 12


@pytest.mark.parametrize("step", ["pass", "print('waiting', flush=True)"])
def test_a_program_that_prints_nothing_new_is_ended(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, looks = tmp_path / "log", 0

    def monotonic() -> float:
        nonlocal looks
        while "begun\n" not in log.read_text():
            pass
        looks += 1
        return float(looks)

    turn_clock(monotonic, monkeypatch)
    script = f"import time; print('begun', flush=True)\nwhile True: {step}; time.sleep(0.01)"
    (exited,) = run_together([Job(command(script), log=log)], timeout=LIMIT)
    assert exited.exit_code is None
    assert exited.output.startswith("begun\n")


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
        return 0.0 if looks == 1 else 10 * HOUR

    turn_clock(monotonic, monkeypatch)
    script = "import pathlib, sys\nwhile not pathlib.Path(sys.argv[1], 'awake').exists(): pass"
    assert run_together([Job(command(script, tmp_path))], timeout=LIMIT) == (Exited(0, ""),)


# -- how a verb ends --------------------------------------------------------------------------


def test_a_reader_that_leaves_early_is_no_crash() -> None:
    script = "from toolkit.cli import verb\n"
    script += "raise SystemExit(verb(lambda: print('x' * 10_000_000))())"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command(script), env=ENV, **pipes) as child:  # type: ignore[call-overload]
        child.stdout.read(1)
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(30) == 141


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_full_disk_under_any_verb_is_one_line() -> None:
    script = "from toolkit.cli import verb\nimport errno\ndef body():\n"
    script += "    raise OSError(errno.ENOSPC, 'No space left on device', '/there/file')\n"
    result = python(f"{script}raise SystemExit(verb(body)())")
    assert result.returncode == 20
    assert result.stderr.startswith(
        "error: /there/file: No space left on device\n  next: make room"
    )
