"""Indexes on loopback: the public one with all that upstream released, and ours beside it."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from indexes import SERIES, proof_by, publish_wheels
from publishing import MOMENT, proof_of
from simple_index import listening
from wheels import AGENTS, PLUGIN, make_official

from toolkit.index.bundle import Bundle
from toolkit.index.metapackage import PROJECT, make_metapackage
from toolkit.index.proxy import make_app
from toolkit.index.publish import publish
from toolkit.index.yank import yank
from toolkit.util.files import sha256_of

THIRD = "livekit-plugins-third"
LOCAL = "+dispatched.1"
PATCHED = {AGENTS: f"1.8.9{LOCAL}", PLUGIN: "1.8.9", PROJECT: "1.8.9.1"}
UPLOADED = dict.fromkeys(("1.8.8", "1.8.9"), "2026-01-02T00:00:00Z")
UPLOADED["1.8.10"] = "2026-11-20T00:00:00Z"
# a platform that no machine of ours is
ANY, ELSEWHERE = "py3-none-any", "cp39-abi3-win_arm64"


@dataclass(frozen=True)
class World:
    """Where a client finds the published index and the public one.

    ``front`` serves both, ``link`` is the metapackage, ``index`` the published one's folder.
    """

    ours: str
    public: str
    front: str
    link: str
    index: Path
    official: tuple[Path, ...]


@dataclass
class Worlds:
    """The indexes of all situations: each is made and served once."""

    folder: Path
    _stack: ExitStack
    _known: dict[str, World] = field(default_factory=dict)

    def of(self, situation: str) -> World:
        kind = situation if situation in ("yanked", "platform", "taken") else "usual"
        if kind not in self._known:
            self._known[kind] = self._made(kind)
        return self._known[kind]

    def _made(self, kind: str) -> World:
        folder = self.folder / kind
        releases = {version: official(folder / version, version) for version in UPLOADED}
        if kind == "taken":
            releases["1.8.8"] += strangers(folder / "1.8.8")
        show(folder / "public", releases)
        index = publish_pair(folder, ELSEWHERE if kind == "platform" else ANY)
        if kind == "yanked":
            yank(index, "1.8.9", "a mistake", now=MOMENT)
        ours = self._stack.enter_context(static(index, "html"))
        public = self._stack.enter_context(static(folder / "public", "json"))
        (metapackage,) = (index / "files").glob(f"{PROJECT.replace('-', '_')}-*.whl")
        link = f"{ours}/files/{metapackage.name}#sha256={sha256_of(metapackage)}"
        front = self._stack.enter_context(fronting(index, f"{public}/simple/"))
        urls = (f"{ours}/simple/", f"{public}/simple/", front)
        return World(*urls, link, index, releases["1.8.9"][:2])


@contextmanager
def open_worlds(folder: Path) -> Iterator[Worlds]:
    """Indexes on loopback, until the block ends."""
    with ExitStack() as stack:
        yield Worlds(folder, stack)


def official(folder: Path, version: str) -> tuple[Path, ...]:
    """What upstream released: the pair, and a plugin of somebody else's that needs its partner."""
    needs = {AGENTS: [], PLUGIN: [f"{AGENTS}>={version}"], THIRD: [f"{AGENTS}>={version}"]}
    packages = {name: {f"{name.replace('-', '_')}.py": b""} for name in needs}
    return tuple(
        make_official(folder, name, version, members=packages[name], requires=requires)
        for name, requires in needs.items()
    )


def strangers(folder: Path) -> tuple[Path, ...]:
    """What somebody may upload to a public index under the name of the metapackage.

    The build number lets a wheel win against one of the same version.
    """
    needs = [f"{AGENTS}==1.8.10", f"{PLUGIN}==1.8.10"]
    module = {"livekit_dispatched.py": b""}
    made = [
        make_official(folder, PROJECT, version, members=module, requires=needs)
        for version in ("1.8.9.1", "1.8.9.99")
    ]
    return tuple(path.rename(str(path).replace(ANY, f"9-{ANY}")) for path in made)


def show(folder: Path, releases: Mapping[str, Sequence[Path]]) -> None:
    """An index that has all that upstream released, when it did."""
    for release, wheels in releases.items():
        proof = proof_by(wheels, release)
        publish(Bundle.of(wheels, proof, now=datetime.fromisoformat(UPLOADED[release])), folder)


def publish_pair(folder: Path, tag: str) -> Path:
    """The index of a release of which only livekit-agents is patched, with its metapackage."""
    module = {"livekit_agents.py": b"PATCHED = True\n"}
    agents = make_official(folder, AGENTS, PATCHED[AGENTS], members=module, requires=[], tag=tag)
    wheels = [agents, official(folder / "1.8.9", "1.8.9")[1]]
    made = make_metapackage(wheels, release="1.8.9", revision=1, series=SERIES)
    publish_wheels(wheels, proof_of(wheels), folder / "index", now=MOMENT, generated=[made])
    return folder / "index"


@contextmanager
def static(folder: Path, form: str, asked: list[str] | None = None) -> Iterator[str]:
    """A plain web server for a folder whose pages are all ``html`` or all ``json``.

    An HTML page tells no upload times. ``asked`` becomes what clients asked for, as they wrote it.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = {  # noqa: RUF012
            **http.server.SimpleHTTPRequestHandler.extensions_map,
            ".json": "application/vnd.pypi.simple.v1+json",
        }

        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def translate_path(self, path: str) -> str:
            found = Path(super().translate_path(path))
            return str(found / f"index.{form}" if found.is_dir() else found)

        def log_message(self, *_: object) -> None:
            if asked is not None:
                asked.append(self.path)

    with listening(Handler) as url:
        yield url


@contextmanager
def fronting(index: Path, public: str) -> Iterator[str]:
    """What serve.py serves: the published index, and the public one behind it."""
    app = make_app(index, public, frozenset({AGENTS, PLUGIN, PROJECT}))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/simple/"
        finally:
            server.should_exit = True
            thread.join()
