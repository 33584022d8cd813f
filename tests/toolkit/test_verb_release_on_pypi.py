"""The main job on real releases: from PyPI to an index whose wheels keep every call."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import parse_wheel_filename
from packaging.version import Version
from publishing import snapshot
from standing_in import run_race

from toolkit.environments.environment import Environment
from toolkit.environments.interpreter import uv
from toolkit.proof.settings import RACE_SUITE
from toolkit.util.workspace import CACHE_VARIABLE, REPOSITORY

pytestmark = pytest.mark.pypi

SCRIPTS = REPOSITORY / "scripts"
RELEASES = ("1.8.9", "1.4.6")


@dataclass(frozen=True)
class Released:
    """What ``release.py`` made of RELEASES in a folder of its own, by release."""

    folder: Path
    rows: dict[str, dict[str, Any]]

    @property
    def index(self) -> Path:
        return self.folder / "index"


def call(folder: Path, *words: str | Path) -> str:
    """What a program prints; it has to end with 0."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    env[CACHE_VARIABLE] = str(folder / "cache")
    line = [str(word) for word in words]
    done = subprocess.run(line, check=False, capture_output=True, text=True, cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def release(folder: Path) -> list[dict[str, Any]]:
    """The rows that ``release.py`` prints."""
    # a copy of the series: what is proved here must not end up in the repository's ledger
    patches = folder / "patches"
    if not patches.exists():
        shutil.copytree(REPOSITORY / "patches", patches)
    options = ("--index", folder / "index", "--patches", patches, "--json")
    rows: list[dict[str, Any]] = json.loads(
        call(folder, sys.executable, SCRIPTS / "release.py", *RELEASES, *options)
    )
    return rows


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Released:
    folder = tmp_path_factory.mktemp("released")
    return Released(folder, {row["release"]: row for row in release(folder)})


@pytest.mark.parametrize("name", RELEASES)
def test_the_official_wheels_lose_calls_and_the_patched_lose_none(
    released: Released, name: str
) -> None:
    row = released.rows[name]
    assert row["verdict"] == "publish", row
    verdict = json.loads((released.index / "verdicts" / f"{name}+dispatched.1.json").read_text())
    assert verdict["official"]["lost"]
    assert verdict["patched"]["failed"] == 0
    documented = {test["official"] for test in verdict["tests"].values() if test["documented"]}
    # the tier quick leaves some out, and says so
    assert documented - {"deselected"} == {"failed"}


def test_the_ledger_of_the_repository_knows_these_bytes(released: Released) -> None:
    committed = (REPOSITORY / "patches" / "releases.toml").read_text()
    assert (released.folder / "patches" / "releases.toml").read_text() == committed


def test_what_upstream_would_be_sent(released: Released) -> None:
    out = released.folder / "forward"
    options = ("--out", out, "--patches", released.folder / "patches", "--json")
    printed = call(released.folder, sys.executable, SCRIPTS / "forward.py", "1.8.9", *options)
    assert json.loads(printed)["files"] == sorted(str(path) for path in out.iterdir())
    report = (out / "report.md").read_text()
    lost, kept = "LOST: livekit-agents 1.8.9\n", "kept: livekit-agents 1.8.9+dispatched.1\n"
    for words in (lost, "was deleted while call_1 was in flight", kept, "loses calls\nin "):
        assert words in report


def test_nothing_to_do_changes_nothing(released: Released) -> None:
    before = snapshot(released.index)
    rows = release(released.folder)
    assert [row["new"] for row in rows] == [[], []]
    assert snapshot(released.index) == before


def test_schedules_end_as_they_do_alone(released: Released, tmp_path: Path) -> None:
    """In a process that ran all tests before, each event of each schedule is the same."""
    python = min(released.folder.glob("cache/environments/*/bin/python"))
    tests, report, digests = tmp_path / "tests.json", tmp_path / "report.json", []
    for first in ((), ("--tests", str(tests))):
        line = [str(python), str(RACE_SUITE / "explore.py"), *first, "--json", str(report)]
        line += ["--only", "agent/openai/call/fresh-copy-history"]
        subprocess.run(line, check=False, capture_output=True, cwd=tmp_path)
        digests.append(json.loads(report.read_bytes())["digest"])
        report.unlink()
    done = json.loads(tests.read_bytes())
    assert done["collected"] > 1000
    # the virtual clock restarts within a test
    assert min(test["seconds"] for test in done["tests"].values()) >= 0
    assert digests[0] == digests[1]


@pytest.mark.parametrize("name", RELEASES)
@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_the_printed_line_installs_wheels_that_keep_their_calls(
    released: Released, tool: str, name: str, tmp_path: Path
) -> None:
    row = released.rows[name]
    venv, interpreter = tmp_path / "venv", tmp_path / "venv" / "bin" / "python"
    line = shlex.split(row[tool])
    if tool == "pip":
        call(tmp_path, uv(), "venv", "--seed", venv)
        call(tmp_path, interpreter, "-m", *line, "pytest")
    else:
        call(tmp_path, uv(), "venv", venv)
        call(tmp_path, uv(), *line[1:], "--python", interpreter, "pytest")

    environment = Environment(venv, interpreter, "")
    installed = environment.distributions()
    expected = [parse_wheel_filename(wheel)[:2] for wheel in row["wheels"]]
    assert [(project, Version(installed[project])) for project, _ in expected] == expected
    assert installed["livekit-agents"] == f"{name}+dispatched.1"
    show = "import livekit.agents; print(livekit.agents.__version__)"
    assert call(tmp_path, interpreter, "-c", show).strip() == f"{name}+dispatched.1"
    tests = run_race(RACE_SUITE, environment, tmp_path / "race").tests.values()
    assert {outcome.outcome for outcome in tests} <= {"passed", "skipped"}
    checks = {o.check for o in tests if o.outcome == "passed"}
    assert "loses-calls" in checks
