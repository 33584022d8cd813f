"""The real wheels of real releases, installed from an index, keep their calls."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename
from packaging.version import Version
from publishing import proof_of

import publish as verb
from toolkit.environment import Environment, uv
from toolkit.index import consume_lines, publish
from toolkit.suite import run_suite

pytestmark = pytest.mark.pypi

SCRIPTS = Path(verb.__file__).parent
RACE = SCRIPTS.parent / "tests" / "race"
# 1.4.6 does not import with the openai of today.
ALSO = {"1.8.9": ["pytest"], "1.4.6": ["pytest", "openai==2.28.0"]}


@pytest.mark.parametrize(("tool", "release"), [("pip", "1.8.9"), ("uv", "1.8.9"), ("uv", "1.4.6")])
def test_the_race_suite_passes_where_the_wheels_were_installed(
    tool: str, release: str, tmp_path: Path
) -> None:
    index, venv = tmp_path / "index", tmp_path / "venv"
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env["LIVEKIT_DISPATCHED_CACHE"] = str(tmp_path / "cache")

    def call(*words: str | Path) -> str:
        line = list(map(str, words))
        done = subprocess.run(
            line, check=False, capture_output=True, text=True, cwd=tmp_path, env=env
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    python = sys.executable
    fetched = json.loads(call(python, SCRIPTS / "fetch.py", release, "--json"))
    call(python, SCRIPTS / "repack.py", release, "--offline", "--out", tmp_path / "wheels")
    patched = {wheel.name.split("-")[0]: wheel for wheel in (tmp_path / "wheels").glob("*.whl")}
    official = {wheel.name.split("-")[0]: wheel for wheel in map(Path, fetched["official"])}
    wheels = list({**official, **patched}.values())
    publish(wheels, proof_of(wheels, release), index)

    lines = consume_lines(index, {wheel.name: "" for wheel in wheels})
    interpreter = venv / "bin" / "python"
    if tool == "pip":
        call(uv(), "venv", "--seed", venv)
        call(interpreter, "-m", *shlex.split(lines.pip), *ALSO[release])
    else:
        call(uv(), "venv", venv)
        call(uv(), *shlex.split(lines.uv)[1:], "--python", interpreter, *ALSO[release])

    found = Environment(venv, interpreter, "")
    installed = found.distributions()
    expected = [parse_wheel_filename(wheel.name)[:2] for wheel in wheels]
    assert [(name, Version(installed[name])) for name, _ in expected] == expected
    assert "+" in installed["livekit-agents"]
    (run,) = run_suite(RACE, [found], timeout=300)
    assert run.report is not None, f"{run.trouble}\n{run.output}"
    outcomes = {outcome.outcome for outcome in run.report.tests.values()}
    assert outcomes <= {"passed", "skipped"}, run.output[-3000:]
    checks = {o.check for o in run.report.tests.values() if o.outcome == "passed"}
    assert "loses-calls" in checks
