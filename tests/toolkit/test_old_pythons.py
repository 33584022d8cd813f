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
SIMULATED = """
import runpy, sys
sys.version_info = (3, 10)
for verb in sys.argv[1:]:
    try:
        runpy.run_path(verb)
    except SystemExit as end:
        assert end.code == 21, verb
"""
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


def require_refusal(result: subprocess.CompletedProcess[str], times: int = 1) -> None:
    lines = result.stderr.splitlines()
    assert len(lines) == 2 * times
    assert all("needs Python 3.11 or newer" in problem for problem in lines[::2])
    assert all(step.startswith("  next: ") for step in lines[1::2])
    assert not result.stdout


@pytest.mark.parametrize("verb", VERBS, ids=lambda path: path.stem)
def test_a_verb_finds_its_modules(verb: Path, tmp_path: Path) -> None:
    """Though neither its folder nor that of the link to it is on Python's path."""
    linked = tmp_path / verb.name
    linked.symlink_to(verb)
    result = call(sys.executable, "-I", linked, "--help", env=ENV)
    assert result.returncode == 0, result.stderr


def test_an_old_python_gets_one_line() -> None:
    result = call(sys.executable, "-c", SIMULATED, *VERBS, env=ENV)
    assert result.returncode == 0
    require_refusal(result, len(VERBS))


@pytest.mark.parametrize("python", old_pythons(), ids=str)
def test_a_real_old_python_gets_one_line(python: Path) -> None:
    for verb in VERBS:
        result = call(python, verb, "--help", env=ENV)
        assert result.returncode == 21
        require_refusal(result)


def test_an_old_python_can_read_what_it_reads_first() -> None:
    for path in READ_FIRST:
        ast.parse(path.read_text("utf-8"), str(path), feature_version=(3, 8))


def test_the_oldest_python_is_said_once() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    oldest = ".".join(map(str, toolkit.OLDEST))
    assert SpecifierSet(project["requires-python"]) == SpecifierSet(f">={oldest}")
