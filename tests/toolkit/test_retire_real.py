"""A release in which upstream has taken the series, with the real wheels, suite and explorer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from planting import plant
from simple_index import Index

import release as release_verb
import retire as verb
from toolkit.environments.interpreter import uv
from toolkit.patches.series import Series
from toolkit.proof.store import VerdictStore
from toolkit.proof.unpatched import remember, remembered
from toolkit.proof.verdict import Verdict
from toolkit.releases.official import Settings
from toolkit.releases.release import Release
from toolkit.util.errors import NotFixed, NotProved
from toolkit.util.files import sha256_of
from toolkit.util.workspace import CACHE_VARIABLE, REPOSITORY, Workspace

pytestmark = pytest.mark.pypi
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


def test_upstream_takes_the_series(
    index: Index,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pytestconfig: pytest.Config,
) -> None:
    # the index has no other release
    ignored = shutil.ignore_patterns("releases.toml")
    shutil.copytree(REPOSITORY / "patches", workspace.patches, ignore=ignored)
    series = Series.load(workspace.patches)
    official = Settings(workspace).fetch("1.8.9")
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    places = ["--pypi", index.url, "--patches", str(workspace.patches)]
    places += ["--index", str(tmp_path / "index"), "--json"]
    for path, artefact in zip(official.paths, official.release.artefacts, strict=True):
        index.add(path, artefact.upload_time)
    full = pytestconfig.option.full
    users = [User(tool, tmp_path, index.url).begin() for tool in ("pip", "uv")] if full else []
    if full:
        release_verb.main(["1.8.9", *places])
        assert [user.upgrade("livekit-dispatched==1.8.9.1") for user in users] == [PATCHED] * 2
        capsys.readouterr()

    planted = plant(official, series, "1.8.10", tmp_path / "planted")
    for path in planted:
        index.add(path, datetime(2026, 11, 1, tzinfo=UTC))
    release_verb.main(["1.8.10", "--refresh", str(tmp_path / "refresh"), *places])
    said = capsys.readouterr()
    (row,) = json.loads(said.out)
    assert (row["verdict"], row["exit_code"]) == ("fixed", NotProved.exit_code), said.err
    assert not (tmp_path / "refresh").exists()
    assert verb.main(["--yes", *places]) == NotFixed.exit_code

    release = Settings(workspace, pypi=index.url).fetch("1.8.10").release
    if not full:
        judge_as_full(workspace, release, planted)
        (tmp_path / "index").mkdir()
        (tmp_path / "index" / "index.jsonl").touch()
    capsys.readouterr()
    assert verb.main(["--yes", "--prove", *places]) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["new"][1:] == [
        "livekit_dispatched-1.8.10.0-py3-none-any.whl",
        "livekit_plugins_openai-1.8.10-py3-none-any.whl",
    ]
    assert [user.upgrade("livekit-dispatched") for user in users] == [FIXED] * len(users)


def judge_as_full(workspace: Workspace, release: Release, planted: Sequence[Path]) -> None:
    """Without --full, what the tier quick found is judged as if it were the full one's."""
    outcomes = VerdictStore.open(workspace.outcomes)
    verdict = remembered(outcomes, release, "quick")
    assert verdict is not None
    assert verdict.wheels == {path.name: sha256_of(path) for path in planted}
    ran = verdict.exploration
    assert ran is not None
    sides = [replace(side, unreduced=1) for side in (ran.official, ran.patched)]
    ran = replace(ran, tier="full", official=sides[0], patched=sides[1])
    reason = verdict.reason.replace("tier quick", "tier full")
    verdict = Verdict.parse(replace(verdict, exploration=ran, reason=reason).to_json())
    remember(outcomes, release, verdict)


@dataclass(frozen=True)
class User:
    """pip or uv, with our index, the one that has the planted release, and PyPI for the rest."""

    tool: str
    root: Path
    public: str

    @property
    def python(self) -> Path:
        return self.root / self.tool / "bin" / "python"

    def begin(self) -> User:
        self.run(uv(), "venv", "-q", "--python", sys.executable, str(self.root / self.tool))
        return self

    def upgrade(self, requirement: str) -> dict[str, str]:
        """What is installed then of the projects that matter here."""
        words = ["install", "-q", "--upgrade", requirement]
        ours = f"{(self.root / 'index').as_uri()}/simple/"
        if self.tool == "pip":
            pip = (sys.executable, "-m", "pip", "--python", str(self.python), "--isolated")
            self.run(*pip, *words, "--extra-index-url", ours, "--extra-index-url", self.public)
        else:
            indexes = ("--index", ours, "--index", self.public)
            self.run(uv(), "pip", *words, "--no-config", "--python", str(self.python), *indexes)
        listed = self.run(uv(), "pip", "list", "--format", "json", "--python", str(self.python))
        found = {row["name"]: row["version"] for row in json.loads(listed)}
        return {name: found[name] for name in FIXED}

    def run(self, *words: str) -> str:
        foreign = ("PYTHON", "VIRTUAL_ENV", "UV_PROJECT")  # nox names its own environment
        env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, cwd=self.root, env=env
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
