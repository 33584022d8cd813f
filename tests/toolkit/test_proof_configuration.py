"""Test runs are configured by their own files alone, wherever these are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from children import ODD_NAMES, call
from publishing import UPLOADED
from simple_index import Index, serving
from upstream_repository import PYPROJECT, lend_pytest

from toolkit.environments.environment import Environment, Environments
from toolkit.proof.mutation_testing import MutationRunner
from toolkit.upstream_tests import runner
from toolkit.upstream_tests.limits import Limits
from toolkit.util.store import Store
from toolkit.util.workspace import REPOSITORY

CONFTEST = """
import json, os
from pathlib import Path
def pytest_addoption(parser):
    for name in ("--race-report", "--tier"):
        parser.addoption(name)
def pytest_sessionfinish(session, exitstatus):
    test = {"outcome": "passed", "check": "wire", "documented": False, "message": "", "seconds": 0}
    Path(session.config.option.race_report).write_text(json.dumps({
        "format": 1, "python": "3", "exitstatus": int(exitstatus), "collected": 1,
        "distributions": {}, "tests": {"test_it.py::test_it": {**test, "seconds": 0.5}}}))
"""
TEST = """
import os
def test_it():
    listed = "PATH LD_LIBRARY_PATH HOME USERPROFILE TMPDIR LANG LC_ALL TZ PYTHONHASHSEED PYTHONUTF8"
    listed += " PYTHONPYCACHEPREFIX PYTEST_DISABLE_PLUGIN_AUTOLOAD PYTEST_VERSION LC_CTYPE"
    listed += " PYTEST_CURRENT_TEST XDG_CACHE_HOME XDG_DATA_HOME TEMP TMP DYLD_LIBRARY_PATH"
    assert not set(os.environ) - set(listed.split())
    assert os.environ["LC_ALL"] == "C.UTF-8"
"""


def write(folder: Path, **texts: str) -> Path:
    """Write files; ``__`` in a name is a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text, "utf-8")
    return folder


@pytest.fixture
def hostile_tree(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder below files that configure pytest, which takes its name for a parameter."""
    hostile = {
        "conftest__py": "raise SystemExit('a conftest from above')\n",
        "pytest__ini": "[pytest]\naddopts = --no-such-option\n",
    }
    write(tmp_path, **hostile)
    return write(tmp_path / getattr(request, "param", "clone [1]"), **hostile)


@pytest.fixture
def suite(hostile_tree: Path) -> Path:
    texts = {"pytest__ini": "[pytest]\n", "conftest__py": CONFTEST, "test_it__py": TEST}
    return write(hostile_tree / "suite", **texts)


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the pytest that runs this very test."""
    folder = tmp_path_factory.mktemp("lent")
    runners = ("pytest", "pytest-timeout", "pytest-xdist")
    with serving(Index()) as index, pytest.MonkeyPatch.context() as patch:
        for wheel in lend_pytest(folder / "runners").iterdir():
            index.add(wheel)
        patch.setenv("UV_DEFAULT_INDEX", index.url)
        return Environments(folder / "envs").prepare([], uploaded=UPLOADED, extra=runners)


def test_the_race_suite(
    suite: Path, lent: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PYTEST_ADDOPTS", "--no-such"), ("OPENAI_API_KEY", "x"), ("LC_ALL", "C")):
        monkeypatch.setenv(name, value)
    copies = write(tmp_path / "copies")
    assert MutationRunner(suite, lent, copies, Store(tmp_path / "kept"), timeout=60).passing == 1


@pytest.mark.parametrize("hostile_tree", [*ODD_NAMES, "clone [1]"], indirect=True)
def test_the_explorer_that_runs_the_race_suite(
    suite: Path, lent: Environment, tmp_path: Path
) -> None:
    shutil.copy(REPOSITORY / "tests/race/explore.py", suite)
    report = tmp_path / "report.json"
    script = f"import sys; sys.path.insert(0, {str(suite)!r}); import explore\n"
    script += f"explore._test(explore._options(['--tier=quick', {f'--tests={report}'!r}]))"
    env = {"PATH": "", "LC_ALL": "C.UTF-8"}
    result = call(lent.python, "-c", script, cwd=tmp_path, env=env)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(report.read_text())["exitstatus"] == 0


@pytest.mark.parametrize(
    ("files", "read"),
    [
        ({}, "pytest.ini"),
        ({"pyproject__toml": "[project]\n", "tox__ini": "[tox]\n"}, "pytest.ini"),
        ({"pyproject__toml": "[project]\n", "tox__ini": "[pytest]\n"}, "tox.ini"),
        ({"pyproject__toml": PYPROJECT, "tox__ini": "[pytest]\n"}, "pyproject.toml"),
        ({"setup__cfg": "[tool:pytest]\n"}, "setup.cfg"),
        ({"pyproject__toml": PYPROJECT, "__pytest__ini": ""}, ".pytest.ini"),
    ],
)
def test_the_file_that_configures_upstreams_tests(
    tmp_path: Path, files: dict[str, str], read: str
) -> None:
    write(tmp_path, **files)
    assert runner.configuration_of(tmp_path) == read
    assert (tmp_path / read).is_file()


def test_upstreams_tests(hostile_tree: Path, lent: Environment) -> None:
    files = hostile_tree / "files"
    write(files / "tests", test_tools__py="def test_it(): pass\n")
    scratch = write(hostile_tree / "scratch")
    limits = Limits(jobs=1)
    side = runner.run_tests(files, ["tests/test_tools.py"], lent, scratch, limits)
    assert (side.trouble, side.passed) == ("", 1)
