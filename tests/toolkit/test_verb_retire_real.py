"""A release in which upstream has taken the series, with the real wheels, suite and explorer."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clients import Client
from indexes import make_index
from planting import plant
from upstream_index import Upstream

from toolkit.patches.series import Series
from toolkit.proof.store import VerdictStore
from toolkit.proof.unpatched import cache_unpatched, cached_unpatched
from toolkit.proof.verdict import Verdict
from toolkit.releases.official import OfficialWheels, Settings
from toolkit.releases.release import Release
from toolkit.util.errors import NotFixed, NotProved
from toolkit.util.files import sha256_of
from toolkit.util.workspace import REPOSITORY, Workspace

pytestmark = [pytest.mark.pypi, pytest.mark.slow]
FIXED = {
    "livekit-agents": "1.8.10",
    "livekit-dispatched": "1.8.10.0",
    "livekit-plugins-openai": "1.8.10",
}
PATCHED = {
    "livekit-agents": "1.8.9+dispatched.1",
    "livekit-dispatched": "1.8.9.1",
    "livekit-plugins-openai": "1.8.9",
}


@pytest.fixture
def official(workspace: Workspace) -> OfficialWheels:
    """The real wheels, from where the machine has PyPI."""
    return Settings(workspace).fetch("1.8.9")


def test_upstream_takes_the_series(
    official: OfficialWheels, upstream: Upstream, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    # the index has no other release
    ignored = shutil.ignore_patterns("releases.toml")
    patches, public = upstream.workspace.patches, upstream.index
    shutil.copytree(REPOSITORY / "patches", patches, ignore=ignored, dirs_exist_ok=True)
    places = ["--index", tmp_path / "index", "--json"]
    for path, artefact in zip(official.paths, official.release.artefacts, strict=True):
        public.add(path, artefact.upload_time)
    full = pytestconfig.option.full
    indexes = (f"{(tmp_path / 'index').as_uri()}/simple/", public.url)
    clients = [Client(tool, tmp_path / tool, indexes) for tool in ("pip", "uv") if full]
    if full:
        upstream.run("release", "1.8.9", *places)
        for client in clients:
            installed = client.install("--upgrade", "livekit-dispatched==1.8.9.1")
            assert PATCHED.items() <= installed.items()
    planted = plant(official, Series.load(patches), "1.8.10", tmp_path / "planted")
    for path in planted:
        public.add(path, datetime(2026, 11, 1, tzinfo=UTC))
    words = ["1.8.10", "--refresh", tmp_path / "refresh", *places]
    result = upstream.run("release", *words, code=NotProved.exit_code)
    assert result.json[0]["verdict"] == "fixed", result.err
    assert not (tmp_path / "refresh").exists()
    upstream.run("retire", "--yes", *places, code=NotFixed.exit_code)
    if not full:
        release = Settings(upstream.workspace, pypi=public.url).fetch("1.8.10").release
        judge_as_full(upstream.workspace, release, planted)
        make_index(tmp_path / "index")
    assert upstream.run("retire", "--yes", "--prove", *places).json["new"][1:] == [
        "livekit_dispatched-1.8.10.0-py3-none-any.whl",
        "livekit_plugins_openai-1.8.10-py3-none-any.whl",
    ]
    for client in clients:
        assert FIXED.items() <= client.install("--upgrade", "livekit-dispatched").items()


def judge_as_full(workspace: Workspace, release: Release, planted: Sequence[Path]) -> None:
    """Without --full, what the tier quick found is judged as if it were the full one's."""
    store = VerdictStore.open(workspace.outcomes)
    verdict = cached_unpatched(store, release, "quick")
    assert verdict is not None
    assert verdict.wheels == {path.name: sha256_of(path) for path in planted}
    ran = verdict.exploration
    assert ran is not None
    official, patched = (replace(side, unreduced=1) for side in (ran.official, ran.patched))
    ran = replace(ran, tier="full", official=official, patched=patched)
    reason = verdict.reason.replace("tier quick", "tier full")
    verdict = Verdict.parse(replace(verdict, exploration=ran, reason=reason).to_json())
    cache_unpatched(store, release, verdict)
