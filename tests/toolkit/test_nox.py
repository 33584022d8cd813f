"""The real nox over the real noxfile: what a session prints on stdout is what its script prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from making import AGENTS, PLUGIN, Index, engine_patch, make_wheel, write_series
from standing_in import judged, replace_proof
from uv import find_uv_bin

import release as verb
from toolkit.util.workspace import CACHE_VARIABLE, REPOSITORY, Workspace

Nox = Callable[..., subprocess.CompletedProcess[str]]


def started(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m nox`` in the checkout."""
    line = [sys.executable, "-m", "nox", *map(str, words)]
    path = os.pathsep.join([str(Path(find_uv_bin()).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, **variables}
    return subprocess.run(
        line, check=False, capture_output=True, text=True, cwd=REPOSITORY, env=env, timeout=300
    )


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environments that nox takes for its own: one for all sessions, with this one's packages."""
    folder = tmp_path_factory.mktemp("nox")
    made = folder / "status"
    subprocess.run([find_uv_bin(), "venv", "-q", "--python", sys.executable, made], check=True)
    (site,) = made.glob("[Ll]ib/**/site-packages")
    (site / "ours.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    for session in ("matrix", "release", "update"):
        (folder / session).symlink_to(made, target_is_directory=True)
    return folder


@pytest.fixture
def nox(environments: Path) -> Nox:
    """Run a session of the real noxfile: its name, what goes to the script, and variables."""

    def call(session: str, *words: str | Path, **variables: str) -> Any:
        flags = ("--envdir", environments, "--reuse-venv=always", "--no-install")
        return started(*flags, "-s", session, "--", *words, **variables)

    return call


@pytest.mark.parametrize(
    ("words", "kind"),
    [(("matrix", "--jobs", "60"), dict), (("status", "--json", "--offline"), dict)],
)
def test_stdout_is_a_document(words: tuple[str, ...], kind: type, nox: Nox) -> None:
    done = nox(*words)
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), kind)
    # there is something that must not be mixed in
    assert "nox > " in done.stderr


def test_the_matrix_leaves_releases_out_on_stderr(nox: Nox) -> None:
    done = nox("matrix", "1.0.0", "1.8.9")
    assert done.returncode == 0, done.stderr
    assert "include" in json.loads(done.stdout)
    assert "1.0.0 is left out" in done.stderr


def test_a_good_release_beside_a_refused_one(
    nox: Nox, index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.8.9", "1.8.8"):
        for name in (AGENTS, PLUGIN):
            wheel = make_wheel(tmp_path / "w", name, version)
            index.add(wheel)
            if version == "1.8.8":
                index.yanked[wheel.name] = "stuck agents"
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    places = {CACHE_VARIABLE: str(workspace.root), "LIVEKIT_DISPATCHED_PYPI": index.url}
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    series = ("--patches", str(workspace.patches), "--index")
    # the proof has tests of its own: here its verdict is known already
    replace_proof(monkeypatch, judged("publish"))
    assert verb.main(["1.8.9", *series, str(tmp_path / "before")]) == 0
    done = nox("release", "1.8.9", "1.8.8", "--json", *series, tmp_path / "index", **places)
    assert done.returncode == 1
    assert "1 of 2 releases failed" in done.stderr
    rows = {row["release"]: row for row in json.loads(done.stdout)}
    assert rows["1.8.9"]["verdict"] == "publish"
    assert "stuck agents" in rows["1.8.8"]["error"]
    assert list((tmp_path / "index" / "files").glob("livekit_agents-1.8.9+dispatched.1-*.whl"))


def test_what_python_puts_on_its_path_does_not_matter(nox: Nox) -> None:
    done = nox("matrix", "1.8.9", PYTHONSAFEPATH="1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["include"]


def test_a_folder_that_cannot_be_on_path_gets_one_line(environments: Path, tmp_path: Path) -> None:
    (tmp_path / "x:y").symlink_to(environments, target_is_directory=True)
    flags = ("--envdir", tmp_path / "x:y", "--reuse-venv=always", "--no-install")
    done = started(*flags, "-s", "matrix")
    assert done.returncode == 1
    assert "clone elsewhere, or have the environments elsewhere" in done.stderr
    assert not done.stdout


def test_an_old_python_gets_one_line() -> None:
    younger = "import sys; from nox import main; sys.version_info = (3, 10); main()"
    done = subprocess.run(
        [sys.executable, "-c", younger, "-s", "matrix"],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 21, done.stderr
    problem, step = done.stderr.splitlines()
    assert "needs Python 3.11 or newer, and this is 3.10" in problem
    assert step.startswith("  next: ")


@pytest.mark.pypi
def test_the_installer_is_not_heard_on_stdout(tmp_path: Path) -> None:
    done = started("--verbose", "--envdir", tmp_path / "nox", "-s", "matrix")
    assert done.returncode == 0, done.stderr
    assert "include" in json.loads(done.stdout)
    assert "packaging==" in done.stderr


@pytest.mark.parametrize("words", [("update",), ("release", "new")])
def test_a_mirror_without_times_behind_a_password(
    words: tuple[str, ...], nox: Nox, index: Index, workspace: Workspace, tmp_path: Path
) -> None:
    for name in (AGENTS, PLUGIN):
        index.add(make_wheel(tmp_path / "w", name, "1.8.9"))
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    flags = ("--patches", workspace.patches, "--pypi")
    variables = {CACHE_VARIABLE: str(workspace.root), "LIVEKIT_DISPATCHED_VERBOSE": "1"}
    assert nox("update", *flags, index.url, **variables).returncode == 0
    before = workspace.catalogue.read_bytes()
    index.credentials = "ci-bot:s3cr3tTok"
    index.edit = lambda page: [file.pop("upload-time") for file in page["files"]]
    done = nox(*words, *flags, index.url.replace("://", "://ci-bot:s3cr3tTok@"), **variables)
    assert done.returncode != 0
    assert "tells no upload time (PEP 700) of 1 of 1 wheels" in done.stderr
    assert "http://***@127.0.0.1:" in done.stderr
    assert "s3cr3tTok" not in done.stdout + done.stderr
    assert workspace.catalogue.read_bytes() == before
