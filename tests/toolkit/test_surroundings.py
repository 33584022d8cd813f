"""Whoever runs a verb, and wherever: the same bytes and the same distributions, or one error.

Each case is a surrounding in which real scripts run as processes of their own, with the real git
and uv, against an index on loopback. That index offers more than the resolution of the release's
day may take: a later version, a pre-release, and what uv would seed an environment with.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from making import AGENTS, PLUGIN, Index, engine_patch, make_wheel, serving, write_series
from publishing import UPLOADED, snapshot
from publishing import make_wheel as make_small_wheel
from upstreaming import PYPROJECT, lend_pytest, make_repository

from toolkit import environment, inherited, plain_git, upstream, upstream_suite
from toolkit.environment import Environments
from toolkit.errors import CommandFailed, HashMismatch
from toolkit.files import sha256
from toolkit.forwarding import files_at
from toolkit.repository import Repository
from toolkit.teeth import Teeth
from toolkit.workspace import REPOSITORY

RELEASE = "1.8.9"
EXPECTED = {"helper": "1.0", "livekit-agents": RELEASE, "livekit-plugins-openai": RELEASE}
PROGRAM = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from toolkit.environment import Environments, check
from toolkit.errors import run_verb
from toolkit.repository import Letter, Repository

LETTER = Letter("A <a@example.org>", "Sun, 22 Nov 2026 12:00:00 +0000", "Zo\\u00eb: change\\n\\nWhy.\\n")

def numbers(**changes):
    lines = [changes.get(f"line{n}", f"value_{n} = {n}") for n in range(60)]
    return "".join(f"{line}\\n" for line in lines).encode()

def mails(folder):
    folder.mkdir()
    repository = Repository.create(folder)
    old = repository.store("refs/heads/a", {"a.py": numbers(), "\\u00e9.py": b"x = 1\\n"})
    files = {"b.py": numbers(line9="new = 9", line16="new = 16"), "\\u00e9.py": b"x = 2 \\n"}
    new = repository.store("refs/heads/b", files, LETTER, old)
    told = [repository.export(new).decode(), repository.diff(old, new)]
    files = {"a.py": numbers(line30="theirs = 30"), "\\u00e9.py": b"x = 1\\n"}
    repository.checkout(repository.store("refs/heads/c", files))
    repository.pick(new, "histogram")
    return [*told, repository.moves(old, new), repository.head]

def body():
    folder, *wheels = map(Path, sys.argv[1:])
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    place = Environments(folder / "envs").prepare(wheels, uploaded=moment, extra=["helper"])
    check(place, ["livekit-agents"])
    print(json.dumps({**place.distributions(), "mails": mails(folder / "tree")}))

sys.exit(run_verb(body))
"""


@dataclass
class Place:
    """Where a verb is run: a home and a working folder below ``folder``, and variables.

    ``code`` and ``said`` are what it should end with.
    """

    folder: Path
    env: dict[str, str]
    umask: int = 0o022
    code: int = 0
    said: str = ""
    before: list[str] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self._made("home")

    @property
    def cwd(self) -> Path:
        return self._made("above/work")

    def _made(self, name: str) -> Path:
        made = self.folder / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("{folder}", str(self.folder)), "utf-8")
        file.chmod(mode)
        return file

    def variables(self, lines: str) -> None:
        for line in lines.split():
            name, _, value = line.partition("=")
            self.env[name] = value.replace("{folder}", str(self.folder))

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.before, sys.executable, *map(str, words)],
            cwd=self.cwd,
            env={"HOME": str(self.home), **self.env},
            umask=self.umask,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )


@dataclass
class World:
    """A series, an index with a release that it fits, and what comes of it in a plain place."""

    folder: Path
    index: Index
    bytes: dict[str, str] = field(default_factory=dict)
    told: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (AGENTS, PLUGIN):
            self.index.add(make_wheel(self.folder / "wheels", name, RELEASE, requires=["helper"]))
        days = {"1.0": (2026, 1, 1), "1.5rc1": (2026, 1, 1), "2.0": (2026, 3, 1)}
        for version, day in days.items():
            wheel = make_small_wheel(self.folder / "others", "helper", version)
            self.index.add(wheel, datetime(*day, tzinfo=UTC))
        for seed in ("pip", "setuptools", "wheel"):
            self.index.add(make_small_wheel(self.folder / "others", seed, "9.0"))
        changed = engine_patch(line9="value_9 = 'patched'")
        self.patches = write_series(self.folder / "patches", {"guard": {"1.0": changed}})
        self.wheels = sorted((self.folder / "wheels").iterdir())

    def place(self, folder: Path) -> Place:
        folder.mkdir(parents=True, exist_ok=True)
        env = {
            "PATH": os.environ["PATH"],
            "LIVEKIT_DISPATCHED_CACHE": str(folder / "cache"),
            "LIVEKIT_DISPATCHED_PYPI": self.index.url,
            "UV_DEFAULT_INDEX": self.index.url,
            "UV_CACHE_DIR": str(self.folder / "uv"),
            "UV_HTTP_RETRIES": "0",
        }
        return Place(folder, env)

    def repack(self, place: Place) -> subprocess.CompletedProcess[str]:
        words = ("--patches", self.patches, "--out", place.folder / "out")
        return place.run(REPOSITORY / "scripts/repack.py", RELEASE, *words)

    def work(self, place: Place) -> subprocess.CompletedProcess[str]:
        script = f"import sys; sys.path.insert(0, {str(REPOSITORY / 'scripts')!r})\n{PROGRAM}"
        return place.run("-c", script, place.folder, *self.wheels)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(Index()) as index:
        made = World(tmp_path_factory.mktemp("world"), index)
        plain = made.place(made.folder / "plain")
        done = made.repack(plain)
        assert done.returncode == 0, done.stderr
        made.bytes = written(plain)
        done = made.work(plain)
        assert done.returncode == 0, done.stderr
        made.told = json.loads(done.stdout)
        assert EXPECTED.items() <= made.told.items()
        yield made


def written(place: Place) -> dict[str, str]:
    """The wheels that came out, by name, with their digests."""
    return {w.name: sha256(w.read_bytes()) for w in sorted((place.folder / "out").glob("*.whl"))}


UV_TOML = """
exclude-newer-package = { helper = false }
index-strategy = "unsafe-best-match"
[pip]
prerelease = "allow"
override-dependencies = ["helper==2.0"]
"""
GIT_CONFIG = """
[core]
    autocrlf = true
    hooksPath = {folder}/hooks
    abbrev = 12
    attributesFile = {folder}/attributes
[commit]
    gpgSign = true
[diff]
    noprefix = true
    context = 1
    algorithm = patience
    external = {folder}/hooks/pre-commit
[format]
    noprefix = true
    attach = x
[am]
    threeWay = true
[apply]
    whitespace = error
[init]
    defaultObjectFormat = sha256
    templateDir = {folder}/hooks
[user]
    useConfigOnly = true
"""
FAILS = "#!/bin/sh\nexit 1\n"
STUB = '#!/bin/sh\n[ "$1" = --version ] && echo "git version 2.30.2" && exit\nexit 1\n'


def user_uv(place: Place) -> None:
    place.write("home/.config/uv/uv.toml", UV_TOML)
    place.write("xdg/uv/uv.toml", UV_TOML)
    place.variables("XDG_CONFIG_DIRS={folder}/xdg")


def user_uv_elsewhere(place: Place) -> None:
    place.write("xdg/uv/uv.toml", UV_TOML)
    place.variables("XDG_CONFIG_HOME={folder}/xdg")


def uv_in_a_folder_above(place: Place) -> None:
    place.write("above/uv.toml", UV_TOML)
    place.write("uv.toml", UV_TOML)


def project_above(place: Place) -> None:
    text = f'[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.99"\n[tool.uv]{UV_TOML}'
    for path in ("pyproject.toml", "above/pyproject.toml", "above/work/pyproject.toml"):
        place.write(path, text.replace("[pip]", "[tool.uv.pip]"))
    place.write("above/work/.python-version", "3.8\n")


def uv_names_a_file(place: Place) -> None:
    place.variables(f"UV_CONFIG_FILE={place.write('mine.toml', UV_TOML)}")


def uv_override(place: Place) -> None:
    place.variables(
        f"UV_OVERRIDE={place.write('mine.txt', 'helper==2.0')} UV_EXCLUDE_NEWER=2030-01-01"
    )


def uv_constraint(place: Place) -> None:
    place.variables(
        f"UV_CONSTRAINT={place.write('mine.txt', 'helper<1')} UV_BUILD_CONSTRAINT=/none"
    )


def uv_resolution(place: Place) -> None:
    place.variables("UV_PRERELEASE=allow UV_RESOLUTION=lowest UV_EXCLUDE_NEWER=2020-01-01")


def uv_seed(place: Place) -> None:
    place.variables("UV_VENV_SEED=1 UV_LINK_MODE=symlink UV_COMPILE_BYTECODE=1")


def uv_other_indexes(place: Place) -> None:
    make_small_wheel(place.folder / "links", "helper", "1.9")
    place.variables("UV_FIND_LINKS={folder}/links UV_INDEX=http://127.0.0.1:9/simple")
    place.variables("UV_EXTRA_INDEX_URL=http://127.0.0.1:9/simple UV_NO_INDEX=1")


def uv_refuses_all(place: Place) -> None:
    place.variables("UV_REQUIRE_HASHES=1 UV_NO_BINARY=1 UV_NO_CACHE=1 UV_FROZEN=1 UV_TARGET=/none")


def other_pythons(place: Place) -> None:
    place.variables("UV_PYTHON=3.8 VIRTUAL_ENV={folder} CONDA_PREFIX={folder} UV_SYSTEM_PYTHON=1")
    place.variables("UV_PROJECT={folder} UV_WORKING_DIR={folder} UV_PROJECT_ENVIRONMENT={folder}")


def pip(place: Place) -> None:
    text = "[global]\nindex-url = http://127.0.0.1:9/\ntarget = /none\nno-index = true\n"
    for path in ("home/.config/pip/pip.conf", "home/.pip/pip.conf", "above/work/pip.conf"):
        place.write(path, text)
    place.variables("PIP_CONFIG_FILE={folder}/home/.pip/pip.conf PIP_INDEX_URL=http://127.0.0.1:9/")
    place.variables("PIP_TARGET=/none PIP_USER=1 PIP_CONSTRAINT=/none PIP_REQUIRE_VIRTUALENV=1")


def user_git(place: Place) -> None:
    for hook in ("pre-commit", "commit-msg", "applypatch-msg", "post-commit"):
        place.write(f"hooks/{hook}", FAILS, 0o755)
    place.write("attributes", "* text eol=crlf ident\n")
    place.write("home/.gitconfig", GIT_CONFIG)
    place.write("xdg/git/config", GIT_CONFIG)
    place.write("xdg/git/ignore", "*\n")
    place.variables("XDG_CONFIG_HOME={folder}/xdg")


def git_named_files(place: Place) -> None:
    user_git(place)
    place.variables("GIT_CONFIG_GLOBAL={folder}/home/.gitconfig GIT_CONFIG_NOSYSTEM=0")
    place.variables(
        "GIT_CONFIG_SYSTEM={folder}/home/.gitconfig GIT_CONFIG={folder}/home/.gitconfig"
    )


def git_settings_in_variables(place: Place) -> None:
    user_git(place)
    place.variables("GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=core.hooksPath")
    place.variables("GIT_CONFIG_VALUE_0={folder}/hooks GIT_CONFIG_KEY_1=commit.gpgSign")
    place.variables("GIT_CONFIG_VALUE_1=true GIT_CONFIG_PARAMETERS='diff.noprefix'='true'")
    place.variables("GIT_CONFIG_KEY_200=core.autocrlf GIT_CONFIG_VALUE_200=true")


def git_diffs(place: Place) -> None:
    place.write("fails", FAILS, 0o755)
    place.variables("GIT_DIFF_OPTS=-u10 GIT_EXTERNAL_DIFF={folder}/fails GIT_PAGER={folder}/fails")
    place.variables("GIT_PAGER_IN_USE=1 GIT_LITERAL_PATHSPECS=1 GIT_MERGE_VERBOSITY=5")


def git_places(place: Place) -> None:
    names = ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "COMMON_DIR", "TEMPLATE_DIR")
    for name in (*names, "EXEC_PATH", "SHALLOW_FILE", "GRAFT_FILE", "ATTR_SOURCE", "NAMESPACE"):
        place.env[f"GIT_{name}"] = str(place.folder / "elsewhere")


def git_of_tomorrow(place: Place) -> None:
    place.variables("GIT_DEFAULT_HASH=sha256 GIT_DEFAULT_REF_FORMAT=reftable GIT_ADVICE=0")
    place.variables("GIT_TEST_DEFAULT_INITIAL_BRANCH_NAME=x GIT_PROTOCOL=version=9")


def git_traces(place: Place) -> None:
    place.variables(
        "GIT_TRACE=1 GIT_TRACE_SETUP=1 GIT_TRACE2=1 GIT_TRACE_PACKET=1 GIT_CURL_VERBOSE=1"
    )


def git_authors(place: Place) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        place.variables(f"GIT_{who}_NAME=x GIT_{who}_EMAIL=x GIT_{who}_DATE=2001-01-01T00:00:00Z")
    place.variables("EMAIL=x GIT_EDITOR=false GIT_SEQUENCE_EDITOR=false VISUAL=false EDITOR=false")


def old_git(place: Place) -> None:
    user_git(place)
    place.write("bin/git", STUB, 0o755)
    place.env["PATH"] = f"{place.folder / 'bin'}{os.pathsep}{place.env['PATH']}"
    place.code = 21
    place.said = "error: git 2.32 or newer is needed, this is: git version 2.30.2\n"


def no_git(place: Place) -> None:
    place.env["PATH"] = str(place.folder / "nothing")
    place.code, place.said = 21, "error: git is not installed\n"


def locale_c(place: Place) -> None:
    place.variables("LC_ALL=C LANG=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0")


def locale_posix(place: Place) -> None:
    place.variables("LC_ALL=POSIX LANG=POSIX")


def locale_turkish(place: Place) -> None:
    place.variables("LANG=tr_TR.UTF-8 LC_ALL=tr_TR.UTF-8 LANGUAGE=tr")


def locale_unknown(place: Place) -> None:
    place.variables("LC_ALL=xx_YY.EBCDIC LC_MESSAGES=de_DE LANGUAGE=de:fr")


def time_zone(place: Place) -> None:
    place.variables("TZ=Pacific/Kiritimati SOURCE_DATE_EPOCH=1 COLUMNS=20 NO_COLOR=1 FORCE_COLOR=1")


def umask_closed(place: Place) -> None:
    place.umask = 0o077


def umask_open(place: Place) -> None:
    place.umask = 0


def python(place: Place) -> None:
    place.variables("PYTHONHASHSEED=7 PYTHONOPTIMIZE=2 PYTHONDONTWRITEBYTECODE=1 PYTHONUTF8=0")
    place.variables("PYTHONNOUSERSITE=1 PYTHONINTMAXSTRDIGITS=0 PYTHONPLATLIBDIR=lib")


def pytest_(place: Place) -> None:
    for folder in ("", "above/", "above/work/"):
        place.write(f"{folder}conftest.py", "raise SystemExit('read')\n")
        place.write(f"{folder}pytest.ini", "[pytest]\naddopts = --no-such-option\n")
    place.variables("PYTEST_ADDOPTS=--no-such-option PYTEST_PLUGINS=no_such_plugin TMPDIR={folder}")


def in_a_repository(place: Place) -> None:
    (place.cwd / ".git").write_text("gitdir: /none\n", "utf-8")
    place.write("above/.gitattributes", "* text eol=crlf\n")


def no_home(place: Place) -> None:
    place.env["HOME"] = ""


def unwritable_home(place: Place) -> None:
    for name in ("LIVEKIT_DISPATCHED_CACHE", "UV_CACHE_DIR"):
        del place.env[name]
    place.env["HOME"] = str(place.write("file", "") / "home")
    place.code, place.said = 20, "file/home/.cache/"


CASES: list[Callable[[Place], None]] = [
    *(user_uv, user_uv_elsewhere, uv_in_a_folder_above, project_above, uv_names_a_file),
    *(uv_override, uv_constraint, uv_resolution, uv_seed, uv_other_indexes, uv_refuses_all),
    *(other_pythons, pip, user_git, git_named_files, git_settings_in_variables, git_diffs),
    *(git_places, git_of_tomorrow, git_traces, git_authors, old_git, no_git, locale_c),
    *(locale_posix, locale_turkish, locale_unknown, time_zone, umask_closed, umask_open),
    *(python, pytest_, in_a_repository, no_home, unwritable_home),
]


@pytest.mark.parametrize("name", ["plain", "[1] é # % ' $HOME {x}"])
def test_a_folder_with_any_name(world: World, tmp_path: Path, name: str) -> None:
    place = world.place(tmp_path / name)
    place.variables("TMPDIR={folder}")
    done = world.repack(place)
    assert (done.returncode, written(place)) == (0, world.bytes), done.stderr
    done = world.work(place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == world.told


@pytest.mark.skipif(os.name == "nt", reason="surroundings of Unix")
@pytest.mark.parametrize("surround", CASES, ids=lambda case: case.__name__)
def test_surroundings(world: World, tmp_path: Path, surround: Callable[[Place], None]) -> None:
    place = world.place(tmp_path)
    surround(place)
    before = snapshot(world.patches)
    done = world.repack(place)
    assert "Traceback" not in done.stderr
    assert done.returncode == place.code, done.stderr
    assert place.said in done.stderr
    assert written(place) == ({} if place.code else world.bytes)
    assert snapshot(world.patches) == before
    done = world.work(place)
    assert "Traceback" not in done.stderr
    assert done.returncode == place.code, done.stderr
    assert place.said in done.stderr
    if not place.code:
        assert json.loads(done.stdout) == world.told
