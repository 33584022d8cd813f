"""A throw-away GitHub: this checkout with a small series and suite, its origin, PyPI, upstream."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from publishing import EXPLORER, RUNNER, SUITE
from replaying import Recorded, replaying
from runner import Ran, Runner
from series import diff, mail, write_series
from simple_index import Index, serving
from upstream_repository import make_repository
from wheels import AGENTS, PLUGIN, make_official, members_of, source

CHECKOUT = Path(__file__).resolve().parents[2]
FIRST = "1.8.8"
MODULE = "livekit/agents/__init__.py"
LOST = "LOSES = True"
# Python lines of MODULE, by number: the fault is in the twentieth
FAULTY = {"line20": LOST}
KINDS: dict[str, dict[str, str]] = {
    "good": FAULTY,
    # the series leaves one of two faults
    "refused": {**FAULTY, "line35": LOST},
    # near enough to the fault that no patch applies, and far enough to be carried
    "moved": {**FAULTY, "line18": "value_18 = 0"},
    "conflict": {"line20": "LOSES = bool(1)"},
    "fixed": {"line20": "LOSES = False"},
}
# what the series waits for, as GitHub's API was recorded to tell it
CHANGE = "https://github.com/livekit/agents/pull/5021"
UPSTREAM_TEST = """
def test_imports():
    import livekit.agents
"""
PYPROJECT = '[dependency-groups]\ndev = ["pytest"]\n'


class Pypi(Index):
    """An index whose releases need the Python that runs this."""

    def page(self, project: str) -> bytes:
        only = f"=={sys.version_info.major}.{sys.version_info.minor}.*".encode()
        return super().page(project).replace(b">=3.10", only)


@dataclass
class World:
    """A repository of the project on its way to GitHub, and all that its workflows ask.

    ``clone`` is a maintainer's, ``state`` what GitHub holds: ``origin.git``, issues, artifacts.
    """

    root: Path
    pypi: Pypi
    github: Recorded
    runner: Runner
    variables: dict[str, str]

    @property
    def clone(self) -> Path:
        return self.runner.repository

    @property
    def state(self) -> Path:
        return self.runner.state

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.clone, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def release(self, version: str, kind: str = "good") -> None:
        """Upstream releases a version."""
        for name in (AGENTS, PLUGIN):
            members = members_of(name, version)
            if name == AGENTS:
                members[MODULE] = source(**KINDS[kind]).encode()
            self.pypi.add(make_official(self.root / "wheels", name, version, members=members))

    def verb(self, name: str, *words: str, check: bool = True) -> str:
        """A maintainer runs a verb in the clone."""
        done = subprocess.run(
            [sys.executable, f"scripts/{name}.py", *words],
            cwd=self.clone,
            env={**os.environ, **self.variables, "LIVEKIT_DISPATCHED_CACHE": f"{self.root}/cache"},
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def record(self, *versions: str) -> None:
        """A maintainer proves releases, which writes their rows, and pushes them to main."""
        where = ("--index", str(self.root / "at-home"), "--tier", "full")
        self.verb("release", *versions, *where, check=False)
        self.push("Record")

    def push(self, subject: str) -> str:
        """Commit all that changed and push it to main; the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        self.git("push", "--quiet", str(self.state / "origin.git"), "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def plant(self, path: str, old: str, new: str) -> None:
        """Change a file of the repository, and push that."""
        text = (self.clone / path).read_text("utf-8")
        assert old in text, f"{path} does not say {old!r}"
        (self.clone / path).write_text(text.replace(old, new), "utf-8")
        self.push("Plant a fault")

    # what a scenario starts

    def publish(self, what: str = "publish", releases: str = "", **options: Any) -> Ran:
        payload = {"inputs": {"what": what, "releases": releases}}
        return self.runner.run("publish", "workflow_dispatch", payload, **options)

    def pushed(self, **options: Any) -> Ran:
        return self.runner.run("publish", "push", **options)

    def watch(self, cron: str = "17 5 * * *", **options: Any) -> Ran:
        return self.runner.run("watch", "schedule", {"schedule": cron}, **options)

    def ran_lately(self, workflow: str, *, days: float = 1, state: str = "active") -> None:
        """Let GitHub say when a workflow ran last, and whether it is on."""
        when = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
        runs = [{"workflow": workflow, "created_at": when}]
        (self.state / "runs.json").write_text(json.dumps(runs), "utf-8")
        (self.state / "workflows.json").write_text(json.dumps({workflow: state}), "utf-8")

    # what a scenario looks at

    def kept(self, name: str) -> Any:
        """A document of GitHub's: issues, pulls, dispatched, log."""
        path = self.state / f"{name}.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else []

    def origin(self, *words: str) -> str:
        """What git says of the origin; nothing if it fails."""
        command = ["git", f"--git-dir={self.state / 'origin.git'}", *words]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    def published(self) -> set[str]:
        """The versions of livekit-agents on the branch `index` that are ours."""
        names = self.origin("ls-tree", "-r", "--name-only", "index").splitlines()
        wheels = [Path(name).name for name in names if name.startswith("files/livekit_agents-")]
        return {w.split("-")[1] for w in wheels if w.endswith(".whl") and "+" in w}

    def retired(self) -> bool:
        """Whether the index on the branch says that the series ended."""
        page = json.loads(self.origin("show", "index:simple/livekit-agents/index.json"))
        return bool(page.get("project-status", {}).get("status") == "deprecated")

    def trailer(self) -> str:
        """The commit that the branch `index` says it holds."""
        return self.origin("log", "-1", "--format=%(trailers:key=Published,valueonly)", "index")


def ours(*versions: str, revision: int = 1) -> set[str]:
    """The versions of our wheels of releases."""
    return {f"{version}+dispatched.{revision}" for version in versions}


@contextmanager
def open_world(root: Path, *, real: bool = False) -> Iterator[World]:
    """A world with one release; ``real`` keeps the project's own series and suite, and PyPI."""
    clone, state = root / "clone", root / "state"
    state.mkdir(parents=True)
    copy_checkout(clone)
    if not real:
        write_small(clone)
    pypi = Pypi()
    with ExitStack() as stack:
        stack.enter_context(serving(pypi))
        github = stack.enter_context(replaying())
        upstream = make_upstream(root / "upstream")
        variables = {
            **({} if real else {"LIVEKIT_DISPATCHED_PYPI": pypi.url}),
            "LIVEKIT_DISPATCHED_UPSTREAM": str(upstream),
            "LIVEKIT_DISPATCHED_GITHUB_API": github.url,
        }
        runner = Runner(root / "runs", clone, state, variables)
        world = World(root, pypi, github, runner, variables)
        world.runner.folder.mkdir()
        begin(world)
        if not real:
            world.release(FIRST)
            world.verb("update")
            world.push("Begin")
        yield world


def begin(world: World) -> None:
    """Make a repository of the clone, and an empty origin as GitHub's are set up."""
    origin = world.state / "origin.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(origin)], check=True)
    for name in ("allowAnySHA1InWant", "allowFilter"):
        world.origin("config", f"uploadpack.{name}", "true")
    world.git("init", "--quiet", "--initial-branch=main")
    for name, value in {"name": "A", "email": "a@example.org"}.items():
        world.git("config", f"user.{name}", value)
    # the runner asks this for the repository's name, and nothing else does
    world.git("remote", "add", "origin", "https://github.com/acme/dispatched")
    world.push("Copy")


def copy_checkout(folder: Path) -> None:
    """The files of this checkout that git knows or would add, as they are now."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name)


def write_small(clone: Path) -> None:
    """A series of one line, and a suite that takes a second."""
    for name in ("patches", "tests/race"):
        shutil.rmtree(clone / name)
    write_series(clone / "patches", {"guard": {"1.0": patch("LOSES = False")}})
    described = clone / "patches" / "series.toml"
    text = described.read_text("utf-8").replace("https://example.org/1", CHANGE, 1)
    described.write_text(text, "utf-8")
    suite = clone / "tests" / "race"
    suite.mkdir()
    explorer = EXPLORER.replace("    import pytest\n", "    import small as pytest\n")
    for name, text in {"explore": explorer, "suite": SUITE, "small": RUNNER}.items():
        (suite / f"{name}.py").write_text(text, "utf-8")


def patch(line: str) -> str:
    """The series' only patch."""
    old, new = source(**FAULTY), source(line20=line)
    return mail(diff(f"livekit-agents/{MODULE}", old, new))


def make_upstream(folder: Path) -> Path:
    files = {"pyproject.toml": PYPROJECT, "tests/test_session.py": UPSTREAM_TEST}
    return make_repository(folder, {"livekit-agents@1.8.0": files})
