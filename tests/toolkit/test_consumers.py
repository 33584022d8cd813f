"""The real pip and the real uv install from the index, by its folder and over loopback HTTP."""

from __future__ import annotations

import http.server
import json
import os
import shlex
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from indexes import publish_wheels
from publishing import make_pair, make_wheel, proof_of

from toolkit.environments.interpreter import uv
from toolkit.index.metapackage import make_metapackage
from toolkit.index.publish import consume_lines

pytestmark = pytest.mark.pypi

VERSIONS = {"livekit-agents": "1.8.9+dispatched.1", "livekit-plugins-openai": "1.8.9"}
SAY = """
import json
from importlib.metadata import version, distributions
names = {d.name.lower() for d in distributions()}
print(json.dumps({n: version(n) for n in ("livekit-agents", "livekit-plugins-openai", "iniconfig")
                  if n in names}))
"""


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    """Wheels named as the real ones, of which one needs something that only PyPI has."""
    agents, partner = "livekit-agents", "livekit-plugins-openai"
    return [
        make_wheel(
            tmp_path / "w", agents, "1.8.9+dispatched.1", {"livekit/agents/__init__.py": "P = 1"}
        ),
        make_wheel(
            tmp_path / "w",
            partner,
            "1.8.9",
            {"livekit/plugins/openai/__init__.py": "P = 1"},
            requires=["livekit-agents>=1.8.9", "iniconfig"],
        ),
    ]


@pytest.fixture
def index(tmp_path: Path, wheels: list[Path]) -> Path:
    folder = tmp_path / "an index"
    companion = make_metapackage(wheels, release="1.8.9", revision=1, series="5e" * 32)
    publish_wheels(wheels, proof_of(wheels), folder, generated=[companion])
    return folder


@pytest.fixture
def served(index: Path) -> Iterator[tuple[str, list[str]]]:
    """The index behind a plain static web server: its URL, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(index))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/simple/", asked
        server.shutdown()
        thread.join()


class Consumer:
    """A clean environment, and one of the two installers at work in it."""

    def __init__(self, tool: str, folder: Path) -> None:
        self.tool = tool
        self.folder = folder
        self.python = folder / "venv" / "bin" / "python"
        seed = ["--seed"] if tool == "pip" else []
        self._run([uv(), "venv", "--quiet", *seed, str(folder / "venv")])

    def install(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run the line as a user would, in this environment."""
        words = shlex.split(line)
        if self.tool == "pip":
            words = [str(self.python), "-m", "pip", "--no-cache-dir", *words[1:]]
        else:
            words = [uv(), *words[1:], "--python", str(self.python)]
        return self._run(words, check=False)

    def versions(self) -> dict[str, str]:
        """What is installed of the two projects and of what PyPI alone has."""
        found: dict[str, str] = json.loads(self._run([str(self.python), "-c", SAY]).stdout)
        return found

    def _run(self, words: list[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
        env["UV_CACHE_DIR"] = str(self.folder / "uv-cache")
        return subprocess.run(
            words, check=check, capture_output=True, text=True, cwd=self.folder, env=env
        )


@pytest.fixture(params=["pip", "uv"])
def consumer(request: pytest.FixtureRequest, tmp_path: Path) -> Consumer:
    folder = tmp_path / "consumer"
    folder.mkdir()
    return Consumer(request.param, folder)


def line_of(consumer: Consumer, index: Path, wheels: list[Path], url: str = "") -> str:
    lines = consume_lines(index, proof_of(wheels))
    line: str = getattr(lines, consumer.tool)
    own = f"{index.as_uri()}/"
    assert f"{own}simple/" in line
    return line.replace(own, url.removesuffix("simple/")) if url else line


def test_from_the_folder(consumer: Consumer, index: Path, wheels: list[Path]) -> None:
    done = consumer.install(line_of(consumer, index, wheels))
    assert done.returncode == 0, done.stderr
    versions = consumer.versions()
    assert versions.pop("iniconfig")
    assert versions == VERSIONS


def test_over_http(
    consumer: Consumer, index: Path, wheels: list[Path], served: tuple[str, list[str]]
) -> None:
    url, asked = served
    done = consumer.install(line_of(consumer, index, wheels, url))
    assert done.returncode == 0, done.stderr
    versions = consumer.versions()
    assert versions.pop("iniconfig")
    assert versions == VERSIONS
    agents = "/files/livekit_agents-1.8.9%2Bdispatched.1-py3-none-any.whl"
    assert f"{agents}.metadata" in asked
    assert agents in asked


def test_an_unpatched_installation_is_replaced(
    consumer: Consumer, index: Path, wheels: list[Path], tmp_path: Path
) -> None:
    official = make_pair(tmp_path / "official")
    done = consumer.install(
        f"{consumer.tool} {'pip ' * (consumer.tool == 'uv')}install {shlex.quote(str(official[0]))}"
    )
    assert done.returncode == 0, done.stderr
    assert consumer.versions() == {"livekit-agents": "1.8.9"}
    done = consumer.install(line_of(consumer, index, wheels))
    assert done.returncode == 0, done.stderr
    assert consumer.versions()["livekit-agents"] == "1.8.9+dispatched.1"


def test_a_damaged_file_is_not_installed(
    consumer: Consumer,
    index: Path,
    wheels: list[Path],
    served: tuple[str, list[str]],
    tmp_path: Path,
) -> None:
    name = wheels[0].name
    other = make_wheel(tmp_path / "o", "livekit-agents", "1.8.9+dispatched.1", {"a.py": ""})
    (index / "files" / name).write_bytes(other.read_bytes())
    done = consumer.install(line_of(consumer, index, wheels, served[0]))
    assert done.returncode != 0
    assert "hash" in done.stderr.lower()
    assert consumer.versions() == {}


def test_pins_fail_loudly_without_the_index(consumer: Consumer, wheels: list[Path]) -> None:
    empty = consumer.folder / "nothing"
    (empty / "simple").mkdir(parents=True)
    done = consumer.install(line_of(consumer, empty, wheels))
    assert done.returncode != 0
    assert consumer.versions() == {}
