"""The same series from any checkout: however its lines end, and whatever its folder is called."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from making import AGENTS, PLUGIN, Index, engine_patch, make_wheel, serving, write_series
from packaging.version import Version
from publishing import proof_of
from standing_in import replace_proof

import release as verb
from toolkit.environments.pair import WheelPair
from toolkit.patches.series import Series
from toolkit.proof.prove import ProofSettings
from toolkit.proof.verdict import Verdict
from toolkit.releases.catalogue import Catalogue
from toolkit.util.files import sha256_of, tree_digest
from toolkit.util.process import run
from toolkit.util.workspace import CACHE_VARIABLE, REPOSITORY

PARTS = ("scripts", "tests/race", "patches")
FILES = (".gitattributes", "LICENSE", "pyproject.toml")
ODD = ("a [1] 'b' \"c\"", "50%25 #ü雪;&$HOME\\*?", "-dash", "x:y", f"{'x' * 200}/y")


@dataclass(frozen=True)
class Home:
    """A checkout's folder, in which the cache and the index are too."""

    folder: Path
    pypi: str

    def call(self, script: str, *words: str, code: int = 0) -> str:
        """What a verb of this checkout prints."""
        places = {CACHE_VARIABLE: str(self.folder / "cache"), "LIVEKIT_DISPATCHED_PYPI": self.pypi}
        done = subprocess.run(
            [sys.executable, f"scripts/{script}.py", *words],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, **places},
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    def released(self) -> dict[str, str]:
        """Release 1.8.9 into ./index: the sha256 of each wheel there, by its name."""
        (row,) = json.loads(self.call("release", "1.8.9", "--index=index", "--json"))
        assert row["verdict"] == "publish"
        return {path.name: sha256_of(path) for path in (self.folder / "index").rglob("*.whl")}


@dataclass(frozen=True)
class Street:
    """A checkout that released 1.8.9, and others that are like it."""

    first: Home
    wheels: dict[str, str]

    def another(self, folder: Path) -> Home:
        """A copy with the first one's cache: the release's verdict is known there."""

        def made(path: str, _: object) -> set[str]:
            return {"index"} if Path(path) == self.first.folder else set()

        shutil.copytree(self.first.folder, folder, ignore=made)
        (folder / "patches" / "releases.toml").unlink()
        return Home(folder, self.first.pypi)


def publishes(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
    """A proof of this very series; the real one has tests of its own."""
    return replace(proof_of(list(pair.patched), pair.release), series=pair.series)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("street") / "first"
    for part in PARTS[:2]:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / part, folder / part, ignore=ignored)
    for name in FILES:
        shutil.copy(REPOSITORY / name, folder)
    write_series(folder / "patches", {"guard": {"1.0": engine_patch(line9="first = 1")}})
    index = Index()
    for name in (AGENTS, PLUGIN):
        index.add(make_wheel(folder.with_name("w"), name, "1.8.9"))
    with serving(index), pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        patch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
        replace_proof(patch, publishes)
        places = ["--patches", str(folder / "patches"), "--index", str(folder / "before")]
        assert verb.main(["1.8.9", *places]) == 0
        first = Home(folder, index.url)
        yield Street(first, first.released())


def end_in_crlf(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("parts", [("patches",), PARTS], ids=["patches", "all"])
def test_crlf_gives_the_same_wheels_and_needs_no_new_proof(
    parts: tuple[str, ...], street: Street, tmp_path: Path
) -> None:
    home = street.another(tmp_path / "dos")
    for part in parts:
        end_in_crlf(home.folder / part)
    if parts == PARTS:
        dos = (home.folder / "LICENSE").read_bytes().replace(b"\n", b"\r\n")
        (home.folder / "LICENSE").write_bytes(dos)
    assert home.released() == street.wheels
    assert not any(b"\r" in page.read_bytes() for page in (home.folder / "index").rglob("*.html"))
    home.call("repack", "1.8.9", "--no-cache", "--out=wheels")
    assert home.call("audit", "index", "wheels")


def test_crlf_changes_no_digest(tmp_path: Path) -> None:
    for part in PARTS:
        shutil.copytree(REPOSITORY / part, tmp_path / part)
        end_in_crlf(tmp_path / part)
    assert tree_digest(tmp_path / "tests/race") == tree_digest(REPOSITORY / "tests/race")
    assert tree_digest(tmp_path / "scripts") == tree_digest(REPOSITORY / "scripts")
    ours, theirs = (Series.load(folder / "patches") for folder in (REPOSITORY, tmp_path))
    published = Catalogue.read(tmp_path / "patches/releases.toml").rows()
    assert Version("1.8.9") in published
    assert [ours.digest(one) for one in published] == [theirs.digest(one) for one in published]


def test_git_ends_no_line_in_crlf(street: Street, tmp_path: Path) -> None:
    home = street.another(tmp_path / "home")
    git: Callable[..., Any] = lambda *words: run(["git", "-C", home.folder, *words])  # noqa: E731
    git("init", "--quiet")
    git("add", "--", *FILES, *PARTS)
    git("-c", "user.name=a", "-c", "user.email=a@invalid", "commit", "--quiet", "-m", "m")
    clone = tmp_path / "clone"
    run(["git", "clone", "--quiet", "-c", "core.autocrlf=true", home.folder, clone])
    for path in (path for part in PARTS for path in (clone / part).rglob("*") if path.is_file()):
        assert path.read_bytes() == (home.folder / path.relative_to(clone)).read_bytes()


@pytest.mark.parametrize("name", ODD)
def test_any_folder_will_do(name: str, street: Street, tmp_path: Path) -> None:
    home = street.another(tmp_path / name)
    assert home.released() == street.wheels
    assert home.call("repack", "1.8.9", "--no-cache", "--out=-wheels")
    assert home.call("audit", str(home.folder / "index"), "./-wheels")


SUITE = """
import json
import pytest

def pytest_addoption(parser):
    parser.addoption("--race-report")
    parser.addoption("--tier")

def pytest_sessionfinish(session, exitstatus):
    said = {"exitstatus": int(exitstatus), "tests": [item.nodeid for item in session.items]}
    with open(session.config.option.race_report, "w") as file:
        json.dump(said, file)
"""
PROGRAM = """
import argparse, pathlib, sys
sys.path.insert(0, sys.argv[1])
import explore
report = pathlib.Path(sys.argv[2])
explore._test(argparse.Namespace(tests=report, tier="quick", plant=False))
"""


@pytest.mark.parametrize("name", ODD)
def test_pytest_finds_the_suite_in_any_folder(name: str, tmp_path: Path) -> None:
    suite = tmp_path / name
    suite.mkdir(parents=True)
    for file in ("explore.py", "pytest.ini"):
        shutil.copy(REPOSITORY / "tests/race" / file, suite)
    (suite / "conftest.py").write_text(SUITE, "utf-8")
    (suite / "test_one.py").write_text("def test_a() -> None:\n    pass\n", "utf-8")
    report = tmp_path / "report.json"
    words = [sys.executable, "-P", "-c", PROGRAM, str(suite), str(report)]
    done = run(words, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(report.read_text("utf-8")) == {
        "exitstatus": 0,
        "tests": ["test_one.py::test_a"],
    }
