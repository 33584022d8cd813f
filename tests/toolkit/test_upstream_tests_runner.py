"""Which of upstream's tests run, with what, and how one run of them is started and ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from upstream_repository import PYPROJECT

from toolkit.environments.environment import Environment
from toolkit.upstream_tests import runner
from toolkit.upstream_tests.limits import Limits
from toolkit.upstream_tests.runner import requirements, run_tests, select_test_files
from toolkit.util import process
from toolkit.util.errors import CommandFailed
from toolkit.util.strict_json import Malformed

CHOSEN = "test_plugin_openai_x test_realtime/test_model test_chat_ctx test_agent_session test_tools"
LEFT = "test_aio_itertools test_vad test_stt utils/test_pool"
RUNNERS = ["pytest", "pytest-timeout", "pytest-xdist"]


def test_which_files_are_the_plugins(tmp_path: Path) -> None:
    for name in (*CHOSEN.split(), *LEFT.split()):
        path = tmp_path / "tests" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    chosen, left = select_test_files(tmp_path)
    assert {*chosen} == {f"tests/{name}.py" for name in CHOSEN.split()}
    assert {*left} == {f"tests/{name}.py" for name in LEFT.split()}
    assert select_test_files(tmp_path, everything=True)[1] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PYPROJECT, ["pytest", "pytest-timeout", "pytest-xdist>=1"]),
        ("[tool.uv]\ndev-dependencies = ['jiwer>=3', 'ruff']", ["jiwer>=3", *RUNNERS]),
        (None, RUNNERS),
        ("[", None),
        ("[dependency-groups]\ndev = ['no good']", None),
        ("tool = 1", None),
    ],
)
def test_what_the_tests_need(tmp_path: Path, text: str | None, expected: list[str] | None) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text, "utf-8")
    if expected is None:
        with pytest.raises(Malformed, match=r"pyproject\.toml"):
            requirements(tmp_path)
    else:
        assert requirements(tmp_path) == expected


class Run:
    """A run of no files, whose process ends in a way that a test says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.jobs = folder, list[process.Job]()
        self.code: int | None = 1
        for name in ("files", "scratch"):
            (folder / name).mkdir()
        monkeypatch.setattr(runner, "run_together", self.run_together)

    def run_together(self, jobs: list[process.Job], **_: object) -> tuple[process.Exited]:
        self.jobs += jobs
        return (process.Exited(self.code, ""),)

    def trouble(self) -> str:
        place = Environment(self.folder, self.folder / "python", "3.11.7")
        folders = self.folder / "files", self.folder / "scratch"
        return run_tests(folders[0], [], place, folders[1], Limits(run=9)).trouble


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


def test_a_run_that_was_killed_says_nothing_of_the_wheels(run: Run) -> None:
    run.code = -9
    with pytest.raises(CommandFailed, match="pytest was ended by signal 9"):
        run.trouble()


def test_a_run_that_stands_still_is_ended(run: Run) -> None:
    run.code = None
    assert run.trouble() == "the run was ended after 9 s without progress, with 0 of 0 tests"


NATIVE = """
import json, socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
print(json.dumps([name for _, name in socket.if_nameindex()]))
"""


def test_native_code_has_a_loopback_and_no_more() -> None:
    prefix = runner.network_namespace()
    if not prefix:
        pytest.skip("this machine gives no network namespaces")
    # -I: without the hook, as native code would be
    command = [*prefix, sys.executable, "-I", "-c", NATIVE]
    assert json.loads(subprocess.check_output(command, text=True)) == ["lo"]


@pytest.mark.parametrize("gives", [True, False])
def test_the_tests_run_in_a_network_namespace_where_they_can(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gives: bool
) -> None:
    program = tmp_path / "bin" / "unshare"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexit {int(not gives)}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    uncached = runner.network_namespace.__wrapped__
    monkeypatch.setattr(runner, "network_namespace", uncached)
    assert run.trouble().startswith("pytest ended with exit code 1: it printed nothing")
    words = [str(word) for word in run.jobs[0].command]
    assert (words[0] == str(program)) == gives
    assert words[words.index("-m") - 1] == str(tmp_path / "python")
