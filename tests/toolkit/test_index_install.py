"""The lines that publish.py prints, pasted to the real pip and the real uv."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from clients import Client
from indexes import SERIES, publish_wheels
from publishing import make_pair, proof_of
from wheels import AGENTS, PLUGIN, make_wheel
from worlds import static

from toolkit.index.metapackage import PROJECT, make_metapackage
from toolkit.index.publish import consume_lines
from toolkit.proof.verdict import Proof

pytestmark = pytest.mark.pypi

# What only PyPI has is installed too.
VERSIONS = {AGENTS: "1.8.9+dispatched.1", PLUGIN: "1.8.9", PROJECT: "1.8.9.1"}


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    """Wheels named as the real ones, of which one needs something that only PyPI has."""
    agents = make_pair(tmp_path / "w", "+dispatched.1")[0]
    needs = [f"{AGENTS}>=1.8.9", "iniconfig"]
    module = {"livekit/plugins/openai/__init__.py": "P = 1"}
    return [agents, make_wheel(tmp_path / "w", PLUGIN, "1.8.9", module, requires=needs)]


@pytest.fixture
def index(tmp_path: Path, wheels: list[Path]) -> Path:
    made = make_metapackage(wheels, release="1.8.9", revision=1, series=SERIES)
    publish_wheels(wheels, proof_of(wheels), tmp_path / "an index", generated=[made])
    return tmp_path / "an index"


@pytest.fixture(params=["pip", "uv"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    return Client(request.param, tmp_path / "client")


def pasted(client: Client, index: Path, wheels: list[Path], url: str | None = None) -> bool:
    """Whether the printed line does its work."""
    words = shlex.split(getattr(consume_lines(index, Proof.of(proof_of(wheels)), url), client.tool))
    done = client.pip(*words[1 if client.tool == "pip" else 2 :])
    assert done.returncode == 0 or "hash" in done.stderr.lower() or not (index / "files").exists()
    return done.returncode == 0


@pytest.mark.parametrize("served", [False, True], ids=["folder", "http"])
def test_a_line_installs_the_pair(
    served: bool, client: Client, index: Path, wheels: list[Path], tmp_path: Path
) -> None:
    """Also where the official wheels are installed; a server is asked for metadata first."""
    official = make_pair(tmp_path / "official")[0]
    assert client.install(str(official)) == {AGENTS: "1.8.9"}
    if served:
        asked: list[str] = []
        with static(index, "html", asked) as url:
            assert pasted(client, index, wheels, url)
        wheel = "/files/livekit_agents-1.8.9%2Bdispatched.1-py3-none-any.whl"
        assert asked.index(f"{wheel}.metadata") < asked.index(wheel)
    else:
        assert pasted(client, index, wheels)
    versions = client.versions()
    assert versions.pop("iniconfig")
    assert versions == VERSIONS


def test_a_damaged_file_is_not_installed(
    client: Client, index: Path, wheels: list[Path], tmp_path: Path
) -> None:
    other = make_wheel(tmp_path / "o", AGENTS, "1.8.9+dispatched.1", {"a.py": ""})
    (index / "files" / wheels[0].name).write_bytes(other.read_bytes())
    with static(index, "html") as url:
        assert not pasted(client, index, wheels, url)
    assert client.versions() == {}


def test_pins_fail_loudly_without_the_index(
    client: Client, wheels: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "nothing" / "simple").mkdir(parents=True)
    assert not pasted(client, tmp_path / "nothing", wheels)
    assert client.versions() == {}
