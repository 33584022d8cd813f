"""Fixtures that several tests of the toolkit share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from market import Market, open_market
from mutations import OUTCOMES
from publishing import UPLOADED, make_pair, make_runner, make_suite
from rebase_world import RebaseWorld
from simple_index import Index, serving
from upstream_index import Upstream
from verbs import RunVerb, runner

from toolkit.cli import REPOSITORY_VARIABLE
from toolkit.environments.pair import WheelPair
from toolkit.proof import prove
from toolkit.proof.settings import ProofSettings
from toolkit.proof.verdict import Verdict
from toolkit.releases.pypi import ENDPOINT_VARIABLE
from toolkit.util import http
from toolkit.util.workspace import CACHE_VARIABLE, Workspace


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="the tier full too: half an hour more")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker is left alone with one."""
    items.sort(key=lambda item: item.get_closest_marker("pypi") is None)


@pytest.fixture
def run_verb(capsys: pytest.CaptureFixture[str]) -> RunVerb:
    """Run a verb: ``run_verb("publish", "--index", index)`` gives code, out, err and json."""
    return runner(capsys)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty cache, and a ``patches`` folder that does not exist yet."""
    return Workspace(tmp_path / "cache", tmp_path / "patches")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An empty index on loopback; a second attempt at it does not wait."""
    monkeypatch.setattr(http, "BACKOFF", 0)
    with serving(Index()) as served:
        yield served


@pytest.fixture
def upstream(
    index: Index,
    workspace: Workspace,
    tmp_path: Path,
    run_verb: RunVerb,
    monkeypatch: pytest.MonkeyPatch,
) -> Upstream:
    """An index that verbs ask without being told, the workspace they use, and an empty series."""
    monkeypatch.setenv(ENDPOINT_VARIABLE, index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    workspace.patches.mkdir()
    return Upstream(index, workspace, tmp_path, run_verb)


@pytest.fixture
def world(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> RebaseWorld:
    """Upstream's releases, a series that is rebased onto them, and no real proof."""
    world = RebaseWorld(**vars(upstream), monkeypatch=monkeypatch)
    world.prove_as("publish")
    return world


@pytest.fixture(autouse=True, scope="session")
def upstream_is_not_asked() -> None:
    """Only a test that names a repository of its own runs upstream's tests."""
    os.environ[REPOSITORY_VARIABLE] = "no"


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard() -> None:
    """A shell starts background jobs with SIGINT ignored, and every child inherits that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def some_read_some_rejected() -> Iterator[None]:
    """Fail a test whose seeds no reader reads any more, or whose damage does none."""
    OUTCOMES.clear()
    yield
    assert OUTCOMES["read"]
    assert OUTCOMES["rejected"]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels and environments for all tests: an environment is made once for the same wheels."""
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="session")
def official(shop: Path) -> list[Path]:
    return make_pair(shop / "official")


@pytest.fixture(scope="session")
def patched(shop: Path, official: list[Path]) -> list[Path]:
    return [make_pair(shop / "patched", "+dispatched.3")[0], official[1]]


@pytest.fixture(scope="session")
def open_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("market")) as market:
        yield market


@pytest.fixture
def market(open_for_all: Market, tmp_path: Path) -> Market:
    """A published release with an index of its own, and an auditor's warm cache."""
    return open_for_all.copied(tmp_path)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def proved(
    shop: Path,
    tmp_path: Path,
    official: list[Path],
    patched: list[Path],
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Verdict]:
    monkeypatch.setenv("UV_OFFLINE", "1")
    make_suite(tmp_path / "suite")
    workspace = Workspace(tmp_path, tmp_path / "patches")
    shared = shop / "envs"
    shared.mkdir(exist_ok=True)
    workspace.environments.symlink_to(shared)
    pair = WheelPair(tuple(official), tuple(patched), "1.8.9", UPLOADED, series="5e" * 32)
    settings = ProofSettings(
        workspace,
        race_suite=tmp_path / "suite",
        extra=(make_runner(shop / "runner"),),
        optional=(),
        timeout=60.0,
    )

    def call(**changes: Any) -> Verdict:
        """Prove; ``changes`` are fields of the pair and of the settings, ``watch``, ``picture``."""
        fields = {**changes}
        sides = {n: fields.pop(n) for n in [*fields] if n in WheelPair.__dataclass_fields__}
        sides |= {n: tuple(v) for n, v in sides.items() if isinstance(v, list)}
        more = {n: fields.pop(n) for n in ("watch", "picture", "tell") if n in fields}
        return prove.prove(
            replace(pair, **sides), replace(settings, **fields), **{"tell": said.append, **more}
        )

    return call
