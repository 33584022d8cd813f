"""``audit.py`` on environments: every installed file is held against a wheel made anew."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from making import AGENTS, ENGINE, engine_patch, make_wheel
from market import GOOD, Market, install, make_environment, statuses

import audit as verb


@pytest.fixture
def site(market: Market, tmp_path: Path) -> Path:
    """Where the published release is installed, each file a copy of its own."""
    wheels = [market.files / name for name in GOOD]
    environment = make_environment(tmp_path / "env", *wheels)
    return next(environment.glob("lib/python*/site-packages"))


INSTALLED = {
    "livekit-agents 1.8.9+dispatched.1": "ours",
    "livekit-dispatched 1.8.9.1": "ours",
    "livekit-plugins-openai 1.8.9": "official",
}


def test_an_environment(market: Market, site: Path) -> None:
    environment = site.parents[2]
    subprocess.run([environment / "bin/python", "-m", "compileall", "-q", site], check=True)
    for target in (environment, environment / "bin/python", site):
        assert statuses(market.audit(target, code=0)) == INSTALLED


def test_an_environment_that_pip_made(market: Market, tmp_path: Path) -> None:
    """pip writes RECORD in another order and form."""
    target = tmp_path / "target"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    wheels = [str(market.files / name) for name in GOOD]
    subprocess.run([*command, "--target", str(target), *wheels], check=True)
    assert statuses(market.audit(target, code=0)) == INSTALLED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: (s / ENGINE).write_text("edited"), f"{ENGINE} was altered"),
        (lambda s: (s / ENGINE).unlink(), f"{ENGINE} is missing"),
        (
            lambda s: (s / "livekit/agents/sitting.py").write_text(""),
            "livekit/agents/sitting.py is in no wheel",
        ),
        (
            lambda s: next(s.glob("livekit_agents-*/RECORD")).write_text(""),
            f"RECORD's row of {ENGINE} is not the wheel's",
        ),
    ],
    ids=["edited", "missing", "extra", "record"],
)
def test_an_environment_that_was_changed(
    market: Market, site: Path, change: Callable[[Path], object], said: str
) -> None:
    change(site)
    found = {f["where"]: f for f in market.audit(site, code=25)}
    assert statuses(list(found.values())) == INSTALLED | {
        "livekit-agents 1.8.9+dispatched.1": "differs"
    }
    assert said in found["livekit-agents 1.8.9+dispatched.1"]["details"]


def test_an_environment_of_another_series(market: Market, site: Path) -> None:
    """Its companion says which series; the checkout's is another by now."""
    path = market.workspace.patches / "guard/1.0.patch"
    path.write_text(engine_patch(line9="second = 2"))
    found = {f["where"]: f for f in market.audit(site, code=25)}
    agents = found["livekit-agents 1.8.9+dispatched.1"]
    assert (agents["status"], found["livekit-dispatched 1.8.9.1"]["status"]) == ("moved", "moved")
    assert f"git log -S {market.made.series_digest}" in agents["next_step"]
    assert found["livekit-plugins-openai 1.8.9"]["status"] == "official"


def test_an_environment_with_nothing_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = make_environment(
        tmp_path / "bare", make_wheel(tmp_path, "other", "1.0", members={})
    )
    assert verb.main([str(environment)]) == 25
    assert "has none of" in capsys.readouterr().err


def test_an_environment_of_a_version_that_nobody_has(
    market: Market, site: Path, tmp_path: Path
) -> None:
    install(site.parents[2], make_wheel(tmp_path / "x", AGENTS, "9.9.9"))
    assert statuses(market.audit(site, code=25))["livekit-agents 9.9.9"] == "unknown"
