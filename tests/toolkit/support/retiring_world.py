"""A published series, an official release that lost the fault, and clients of both, on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from market import proof_that
from publishing import LOSS, MOMENT, UPLOADED, explored, findings, outcome, probe, run_of
from series import engine_patch, write_series
from simple_index import Index
from wheels import AGENTS, PLUGIN, make_official, members_of

import retire as verb
from toolkit.environments.interpreter import uv
from toolkit.index.bundle import make_bundle
from toolkit.index.publish import publish_all
from toolkit.patches.series import Series
from toolkit.proof.exploration import Explored
from toolkit.proof.store import VerdictStore
from toolkit.proof.unpatched import FULL, remember
from toolkit.proof.verdict import Subject, Verdict
from toolkit.releases.official import OfficialWheels, Settings
from toolkit.releases.repack import repack_release
from toolkit.util.files import sha256_of
from toolkit.util.workspace import Workspace

COMPANION = "livekit-dispatched"
RELEASES = ("1.8.8", "1.8.9")
FIXED = "1.8.10"
BEFORE, LATER = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
PROJECTS = (AGENTS, COMPANION, PLUGIN)


@dataclass(frozen=True)
class World:
    """``public`` has all official wheels, ``index`` (a folder) the patched ones of RELEASES."""

    workspace: Workspace
    public: Index
    index: Path
    wheels: Path

    @property
    def places(self) -> list[str]:
        return ["--pypi", self.public.url, "--patches", str(self.workspace.patches)]

    def retire(self, *words: str) -> int:
        return verb.main([*words, "--index", str(self.index), *self.places, "--json"])

    def release(self, version: str, *, loses: bool, when: datetime = BEFORE) -> None:
        """Upstream releases a version."""
        for name in (AGENTS, PLUGIN):
            members = members_of(name, version)
            if name == AGENTS:
                members["livekit/agents/__init__.py"] = f"LOSES = {loses}\n".encode()
            self.public.add(make_official(self.wheels, name, version, members=members), when)

    def publish(self, version: str) -> None:
        """We publish it, patched."""
        series = Series.load(self.workspace.patches)
        made = repack_release(self.fetched(version), series, self.workspace)
        wheels = [*made.wheels, *made.passthrough]
        bundle = make_bundle(wheels, proof_that(made, wheels), series=series, now=MOMENT)
        (done,) = publish_all([bundle], self.index)
        assert not isinstance(done, Exception), done

    def fetched(self, version: str = FIXED) -> OfficialWheels:
        return Settings(self.workspace, pypi=self.public.url).fetch(version)

    def judged(self, *, loses: bool = False, tier: str = "full", has_teeth: bool = True) -> Verdict:
        """What the judge says of the official FIXED alone, after an exploration like this."""
        official = {path.name: sha256_of(path) for path in self.fetched().paths}
        subject = Subject(FIXED, UPLOADED, official, official, "", 0, "50" * 32, "3.11.7")
        run = run_of({LOSS: outcome("failed" if loses else "passed", documented=True)})
        found = findings({"refused": 2, **({"deleted-in-flight": 3} if loses else {})}, unreduced=3)
        tried: Explored = explored(tier=tier, official=found, patched=found)
        return Verdict.of(subject, run, run, tried, probe=probe() if has_teeth else None)

    def remember(self, verdict: Verdict) -> Path:
        """Let the machine know a verdict as the one of the tier full; where it is kept."""
        outcomes = VerdictStore.open(self.workspace.outcomes)
        release = self.fetched().release
        remember(outcomes, release, verdict)
        return outcomes.root / f"{outcomes.key(release, '', FULL)}.verdict.json"

    def page(self, project: str) -> dict[str, Any]:
        text = (self.index / "simple" / project / "index.json").read_text("utf-8")
        found: dict[str, Any] = json.loads(text)
        return found


def open_world(index: Index, workspace: Workspace, folder: Path) -> World:
    """RELEASES, published, and FIXED, which is only official."""
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    world = World(workspace, index, folder / "index", folder / "w")
    for version in RELEASES:
        world.release(version, loses=True)
        world.publish(version)
    world.release(FIXED, loses=False)
    return world


@dataclass(frozen=True)
class Client:
    """pip or uv at work in ``folder``, with the public index and, before it, ours."""

    tool: str
    world: World
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    def begin(self) -> Client:
        self.run([uv(), "venv", "-q", "--python", sys.executable, str(self.folder / "venv")])
        return self

    def install(self, *requirements: str) -> dict[str, str]:
        """What is installed afterwards of PROJECTS; nothing if the tool refuses."""
        ours = f"{self.world.index.as_uri()}/simple/"
        if self.tool == "pip":
            words = [sys.executable, "-m", "pip", "--python", str(self.python), "--isolated"]
            words += ["install", "-q", "--no-cache-dir", "--extra-index-url", ours]
            words += ["--index-url", self.world.public.url]
        else:
            words = [uv(), "pip", "install", "-q", "--no-config", "--python", str(self.python)]
            words += ["--index", ours, "--default-index", self.world.public.url]
        done = self.run([*words, *requirements], check=False)
        if done.returncode:
            print(done.stderr)
            return {}
        return self.versions()

    def fresh(self, *requirements: str) -> dict[str, str]:
        """The same in an empty environment."""
        self.run(
            [uv(), "venv", "-q", "--clear", "--python", sys.executable, str(self.folder / "venv")]
        )
        return self.install(*requirements)

    def versions(self) -> dict[str, str]:
        words = [uv(), "pip", "list", "-q", "--format", "json", "--python", str(self.python)]
        found = json.loads(self.run(words).stdout)
        return {row["name"]: row["version"] for row in found if row["name"] in PROJECTS}

    def run(self, words: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        foreign = ("PYTHON", "VIRTUAL_ENV", "UV_PROJECT")  # nox names its own environment
        env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        env |= {"UV_CACHE_DIR": str(self.folder / "uv-cache"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        done = subprocess.run(
            list(words), check=False, capture_output=True, text=True, cwd=self.folder, env=env
        )
        assert not check or done.returncode == 0, done.stderr
        return done
