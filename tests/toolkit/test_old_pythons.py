"""The verbs under any interpreter: without their folder on its path, and under an old one."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from children import SCRIPTS, call
from packaging.specifiers import SpecifierSet

import toolkit
from toolkit.util.workspace import REPOSITORY

VERBS = sorted(SCRIPTS.glob("*.py"))
# which run, or are read, before the toolkit says that Python is too old
READ_FIRST = [*VERBS, SCRIPTS / "toolkit/__init__.py", REPOSITORY / "noxfile.py"]
SIMULATED = "import runpy, sys; sys.version_info = (3, 10); runpy.run_path(sys.argv[1])"
ENV = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def old_pythons() -> list[Path]:
    """The old interpreters of this machine: pyenv's, the CI runner's and the system's."""
    places = {
        Path.home() / ".pyenv/versions": "{}.*/bin/python",
        Path(os.environ.get("RUNNER_TOOL_CACHE", "/none"), "Python"): "{}.*/*/bin/python",
        Path("/usr/bin"): "python{}",
    }
    versions = ("3.8", "3.9", "3.10")
    pythons = [[*place.glob(form.format(v))] for v in versions for place, form in places.items()]
    return [several[0] for several in pythons if several]


def is_refused(result: subprocess.CompletedProcess[str]) -> bool:
    problem, step = result.stderr.splitlines()
    assert "needs Python 3.11 or newer" in problem
    return result.returncode == 21 and step.startswith("  next: ") and not result.stdout


@pytest.mark.parametrize("verb", VERBS, ids=lambda path: path.stem)
def test_a_verb_under_any_python(verb: Path, tmp_path: Path) -> None:
    linked = tmp_path / verb.name
    linked.symlink_to(verb)
    for flag, path in (("-P", verb), ("-I", linked)):
        result = call(sys.executable, flag, path, "--help", env=ENV)
        assert result.returncode == 0, result.stderr
    assert is_refused(call(sys.executable, "-c", SIMULATED, verb, env=ENV))


@pytest.mark.parametrize("python", old_pythons(), ids=str)
def test_a_real_old_python_gets_one_line(python: Path) -> None:
    for verb in VERBS:
        assert is_refused(call(python, verb, "--help", env=ENV))


def test_an_old_python_can_read_what_it_reads_first() -> None:
    for path in READ_FIRST:
        ast.parse(path.read_text("utf-8"), str(path), feature_version=(3, 8))


def test_the_oldest_python_is_said_once() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    oldest = ".".join(map(str, toolkit.OLDEST))
    assert SpecifierSet(project["requires-python"]) == SpecifierSet(f">={oldest}")
