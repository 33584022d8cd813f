"""The same series from any checkout: however its lines end, and whatever its folder is called."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from children import ODD_NAMES, call
from packaging.version import Version
from series import engine_patch, write_series
from simple_index import Index, serving
from standing_in import publishes, replace_proof
from wheels import AGENTS, PLUGIN, make_official

import release
from toolkit.patches.series import Series
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.pypi import ENDPOINT_VARIABLE
from toolkit.util.files import sha256_of, tree_digest
from toolkit.util.process import run
from toolkit.util.workspace import CACHE_VARIABLE, REPOSITORY

PARTS = ("scripts", "tests/race", "patches")
FILES = (".gitattributes", "LICENSE", "pyproject.toml")


@dataclass(frozen=True)
class Home:
    """A checkout's folder, in which the cache and the index are too."""

    folder: Path
    pypi: str
    published: tuple[tuple[str, str], ...] = ()

    def call(self, script: str, *args: str) -> str:
        """What a verb of this checkout prints."""
        env = {CACHE_VARIABLE: str(self.folder / "cache"), ENDPOINT_VARIABLE: self.pypi}
        args = (sys.executable, f"scripts/{script}.py", *args)
        result = call(*args, cwd=self.folder, env={**os.environ, **env})
        assert result.returncode == 0, result.stderr
        return result.stdout

    def release(self) -> tuple[tuple[str, str], ...]:
        """Release 1.8.9 into ./index: the name of each wheel there, and its sha256."""
        (row,) = json.loads(self.call("release", "1.8.9", "--index=index", "--json"))
        assert row["verdict"] == "publish"
        wheels = sorted((self.folder / "index").rglob("*.whl"))
        return tuple((path.name, sha256_of(path)) for path in wheels)

    def copied(self, folder: Path) -> Home:
        """A copy that shares what is known, and so the verdict; what it publishes is the same."""

        def ignored(path: str, _: object) -> set[str]:
            return {"index"} if Path(path) == self.folder else set()

        shutil.copytree(self.folder, folder, ignore=ignored)
        (folder / "patches" / "releases.toml").unlink()
        return Home(folder, self.pypi, self.published)

    def require_same(self) -> None:
        """Release, repack and audit; nothing differs from the first checkout."""
        assert self.release() == self.published
        self.call("repack", "1.8.9", "--no-cache", "--out=-wheels")
        assert self.call("audit", str(self.folder / "index"), "./-wheels")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A checkout that released 1.8.9."""
    folder = tmp_path_factory.mktemp("checkouts") / "first"
    for part in PARTS[:2]:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / part, folder / part, ignore=ignored)
    for name in FILES:
        shutil.copy(REPOSITORY / name, folder)
    write_series(folder / "patches", {"guard": {"1.0": engine_patch(line9="first = 1")}})
    index = Index()
    for name in (AGENTS, PLUGIN):
        index.add(make_official(folder.with_name("w"), name, "1.8.9"))
    with serving(index), pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        patch.setenv(ENDPOINT_VARIABLE, index.url)
        replace_proof(patch, publishes)
        places = ["--patches", str(folder / "patches"), "--index", str(folder.with_name("before"))]
        assert release.main(["1.8.9", *places]) == 0
        home = Home(folder, index.url)
        yield Home(folder, index.url, home.release())


def end_in_crlf(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("parts", [("patches",), PARTS], ids=["patches", "all"])
def test_crlf_gives_the_same_wheels_and_needs_no_new_proof(
    parts: tuple[str, ...], first: Home, tmp_path: Path
) -> None:
    home = first.copied(tmp_path / "dos")
    for part in parts:
        end_in_crlf(home.folder / part)
    if parts == PARTS:
        dos = (home.folder / "LICENSE").read_bytes().replace(b"\n", b"\r\n")
        (home.folder / "LICENSE").write_bytes(dos)
    home.require_same()
    assert not any(b"\r" in page.read_bytes() for page in (home.folder / "index").rglob("*.html"))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_folder_will_do(name: str, first: Home, tmp_path: Path) -> None:
    first.copied(tmp_path / name).require_same()


def test_crlf_changes_no_digest(tmp_path: Path) -> None:
    for part in PARTS:
        shutil.copytree(REPOSITORY / part, tmp_path / part)
        end_in_crlf(tmp_path / part)
    for part in PARTS[:2]:
        assert tree_digest(tmp_path / part) == tree_digest(REPOSITORY / part)
    unix, dos = (Series.load(folder / "patches") for folder in (REPOSITORY, tmp_path))
    published = Catalogue.read(tmp_path / "patches/releases.toml").rows()
    assert Version("1.8.9") in published
    names = [[v.path.name for v in s.variants_for(Version("1.8.9"))] for s in (unix, dos)]
    assert names[0]
    assert names[0] == names[1]
    assert [unix.digest(release) for release in published] == [*map(dos.digest, published)]


def test_git_ends_no_line_in_crlf(first: Home, tmp_path: Path) -> None:
    home, clone = first.copied(tmp_path / "home"), tmp_path / "clone"
    git = ("git", "-C", home.folder, "-c", "user.name=a", "-c", "user.email=a@invalid")
    for args in (("init", "--quiet"), ("add", "--", *FILES, *PARTS), ("commit", "-qm", "m")):
        run([*git, *args])
    run(["git", "clone", "--quiet", "-c", "core.autocrlf=true", home.folder, clone])
    for path in (path for part in PARTS for path in (clone / part).rglob("*") if path.is_file()):
        assert path.read_bytes() == (home.folder / path.relative_to(clone)).read_bytes()
