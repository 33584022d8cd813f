"""Publishing to the real devpi and the real pypiserver, on loopback, and installing from them."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from indexes import make_index, pair_bundle
from verbs import RunVerb
from wheels import AGENTS, PLUGIN

from toolkit.environments.interpreter import uv
from toolkit.index.ledger import Ledger
from toolkit.index.metapackage import PROJECT
from toolkit.util.errors import IndexConflict, UploadRefused

pytestmark = pytest.mark.pypi

# Each with what it needs, in an environment of its own; pinned as in constraints.txt.
SERVERS = {"devpi": "devpi-server==6.20.3", "pypiserver": "pypiserver==2.4.2"}
USER = "root"  # devpi makes it
PASSWORD = "s3cret-word"  # noqa: S105


@pytest.fixture(scope="module", params=sorted(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Where a real server takes uploads of USER."""
    folder = tmp_path_factory.mktemp(request.param)
    subprocess.run([uv(), "venv", "--quiet", str(folder / "env")], check=True)
    python = folder / "env" / "bin" / "python"
    install = [uv(), "pip", "install", "--quiet", "--python", str(python), SERVERS[request.param]]
    subprocess.run(install, check=True)
    serve: Callable[[Path], Any] = {"devpi": devpi, "pypiserver": pypiserver}[request.param]
    with serve(folder) as url:
        yield url


@contextmanager
def devpi(folder: Path) -> Iterator[str]:
    """A devpi with one index that cannot be overwritten, and without a mirror of anything."""
    programs, data = folder / "env" / "bin", str(folder / "data")
    words = ["--serverdir", data, "--no-root-pypi", "--root-passwd", PASSWORD]
    subprocess.run([str(programs / "devpi-init"), *words], check=True, capture_output=True)
    port = free_port()
    words = ["--serverdir", data, "--host", "127.0.0.1", "--port", str(port)]
    with started([str(programs / "devpi-server"), *words], port, folder / "log"):
        url = f"http://127.0.0.1:{port}"
        login = call("POST", f"{url}/+login", {"user": USER, "password": PASSWORD}, "")
        token = f"{USER}:{login['result']['password']}"
        stage = {"type": "stage", "bases": [], "volatile": False}
        index = f"{url}/{USER}/fixed"
        call("PUT", index, stage, token)
        yield f"{index}/"


@contextmanager
def pypiserver(folder: Path) -> Iterator[str]:
    """A pypiserver; it cannot check passwords without a further package, and asks for none."""
    (folder / "data").mkdir()
    port = free_port()
    words = ["run", "-i", "127.0.0.1", "-p", str(port), "-P", ".", "-a", ".", "--server", "wsgiref"]
    program = folder / "env" / "bin" / "pypi-server"
    words += ["--disable-fallback", str(folder / "data")]
    with started([str(program), *words], port, folder / "log"):
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def started(command: list[str], port: int, log: Path) -> Iterator[None]:
    """A server, from when it listens on its port."""
    with log.open("wb") as file:
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert child.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.05)
        yield
    finally:
        child.terminate()
        child.wait()


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def call(method: str, url: str, document: object, token: str) -> Any:
    """What devpi answers to JSON."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["X-Devpi-Auth"] = base64.b64encode(token.encode()).decode()
    data = json.dumps(document).encode()
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return json.load(answer)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("toolkit.index.mirror.PAUSES", ())
    for name in [name for name in os.environ if name.startswith(("UV_PUBLISH", "TWINE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TWINE_USERNAME", USER)
    monkeypatch.setenv("TWINE_PASSWORD", PASSWORD)
    bundles = [pair_bundle(tmp_path / "wheels", release) for release in ("1.0.0", "1.0.1")]
    return make_index(tmp_path / "index", *bundles)


def test_a_real_server_takes_all_and_gives_it_to_pip_and_uv(
    server: str, index: Path, tmp_path: Path, run_verb: RunVerb
) -> None:
    words = ["publish", "--index", index, "--to", server, "--json"]
    foretold = run_verb(*words, "--dry-run").json["server"]
    assert (foretold["uploaded"], foretold["known"]) == ([*Ledger.read(index).files], [])
    assert run_verb(*words).json["server"] == foretold
    again = run_verb(*words).json["server"]
    assert (again["uploaded"], again["known"]) == ([], foretold["uploaded"])
    for tool in ("pip", "uv"):
        python = tmp_path / tool / "bin" / "python"
        seed = ["--seed"] if tool == "pip" else []
        subprocess.run([uv(), "venv", "--quiet", *seed, str(tmp_path / tool)], check=True)
        if tool == "pip":
            install = [str(python), "-m", "pip", "--isolated", "install", "--no-cache-dir", "-q"]
        else:
            install = [uv(), "pip", "install", "--quiet", "--no-config", "--python", str(python)]
            install += ["--cache-dir", str(tmp_path / "cache")]
        install += ["--index-url", foretold["simple"], PROJECT]
        subprocess.run(install, check=True, stdin=subprocess.DEVNULL)
        freeze = [uv(), "pip", "list", "--format", "json", "--python", str(python)]
        listed = json.loads(subprocess.run(freeze, check=True, capture_output=True).stdout)
        versions = {row["name"]: row["version"] for row in listed}
        pair = dict.fromkeys((AGENTS, PLUGIN), "1.0.1+dispatched.1")
        assert {**pair, PROJECT: "1.0.1.1"}.items() <= versions.items()


def test_a_real_server_that_has_other_bytes(
    server: str, index: Path, tmp_path: Path, run_verb: RunVerb
) -> None:
    assert run_verb("publish", "--index", index, "--to", server).code == 0
    others = make_index(tmp_path / "others", pair_bundle(tmp_path / "w", "1.0.1", "others"))
    result = run_verb("publish", "--index", others, "--to", server)
    assert result.code == IndexConflict.exit_code
    assert run_verb("publish", "--index", index, "--to", server).code == 0


@pytest.mark.parametrize("server", ["devpi"], indirect=True)
def test_a_real_server_whose_password_is_another(
    server: str,
    index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_verb: RunVerb,
) -> None:
    monkeypatch.setenv("TWINE_PASSWORD", "wrong")
    more = make_index(tmp_path / "more", pair_bundle(tmp_path / "w", "1.0.2"))
    assert run_verb("publish", "--index", more, "--to", server).code == UploadRefused.exit_code
