"""The real nox over the real noxfile: what a session prints on stdout is what its script prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from children import call
from standing_in import judged, replace_proof
from upstream_index import Upstream

from toolkit.environments.interpreter import uv
from toolkit.util.workspace import REPOSITORY

Nox = Callable[..., subprocess.CompletedProcess[str]]
# Sessions that these tests run, in one environment.
SESSIONS = ("status", "matrix", "release", "update")


def start(*args: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m nox`` in the checkout."""
    path = os.pathsep.join([str(Path(uv()).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, **variables}
    return call(sys.executable, "-m", "nox", *args, cwd=REPOSITORY, env=env, timeout=300)


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environments that nox takes for its own: one for all sessions, with this one's packages."""
    folder = tmp_path_factory.mktemp("nox")
    made = folder / SESSIONS[0]
    subprocess.run([uv(), "venv", "-q", "--python", sys.executable, made], check=True)
    (site,) = made.glob("[Ll]ib/**/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    for session in SESSIONS[1:]:
        (folder / session).symlink_to(made, target_is_directory=True)
    return folder


@pytest.fixture
def nox(environments: Path) -> Nox:
    """Run a session of the real noxfile: its name, what goes to the script, and variables."""

    def run(
        session: str, *args: object, envdir: Path = environments, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        options = ("--envdir", envdir, "--reuse-venv=always", "--no-install", "-s", session)
        return start(*options, "--", *args, **variables)

    return run


@pytest.mark.parametrize(
    ("args", "variables", "member", "message"),
    [
        (("matrix", "--jobs", "60"), {}, "include", "nox > "),
        (("status", "--json", "--offline"), {}, "releases", "nox > "),
        (("matrix", "1.0.0", "1.8.9"), {}, "include", "1.0.0 is left out"),
        (("matrix", "1.8.9"), {"PYTHONSAFEPATH": "1"}, "include", "nox > "),
    ],
)
def test_stdout_is_a_document(
    args: tuple[str, ...], variables: dict[str, str], member: str, message: str, nox: Nox
) -> None:
    result = nox(*args, **variables)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)[member]
    # there is something that must not be mixed in
    assert message in result.stderr


def test_a_good_release_beside_a_refused_one(
    nox: Nox, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.add_two_releases()
    yanked = [name for name in upstream.index.files if "1.8.8" in name]
    upstream.index.yanked |= dict.fromkeys(yanked, "stuck agents")
    # the proof has tests of its own: here its verdict is known already
    replace_proof(monkeypatch, judged("publish"))
    upstream.run("release", "1.8.9", "--index", tmp_path / "before")
    options = ("--json", "--patches", upstream.workspace.patches, "--index", tmp_path / "index")
    result = nox("release", "1.8.9", "1.8.8", *options)
    assert result.returncode == 1
    assert "1 of 2 releases failed" in result.stderr
    rows = {row["release"]: row for row in json.loads(result.stdout)}
    assert rows["1.8.9"]["verdict"] == "publish"
    assert "stuck agents" in rows["1.8.8"]["error"]
    assert list((tmp_path / "index" / "files").glob("livekit_agents-1.8.9+dispatched.1-*.whl"))


@pytest.mark.parametrize("args", [("update",), ("release", "new")])
def test_a_mirror_without_times_behind_a_password(
    args: tuple[str, ...], nox: Nox, upstream: Upstream
) -> None:
    upstream.add_two_releases()
    upstream.run("update")
    index, catalogue = upstream.index, upstream.workspace.catalogue
    before = catalogue.read_bytes()
    index.credentials = "ci-bot:s3cr3tTok"
    index.edit = lambda page: [file.pop("upload-time") for file in page["files"]]
    address = index.url.replace("://", f"://{index.credentials}@")
    options = ("--patches", upstream.workspace.patches, "--pypi", address)
    result = nox(*args, *options, LIVEKIT_DISPATCHED_VERBOSE="1")
    assert result.returncode != 0
    assert "tells no upload time (PEP 700) of 2 of 2 wheels" in result.stderr
    assert "http://***@127.0.0.1:" in result.stderr
    assert "s3cr3tTok" not in result.stdout + result.stderr
    assert catalogue.read_bytes() == before


def test_a_folder_that_cannot_be_on_path_gets_one_line(
    environments: Path, tmp_path: Path, nox: Nox
) -> None:
    (tmp_path / "x:y").symlink_to(environments, target_is_directory=True)
    result = nox("matrix", envdir=tmp_path / "x:y")
    assert result.returncode == 1
    assert "clone elsewhere, or have the environments elsewhere" in result.stderr
    assert not result.stdout


def test_an_old_python_gets_one_line() -> None:
    script = "import sys; from nox import main; sys.version_info = (3, 10); main()"
    result = call(sys.executable, "-c", script, "-s", "matrix", cwd=REPOSITORY)
    assert result.returncode == 21, result.stderr
    problem, step = result.stderr.splitlines()
    assert "needs Python 3.11 or newer, and this is 3.10" in problem
    assert step.startswith("  next: ")


@pytest.mark.pypi
def test_the_installer_is_not_heard_on_stdout(tmp_path: Path) -> None:
    result = start("--verbose", "--envdir", tmp_path / "nox", "-s", "matrix")
    assert result.returncode == 0, result.stderr
    assert "include" in json.loads(result.stdout)
    assert "packaging==" in result.stderr
