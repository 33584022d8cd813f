"""Environments, made by the real uv; without a network but where marked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from children import ENV, command, python
from publishing import UPLOADED, make_pair, snapshot
from simple_index import Index, serving
from wheels import make_wheel

from toolkit.environments import environment
from toolkit.environments.environment import Environment, Environments
from toolkit.environments.interpreter import find_interpreter, uv
from toolkit.environments.verify import verify_installed
from toolkit.util import child_environment
from toolkit.util.errors import EnvironmentUnresolvable, HashMismatch, NotWritable, Unreachable
from toolkit.util.process import run

NAMES = ("livekit-agents", "livekit_plugins.openai")
DAY = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Wheels without dependencies; uv works offline."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    return make_pair(tmp_path / "wheels of mine", "+dispatched.1")


@pytest.fixture
def cache(tmp_path: Path) -> Environments:
    return Environments(tmp_path / "envs")


def made_by(cache: Environments, wheels: list[Path], uploaded: datetime = UPLOADED) -> Environment:
    return cache.prepare(wheels, uploaded=uploaded, extra=())


@pytest.fixture
def made(cache: Environments, pair: list[Path]) -> Environment:
    return made_by(cache, pair)


def test_holds_exactly_the_given_wheels_and_is_made_once(
    made: Environment, cache: Environments, pair: list[Path]
) -> None:
    assert made.distributions() == {
        "livekit-agents": "1.8.9+dispatched.1",
        "livekit-plugins-openai": "1.8.9",
    }
    verify_installed(made, NAMES)
    before = snapshot(cache.root)
    assert made_by(cache, pair) == made
    assert snapshot(cache.root) == before
    prefix = run([made.python, "-c", "import livekit.agents, sys; print(sys.prefix)"]).stdout
    assert Path(prefix.strip()) == made.path


def test_other_inputs_make_another_environment(
    made: Environment,
    cache: Environments,
    pair: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = made_by(cache, pair, UPLOADED.replace(day=25))
    official = made_by(cache, make_pair(tmp_path / "official"))
    monkeypatch.setattr(environment, "version", lambda _: "0.0.1")
    another_uv = made_by(cache, pair)
    assert len({made.path, later.path, official.path, another_uv.path}) == 4


def half_built(made: Environment) -> None:
    made.path.rename(made.path.with_name(f"{made.path.name}.part"))


def without_its_python(made: Environment) -> None:
    made.python.unlink()
    made.python.symlink_to(made.path / "gone")


@pytest.mark.parametrize("spoil", [half_built, without_its_python])
def test_what_is_of_no_use_is_made_again(
    spoil: Callable[[Environment], None], made: Environment, cache: Environments, pair: list[Path]
) -> None:
    (made.path / "bin" / "junk").touch()
    spoil(made)
    assert made_by(cache, pair) == made
    verify_installed(made, NAMES)
    assert made.python.exists()
    assert list(cache.root.rglob("junk")) == list(cache.root.glob("*.part")) == []


def test_nothing_half_built_stays_after_ctrl_c(
    cache: Environments, pair: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(command: list[str | Path], **options: object) -> object:
        if "sync" in command:
            raise KeyboardInterrupt
        return run(command, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(environment, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made_by(cache, pair)
    assert [path.suffix for path in cache.root.iterdir()] == [".lock"]


def test_two_processes_share_one_environment(cache: Environments, pair: list[Path]) -> None:
    script = (
        "import sys; from datetime import datetime; from pathlib import Path;"
        "from toolkit.environments.environment import Environments;"
        "wheels = [Path(a) for a in sys.argv[3:]];"
        "moment = datetime.fromisoformat(sys.argv[2]);"
        "print(Environments(Path(sys.argv[1])).prepare(wheels, uploaded=moment, extra=()).path)"
    )
    args = command(script, cache.root, UPLOADED.isoformat(), *pair)
    env = {**ENV, "UV_OFFLINE": "1"}
    several = [subprocess.Popen(args, env=env, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    paths = {child.communicate()[0].strip() for child in several}
    assert {child.returncode for child in several} == {0}
    (path,) = paths
    assert Path(path).is_dir()


NEEDS = {"requires": ["no-such-dependency>=1"]}
NO_INDEX = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}


@pytest.mark.parametrize(
    ("wheel", "env", "error", "reason"),
    [
        (NEEDS, {"UV_OFFLINE": "1"}, EnvironmentUnresolvable, "no-such-dependency"),
        ({"requires_python": ">=3.99"}, {"UV_OFFLINE": "1"}, EnvironmentUnresolvable, r"3\.99"),
        (NEEDS, NO_INDEX, Unreachable, r"127\.0\.0\.1:9"),
    ],
)
def test_what_cannot_be_resolved_says_why(
    wheel: Any,
    env: dict[str, str],
    error: type[Exception],
    reason: str,
    cache: Environments,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    made = make_wheel(cache.root.with_name("wheels"), "livekit-agents", "1.0", **wheel)
    with pytest.raises(error, match=reason):
        made_by(cache, [made])
    assert [path.suffix for path in cache.root.iterdir()] == [".lock"]


def test_a_folder_below_a_file_is_not_writable(tmp_path: Path, pair: list[Path]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotWritable, match="file"):
        made_by(Environments(tmp_path / "file" / "envs"), pair)


def test_a_time_without_a_zone_is_refused(cache: Environments, pair: list[Path]) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        made_by(cache, pair, datetime(2026, 1, 1))


def test_interpreters() -> None:
    running, named = find_interpreter(), find_interpreter(sys.executable)
    assert running.version == named.version == ".".join(map(str, sys.version_info[:3]))
    with pytest.raises(EnvironmentUnresolvable, match=r"3\.99"):
        find_interpreter("3.99")


def test_uv_is_found_by_many_threads_at_once() -> None:
    """In a fresh process, as sysconfig has not been asked for anything there yet."""
    script = (
        "import sys; sys.setswitchinterval(1e-6)\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from toolkit.environments.interpreter import uv\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    print(len({*pool.map(lambda _: uv(), range(8))}))"
    )
    result = python(script)
    assert (result.stdout, result.stderr) == ("1\n", "")


@pytest.mark.pypi
def test_dependencies_are_those_of_the_upload(cache: Environments, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "livekit-agents", "1.0", requires=["iniconfig"])
    made = cache.prepare([wheel], uploaded=datetime(2024, 6, 1, tzinfo=UTC))
    installed = made.distributions()
    assert (installed["iniconfig"], installed["pytest"]) == ("2.0.0", "8.2.1")


# -- verify_installed ----------------------------------------------------------------------


def alter(path: Path) -> None:
    """Not in place: uv may have linked the file to its cache."""
    path.unlink()
    path.write_text("LOSES = 0")


def add(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()


def shorten(path: Path) -> None:
    """Take the hash and the size out of one row."""
    text = path.read_text()
    path.unlink()
    path.write_text(text.replace(text.splitlines()[0], text.partition(",")[0], 1))


AGENTS = "livekit/agents"


@pytest.mark.parametrize(
    ("spoil", "path", "problem"),
    [
        (Path.unlink, f"{AGENTS}/__init__.py", "{path} is missing"),
        (alter, f"{AGENTS}/__init__.py", "{path} was altered"),
        (add, f"{AGENTS}/sneaked.py", "{path} is in no RECORD"),
        (add, "sitecustomize.py", "{path} is in no RECORD"),
        (add, f"{AGENTS}/voice/sneaked.py", "{path} is in no RECORD"),
        (Path.unlink, "livekit_plugins_openai-1.8.9.dist-info/METADATA", "is not installed"),
        (Path.unlink, "livekit_plugins_openai-1.8.9.dist-info/RECORD", "METADATA is in no RECORD"),
        (shorten, "livekit_plugins_openai-1.8.9.dist-info/RECORD", "other than three fields"),
    ],
)
def test_what_no_installer_sees(made: Environment, spoil: object, path: str, problem: str) -> None:
    spoil(made.site_packages / path)  # type: ignore[operator]
    with pytest.raises(HashMismatch, match=problem.format(path=path)):
        verify_installed(made, NAMES)


def test_a_dependency_that_somebody_edited(made: Environment) -> None:
    alter(next(made.site_packages.glob("livekit/plugins/openai/**/*.py")))
    with pytest.raises(HashMismatch, match=r"plugins/openai/.* was altered") as raised:
        verify_installed(made, ["livekit-agents"])
    assert raised.value.next_step == (
        "delete that folder and run `uv cache clean livekit-plugins-openai`, "
        "so that it is made again"
    )


def test_every_problem_is_named_and_caches_pass(made: Environment) -> None:
    folder = made.site_packages / AGENTS
    add(folder / "__pycache__" / "x.pyc")
    verify_installed(made, NAMES)
    add(folder / "a.py")
    add(folder / "b.py")
    with pytest.raises(HashMismatch, match=r"a\.py is in no RECORD; .*b\.py is in no RECORD"):
        verify_installed(made, NAMES)


# -- with an index ---------------------------------------------------------------------------


@pytest.fixture
def helped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[Path], Index]]:
    """A wheel that requires `helper`, and the index that has two versions of it."""
    with serving(Index()) as index:
        for name, version in (("helper", "1.0"), ("helper", "2.0"), ("setuptools", "9.0")):
            day = DAY.replace(month=3) if version == "2.0" else DAY
            index.add(make_wheel(tmp_path / "others", name, version), day)
        for name in ("UV_OFFLINE", "UV_INDEX_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
        yield [make_wheel(tmp_path, "livekit-agents", "1.0", requires=["helper"])], index


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("install", "helper==2.0"), r"helper 2\.0 is installed, and 1\.0 was resolved"),
        (("uninstall", "helper"), "helper is not installed"),
        (("install", "setuptools"), r"setuptools 9\.0 was not resolved"),
    ],
)
def test_somebody_elses_uv_changed_what_was_resolved(
    args: tuple[str, ...], problem: str, helped: tuple[list[Path], Index], cache: Environments
) -> None:
    made = made_by(cache, helped[0], DAY)
    verify_installed(made, [])
    options = ("--quiet", "--no-config", "--python", made.python)
    subprocess.run([uv(), "pip", *args, *options], check=True)
    with pytest.raises(HashMismatch, match=problem):
        verify_installed(made, [])


def test_what_can_change_a_resolution_is_in_the_key(
    helped: tuple[list[Path], Index],
    cache: Environments,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wheels, index = helped
    other = Environments(tmp_path / "other")
    made = made_by(cache, wheels, DAY)
    # a password is none of that, and what was made with a network serves without
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url.replace("//", "//me:secret@"))
    assert made_by(cache, wheels, DAY) == made
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert made_by(cache, wheels, DAY) == made
    offline = made_by(other, wheels, DAY)
    monkeypatch.delenv("UV_OFFLINE")
    assert made_by(other, wheels, DAY) != offline
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{index.url}?other")
    assert child_environment.sources() == ({"index": f"{index.url}?other"},)
