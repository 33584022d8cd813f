"""A published series, and an official release that lost the fault, on loopback."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from clients import Client
from indexes import page_of
from market import publish_patched
from publishing import LOSS, UPLOADED, explored, findings, outcome, probe, run_of
from series import engine_patch, write_series
from upstream_index import JANUARY, Upstream
from verbs import Ran
from wheels import AGENTS, PLUGIN, members_of

from toolkit.index.metapackage import PROJECT
from toolkit.proof.store import VerdictStore
from toolkit.proof.unpatched import FULL, cache_unpatched
from toolkit.proof.verdict import Subject, Verdict
from toolkit.releases.official import OfficialWheels, Settings
from toolkit.util.files import sha256_of

RELEASES = ("1.8.8", "1.8.9")
FIXED = "1.8.10"
PROJECTS = (AGENTS, PROJECT, PLUGIN)


@dataclass(frozen=True)
class World:
    """``upstream`` has all official wheels, ``index`` (a folder) the patched ones of RELEASES."""

    upstream: Upstream
    index: Path

    @property
    def settings(self) -> Settings:
        return Settings(self.upstream.workspace, pypi=self.upstream.index.url)

    def run(self, verb: str, *words: object, code: int = 0) -> Ran:
        """Run a verb with the index; it has to end with ``code``."""
        return self.upstream.run(verb, *words, "--index", self.index, code=code)

    def retire(self, *words: object, code: int = 0) -> Any:
        """Run retire; the document on stdout, or what it wrote to stderr."""
        result = self.run("retire", *words, "--json", code=code)
        return result.err if code else result.json

    def release(self, version: str, *, loses: bool, when: datetime = JANUARY) -> None:
        """Upstream releases a version."""
        agents = members_of(AGENTS, version)
        agents["livekit/agents/__init__.py"] = f"LOSES = {loses}\n".encode()
        self.upstream.upload(version, when, [AGENTS], members=agents)
        self.upstream.upload(version, when, [PLUGIN])

    def publish(self, version: str) -> None:
        """We publish it, patched."""
        publish_patched(self.settings, version, self.index)

    def fetched(self) -> OfficialWheels:
        """The official FIXED."""
        return self.settings.fetch(FIXED)

    def judged(self, *, loses: bool = False, tier: str = "full", has_teeth: bool = True) -> Verdict:
        """What the judge says of the official FIXED alone, after an exploration like this."""
        official = {path.name: sha256_of(path) for path in self.fetched().paths}
        subject = Subject(FIXED, UPLOADED, official, official, "", 0, "50" * 32, "3.11.7")
        run = run_of({LOSS: outcome("failed" if loses else "passed", documented=True)})
        side = findings({"refused": 2, **({"deleted-in-flight": 3} if loses else {})}, unreduced=3)
        explored_both = explored(tier=tier, official=side, patched=side)
        return Verdict.of(subject, run, run, explored_both, probe=probe() if has_teeth else None)

    def remember(self, verdict: Verdict | None = None) -> Path:
        """Let the machine know a verdict as the one of the tier full; where it is kept."""
        store = VerdictStore.open(self.upstream.workspace.outcomes)
        release = self.fetched().release
        cache_unpatched(store, release, verdict or self.judged())
        return store.root / f"{store.key(release, '', FULL)}.verdict.json"

    def yanked(self, project: str) -> dict[str, str | None]:
        """The yanked files of a project and the reasons, the same in both forms of its page."""
        both = [
            {
                p.filename: p.yanked_reason
                for p in page_of(self.index, project, f).packages
                if p.is_yanked
            }
            for f in ("json", "html")
        ]
        assert both[0] == both[1]
        return both[0]

    def status(self, project: str) -> tuple[str | None, str | None]:
        """The status of a project and its reason, the same in both forms of its page."""
        json, html = (page_of(self.index, project, form) for form in ("json", "html"))
        assert (json.status, json.status_reason) == (html.status, html.status_reason)
        return json.status and json.status.value, json.status_reason

    def client(self, tool: str) -> Client:
        """pip or uv, with this index before the one of upstream."""
        ours = f"{self.index.as_uri()}/simple/"
        folder = self.upstream.folder / f"client-{tool}"
        return Client(tool, folder, (ours,), self.upstream.index.url)


def open_world(upstream: Upstream) -> World:
    """RELEASES, published, and FIXED, which is only official."""
    write_series(upstream.workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    world = World(upstream, upstream.folder / "index")
    for version in RELEASES:
        world.release(version, loses=True)
        world.publish(version)
    world.release(FIXED, loses=False)
    return world
