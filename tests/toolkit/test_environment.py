"""Environments, made by the real uv; without a network but where marked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from publishing import UPLOADED, make_pair, make_wheel, snapshot

from toolkit.environments import environment
from toolkit.environments.environment import Environment, Environments
from toolkit.environments.interpreter import find_interpreter
from toolkit.environments.verify import verify_installed
from toolkit.util.errors import EnvironmentUnresolvable, HashMismatch, NotWritable, Unreachable
from toolkit.util.process import run
from toolkit.util.workspace import REPOSITORY

NAMES = ("livekit-agents", "livekit_plugins.openai")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    return make_pair(tmp_path / "wheels of mine", "+dispatched.1")


@pytest.fixture
def made(tmp_path: Path, pair: list[Path], offline: None) -> Environment:
    return Environments(tmp_path / "envs").prepare(pair, uploaded=UPLOADED, extra=())


def test_holds_exactly_the_given_wheels_and_is_made_once(
    made: Environment, tmp_path: Path, pair: list[Path]
) -> None:
    assert made.distributions() == {
        "livekit-agents": "1.8.9+dispatched.1",
        "livekit-plugins-openai": "1.8.9",
    }
    verify_installed(made, NAMES)
    before = snapshot(tmp_path / "envs")
    again = Environments(tmp_path / "envs").prepare(pair, uploaded=UPLOADED, extra=())
    assert again == made
    assert snapshot(tmp_path / "envs") == before
    said = subprocess.run(
        [made.python, "-c", "import livekit.agents, sys; print(sys.prefix)"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(said.stdout.strip()) == made.path


def test_other_inputs_make_another_environment(
    made: Environment, tmp_path: Path, pair: list[Path]
) -> None:
    cache = Environments(tmp_path / "envs")
    later = cache.prepare(pair, uploaded=UPLOADED.replace(day=25), extra=())
    official = cache.prepare(make_pair(tmp_path / "official"), uploaded=UPLOADED, extra=())
    assert len({made.path, later.path, official.path}) == 3


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda site: (site / "livekit/agents/__init__.py").unlink(), "__init__.py is missing"),
        (
            lambda site: alter(site / "livekit/agents/__init__.py"),
            "livekit/agents/__init__.py was altered",
        ),
        (
            lambda site: (site / "livekit/agents/sneaked.py").touch(),
            "livekit/agents/sneaked.py is in no RECORD",
        ),
        (lambda site: (site / "sitecustomize.py").touch(), "sitecustomize.py is in no RECORD"),
        (
            lambda site: (
                (site / "livekit/agents/voice").mkdir()
                or (site / "livekit/agents/voice/sneaked.py").touch()
            ),
            "livekit/agents/voice/sneaked.py is in no RECORD",
        ),
        (
            lambda site: (site / "livekit_plugins_openai-1.8.9.dist-info/METADATA").unlink(),
            "is not installed",
        ),
    ],
)
def test_check_sees_what_no_installer_sees(
    made: Environment, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(made.site_packages)
    with pytest.raises(HashMismatch, match=said):
        verify_installed(made, NAMES)


def alter(path: Path) -> None:
    """Not in place: uv may have linked the file to its cache."""
    path.unlink()
    path.write_text("LOSES = 0")


def test_check_sees_a_dependency_that_somebody_edited(made: Environment) -> None:
    site = made.site_packages
    alter(next(site.glob("livekit/plugins/openai/**/*.py")))
    with pytest.raises(HashMismatch, match=r"plugins/openai/.* was altered") as raised:
        verify_installed(made, ["livekit-agents"])
    assert raised.value.next_step == (
        "delete that folder and run `uv cache clean livekit-plugins-openai`, "
        "so that it is made again"
    )


def test_check_names_every_problem_and_lets_caches_pass(made: Environment) -> None:
    folder = made.site_packages / "livekit" / "agents"
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").touch()
    verify_installed(made, NAMES)
    (folder / "a.py").touch()
    (folder / "b.py").touch()
    with pytest.raises(HashMismatch, match=r"a\.py is in no RECORD; .*b\.py is in no RECORD"):
        verify_installed(made, NAMES)


def test_a_half_built_environment_is_made_again(
    made: Environment, tmp_path: Path, pair: list[Path]
) -> None:
    partial = made.path.with_name(f"{made.path.name}.part")
    made.path.rename(partial)
    (partial / "bin" / "junk").touch()
    again = Environments(tmp_path / "envs").prepare(pair, uploaded=UPLOADED, extra=())
    assert again == made
    verify_installed(again, NAMES)
    assert not partial.exists()
    assert not (again.path / "bin" / "junk").exists()


def test_an_environment_whose_python_is_gone_is_made_again(
    made: Environment, tmp_path: Path, pair: list[Path]
) -> None:
    (made.path / "bin" / "junk").touch()
    made.python.unlink()
    made.python.symlink_to(tmp_path / "gone")
    again = Environments(tmp_path / "envs").prepare(pair, uploaded=UPLOADED, extra=())
    assert again == made
    assert made.python.exists()
    assert not (made.path / "bin" / "junk").exists()


def test_nothing_half_built_stays_after_ctrl_c(
    tmp_path: Path, pair: list[Path], offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(command: list[str | Path], **options: object) -> object:
        if "sync" in command:
            raise KeyboardInterrupt
        return run(command, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(environment, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Environments(tmp_path / "envs").prepare(pair, uploaded=UPLOADED, extra=())
    assert [p.suffix for p in (tmp_path / "envs").iterdir()] == [".lock"]


def test_two_processes_share_one_environment(tmp_path: Path, pair: list[Path]) -> None:
    script = (
        "import sys; from datetime import datetime; from pathlib import Path;"
        "from toolkit.environments.environment import Environments;"
        "wheels = [Path(a) for a in sys.argv[3:]];"
        "moment = datetime.fromisoformat(sys.argv[2]);"
        "print(Environments(Path(sys.argv[1])).prepare(wheels, uploaded=moment, extra=()).path)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "envs"), UPLOADED.isoformat()]
    command += map(str, pair)
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts"), "UV_OFFLINE": "1"}
    several = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    paths = {child.communicate()[0].strip() for child in several}
    assert {child.returncode for child in several} == {0}
    assert len(paths) == 1
    assert Path(paths.pop()).is_dir()


def test_what_cannot_be_resolved_says_why(tmp_path: Path, offline: None) -> None:
    wheel = make_wheel(tmp_path, "livekit-agents", "1.0", requires=["no-such-dependency>=1"])
    with pytest.raises(EnvironmentUnresolvable) as caught:
        Environments(tmp_path / "envs").prepare([wheel], uploaded=UPLOADED, extra=())
    assert "no-such-dependency" in str(caught.value)
    assert [p.suffix for p in (tmp_path / "envs").iterdir()] == [".lock"]


def test_a_wheel_for_another_python_says_why(tmp_path: Path, offline: None) -> None:
    wheel = make_wheel(tmp_path, "livekit-agents", "1.0", requires_python=">=3.99")
    with pytest.raises(EnvironmentUnresolvable, match=r"3\.99"):
        Environments(tmp_path / "envs").prepare([wheel], uploaded=UPLOADED, extra=())


def test_an_index_that_does_not_answer_is_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    wheel = make_wheel(tmp_path, "livekit-agents", "1.0", requires=["no-such-dependency>=1"])
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        Environments(tmp_path / "envs").prepare([wheel], uploaded=UPLOADED, extra=())


def test_a_folder_below_a_file_is_not_writable(tmp_path: Path, pair: list[Path]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotWritable, match="file"):
        Environments(tmp_path / "file" / "envs").prepare(pair, uploaded=UPLOADED, extra=())


def test_a_time_without_a_zone_is_refused(tmp_path: Path, pair: list[Path]) -> None:
    naive = datetime(2026, 1, 1)
    with pytest.raises(ValueError, match="no time zone"):
        Environments(tmp_path / "envs").prepare(pair, uploaded=naive, extra=())


def test_interpreters() -> None:
    here = find_interpreter()
    named = find_interpreter(sys.executable)
    assert here.version == named.version == ".".join(map(str, sys.version_info[:3]))
    with pytest.raises(EnvironmentUnresolvable, match=r"3\.99"):
        find_interpreter("3.99")


@pytest.mark.pypi
def test_dependencies_are_those_of_the_upload(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "livekit-agents", "1.0", requires=["iniconfig"])
    moment = datetime.fromisoformat("2024-06-01T00:00:00+00:00")
    made = Environments(tmp_path / "envs").prepare([wheel], uploaded=moment)
    found = made.distributions()
    assert found["iniconfig"] == "2.0.0"
    assert found["pytest"] == "8.2.1"


def test_uv_is_found_by_many_threads_at_once() -> None:
    """In a fresh process, as sysconfig has not been asked for anything there yet."""
    script = (
        "import sys; sys.setswitchinterval(1e-6)\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from toolkit.environments.interpreter import uv\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    print(len({*pool.map(lambda _: uv(), range(8))}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts")},
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
