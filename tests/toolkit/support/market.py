"""A published release whose originals an auditor can find, on loopback."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from publishing import LOSS, MOMENT, UPLOADED, explored, outcome, run_of
from series import engine_patch, write_series
from simple_index import Index, serving
from uv import find_uv_bin
from wheels import AGENTS, PLUGIN, make_official

import audit as verb
from toolkit.index.bundle import make_bundle
from toolkit.index.publish import publish
from toolkit.patches.series import Series
from toolkit.proof.verdict import Proof, Subject, Verdict
from toolkit.releases.official import Settings
from toolkit.releases.repack import RepackedRelease, repack_release
from toolkit.util.files import sha256_of
from toolkit.util.workspace import CACHE_VARIABLE, Workspace

OURS = "livekit_agents-1.8.9+dispatched.1-py3-none-any.whl"
PARTNER = "livekit_plugins_openai-1.8.9-py3-none-any.whl"
COMPANION = "livekit_dispatched-1.8.9.1-py3-none-any.whl"
GOOD = {OURS: "ours", COMPANION: "ours", PARTNER: "official"}
Finding = dict[str, Any]


@dataclass(frozen=True)
class Market:
    """A published release: its index's folder, and where the auditor finds the originals."""

    workspace: Workspace
    folder: Path
    made: RepackedRelease
    url: str

    @property
    def files(self) -> Path:
        return self.folder / "files"

    def copied(self, to: Path) -> Market:
        """The same with an index and a series of its own, and the same cache."""
        patches = shutil.copytree(self.workspace.patches, to / "patches")
        folder = shutil.copytree(self.folder, to / "index")
        workspace = Workspace(self.workspace.root, Path(patches))
        return Market(workspace, Path(folder), self.made, self.url)

    def audit(self, *targets: object, code: int) -> list[Finding]:
        """What ``audit --json`` finds, by its main; the exit code must be ``code``."""
        said = io.StringIO()
        flags = ["--json", "--patches", str(self.workspace.patches), "--pypi", self.url]
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
            patch.setenv(CACHE_VARIABLE, str(self.workspace.root))
            found = verb.main([*map(str, targets), *flags])
        assert found == code, said.getvalue()
        findings: list[Finding] = json.loads(said.getvalue())["findings"]
        return findings


@contextlib.contextmanager
def open_market(root: Path) -> Iterator[Market]:
    """Repack and publish a release below ``root``; its official wheels are on loopback."""
    workspace = Workspace(root / "cache", root / "patches")
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    index = Index()
    for version in ("1.8.9", "1.8.8"):
        for name in (AGENTS, PLUGIN):
            index.add(make_official(root / "w", name, version))
    with serving(index):
        made = publish_patched(Settings(workspace, pypi=index.url), "1.8.9", root / "index")
        yield Market(workspace, root / "index", made, index.url)


def publish_patched(settings: Settings, version: str, index: Path) -> RepackedRelease:
    """Repack a release and publish it, as if it had been proved."""
    series = Series.load(settings.workspace.patches)
    made = repack_release(settings.fetch(version), series, settings.workspace)
    wheels = [*made.wheels, *made.passthrough]
    publish(make_bundle(wheels, proof_that(made, wheels), series=series, now=MOMENT), index)
    return made


def proof_that(made: RepackedRelease, wheels: list[Path]) -> Proof:
    """The verdict ``publish`` over what was repacked."""
    subject = Subject(
        release=str(made.release.version),
        uploaded=UPLOADED,
        official={path.name: sha256_of(path) for path in made.official},
        patched={wheel.name: sha256_of(wheel) for wheel in wheels},
        series=made.series_digest,
        revision=made.revision,
        suite="50" * 32,
        python="3.11.7",
    )
    lost, kept = (run_of({LOSS: outcome(said, documented=True)}) for said in ("failed", "passed"))
    return Proof.of(Verdict.of(subject, lost, kept, explored()))


def statuses(findings: list[Finding]) -> dict[str, str]:
    """What each wheel or distribution was found to be."""
    return {finding["where"].rpartition("/")[2]: finding["status"] for finding in findings}


def make_environment(path: Path, *wheels: Path) -> Path:
    """A virtual environment that holds ``wheels``, each file a copy of its own."""
    subprocess.run([find_uv_bin(), "venv", "-q", "--relocatable", path], check=True)
    install(path, *wheels)
    return path


def install(environment: Path, *wheels: Path) -> None:
    """Put ``wheels``, and nothing that they require, into an environment."""
    flags = ["-q", "--no-deps", "--no-index", "--reinstall", "--link-mode", "copy"]
    command = [find_uv_bin(), "pip", "install", *flags, "--python", str(environment)]
    subprocess.run([*command, *map(str, wheels)], check=True)
