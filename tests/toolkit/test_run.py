"""The subprocess wrapper."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.util import inherited
from toolkit.util.errors import CommandFailed
from toolkit.util.process import Exited, Job, run, run_together
from toolkit.util.workspace import REPOSITORY

SAY = "import os, sys; print(os.environ.get('SAID', 'nothing')); sys.exit(int(sys.argv[1]))"


def test_jobs_end_with_their_own_code_and_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAID", "not inherited")
    jobs = [
        Job([sys.executable, "-c", SAY, "0"]),
        Job([sys.executable, "-c", SAY, "3"], env={"SAID": "own"}),
    ]
    assert run_together(jobs, timeout=60) == (
        Exited(0, "nothing\n"),
        Exited(3, "own\n"),
    )


def test_a_missing_program_ends_what_was_started() -> None:
    with pytest.raises(CommandFailed, match="no-such-program is not installed"):
        run_together([Job([sys.executable, "-c", "input()"]), Job(["no-such-program"])], timeout=60)


def test_a_child_has_the_variables_that_are_listed_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SAID", "PYTHONPATH", "GIT_DIR", "LANGUAGE", "LC_NUMERIC", "HTTP_PROXY", "PIP_X"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("TMPDIR", "/kept")
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    seen = json.loads(run([sys.executable, "-I", "-c", script], env={"MINE": "1"}).stdout)
    fixed = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC", "MINE": "1"}
    assert seen == {**inherited.plain(), **fixed}
    assert seen["TMPDIR"] == "/kept"
    assert not {"SAID", "PYTHONPATH", "GIT_DIR", "LANGUAGE", "HTTP_PROXY"} & seen.keys()
    assert inherited.network()["HTTP_PROXY"] == "x"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_what_a_child_writes_may_be_read(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        run([sys.executable, "-c", "open('file', 'w')"], cwd=tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_reader_that_leaves_early_is_no_crash() -> None:
    script = "from toolkit.cli import verb\n"
    script += "raise SystemExit(verb(lambda: print('x' * 10_000_000))())"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout
        assert child.stderr
        child.stdout.read(1)
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(30) == 141
