"""The verbs under any interpreter: without their folder on its path, and under an old one."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import toolkit
from toolkit.util.workspace import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"
VERBS = sorted(SCRIPTS.glob("*.py"))
# which run, or are read, before the toolkit says that Python is too old
READ_FIRST = [*VERBS, SCRIPTS / "toolkit/__init__.py", REPOSITORY / "noxfile.py"]
SIMULATED = "import runpy, sys; sys.version_info = (3, 10); runpy.run_path(sys.argv[1])"


def old_pythons() -> list[Path]:
    """The old interpreters of this machine: pyenv's, the CI runner's and the system's."""
    places = {
        Path.home() / ".pyenv/versions": "{}.*/bin/python",
        Path(os.environ.get("RUNNER_TOOL_CACHE", "/none"), "Python"): "{}.*/*/bin/python",
        Path("/usr/bin"): "python{}",
    }
    versions = ("3.8", "3.9", "3.10")
    found = [[*place.glob(form.format(v))] for v in versions for place, form in places.items()]
    return [pythons[0] for pythons in found if pythons]


def call(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | variables
    line = [str(word) for word in words]
    return subprocess.run(line, check=False, capture_output=True, text=True, env=env)


def says_so(done: subprocess.CompletedProcess[str]) -> bool:
    problem, step = done.stderr.splitlines()
    assert "needs Python 3.11 or newer" in problem
    return done.returncode == 21 and step.startswith("  next: ") and not done.stdout


@pytest.mark.parametrize("verb", VERBS, ids=lambda path: path.stem)
def test_a_verb_finds_its_modules(verb: Path, tmp_path: Path) -> None:
    linked = tmp_path / verb.name
    linked.symlink_to(verb)
    for flag, path in (("-P", verb), ("-I", linked)):
        done = call(sys.executable, flag, path, "--help")
        assert done.returncode == 0, done.stderr
    assert call(sys.executable, verb, "--help", PYTHONSAFEPATH="1").returncode == 0


@pytest.mark.parametrize("verb", VERBS, ids=lambda path: path.stem)
def test_an_old_python_gets_one_line(verb: Path) -> None:
    assert says_so(call(sys.executable, "-c", SIMULATED, verb))


@pytest.mark.parametrize("python", old_pythons(), ids=str)
def test_a_real_old_python_gets_one_line(python: Path) -> None:
    for verb in VERBS:
        assert says_so(call(python, verb, "--help"))


@pytest.mark.parametrize("path", READ_FIRST, ids=lambda path: path.stem)
def test_an_old_python_can_read_it(path: Path) -> None:
    ast.parse(path.read_text("utf-8"), feature_version=(3, 8))


def test_the_oldest_python_is_said_once() -> None:
    said = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    oldest = ".".join(map(str, toolkit.OLDEST))
    assert SpecifierSet(said["requires-python"]) == SpecifierSet(f">={oldest}")
