"""Mutated JSON: PyPI's pages, an index's own list, a verdict, and what PyPI last said.

Harmless: what was read is written and read again as the same, leads to no path outside of the
cache, and is shown by pages in which another client finds just these files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

from fuzzing import NASTY, Fault, Subject, refused, scarred, twisted
from making import AGENTS, PLUGIN, Index, make_wheel
from packaging.version import Version
from publishing import proof_of
from pypi_simple import ProjectPage
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter

from toolkit.index.ledger import Ledger
from toolkit.index.pages import render
from toolkit.index.publish import read_list
from toolkit.proof.verdict import Verdict
from toolkit.releases.catalogue import Catalogue, Entry, dump
from toolkit.releases.download import cached_release
from toolkit.releases.pypi import PyPI
from toolkit.releases.release import Artefact, Release
from toolkit.util.errors import IndexConflict, ToolkitError, UnknownRelease, Unreachable
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import Workspace

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
KINDS = (*(JSON_TYPE,) * 40, "text/html", "application/json", "application/x-zip", "\x1b[31m")
POOL: tuple[object, ...] = (
    *NASTY,
    *(None, True, False, 0, -1, 1.5, 10**19, -(10**400), [], {}, [[]], {"": {}}, ["x"] * 2000),
    *(
        "0" * 64,
        "F" * 64,
        "é" * 64,
        "2026-01-02T00:00:00",
        "0001-01-01T00:00:00+14:00",
        "1.9",
        "2.0",
    ),
    *("livekit_agents-1.8.9-py3-none-any.whl", "livekit_other-1.8.9-py3-none-any.whl"),
    *("livekit_agents-1.8.9-py3-none-\x1b[31many.whl", "livekit_agents-1!1.8.9-py3-none-any.whl"),
)
RAW = ("NaN", "1e999", "-Infinity", "9" * 5000, "[" * 9000, '{"a":' * 9000, '"\\ud800"', "'", "//")


class _Canned(BaseAdapter):
    """A server in this process that has one answer."""

    def __init__(self, body: bytes, kind: str) -> None:
        super().__init__()
        self.body, self.kind = body, kind

    def send(self, request: PreparedRequest, **_: object) -> Response:  # type: ignore[override]
        answer = Response()
        answer.status_code, answer.url, answer.request = 200, str(request.url), request
        answer.headers["Content-Type"] = self.kind
        vars(answer).update(_content=self.body, _content_consumed=True)
        return answer

    def close(self) -> None:
        pass


def subjects(folder: Path) -> list[Subject]:
    """The readers of JSON that others wrote, or may have touched."""
    workspace = Workspace(folder / "cache", folder / "none")
    wheels = [make_wheel(folder / "listed", name, "1.8.9") for name in (AGENTS, PLUGIN)]
    index = Index(url="http://127.0.0.1/simple/", yanked={wheels[0].name: "it is broken"})
    for wheel in (*wheels, make_wheel(folder / "listed", AGENTS, "1.8.8")):
        index.add(wheel)
    page = index.page(AGENTS).decode()
    verdict = proof_of(wheels).to_json()
    return [
        Subject("pages of an index", lambda random, _: _page(random, page, workspace)),
        Subject("an index's own list", _list),
        Subject("verdicts", lambda random, _: _verdict(random, verdict)),
        Subject("remembered releases", lambda random, _: _remembered(random, page, workspace)),
    ]


def _mutated(random: Random, text: str) -> str:
    match random.randrange(8):
        case 0:
            return scarred(random, text.encode()).decode("utf-8", "replace")
        case 1:
            spots = [n for n, c in enumerate(text) if c == ":"]
            at = random.choice(spots) + 1
            return f"{text[:at]} {random.choice(RAW)}, {text[at:]}"
        case 2:
            at = text.index('"', random.randrange(len(text) // 2))
            to = text.index('"', at + 1)
            return f"{text[:at]}{text[at : to + 1]}: 1, {text[at:]}"
        case _:
            return json.dumps(twisted(random, json.loads(text), POOL))


def _page(random: Random, page: str, workspace: Workspace) -> str:
    body = _mutated(random, page).encode("utf-8", "surrogatepass")
    body = scarred(random, body) if random.random() < 0.05 else body
    with PyPI("http://127.0.0.1/simple/", workspace=workspace) as pypi:
        pypi._client.s.mount("http://", _Canned(body, random.choice(KINDS)))
        try:
            found = pypi._page(AGENTS)
            with_errors = _tried(lambda: pypi.find("1.8.9", yanked=True))
        except ToolkitError as error:
            if not isinstance(error, Unreachable):
                raise Fault(f"{type(error).__name__} for a page") from error
            return refused(error)
    for version, wheels in found.items():
        _hold(Release(version, tuple(wheels)), workspace)
    return f"harmless: {sum(map(len, found.values()))} wheels, {with_errors}"


def _tried(work: Callable[[], object]) -> str:
    try:
        work()
    except ToolkitError as error:
        return f"then {refused(error)}"
    return "a release"


def _hold(release: Release, workspace: Workspace) -> None:
    """Raise Fault unless a release is the same wherever it is kept, and stays in the cache."""
    if Release.from_json(release.to_json()) != release:
        raise Fault("the cache reads another release than it wrote")
    for artefact in release.artefacts:
        place = workspace.artefacts / artefact.sha256[:2] / artefact.sha256 / artefact.filename
        inside = place.resolve().relative_to(workspace.artefacts.resolve())
        if len(inside.parts) != 3 or not all(map(str.isprintable, _texts(artefact))):
            raise Fault(f"{artefact} is not what a terminal or a cache can take")
    path = workspace.root / "releases.toml"
    entry = Entry(release.version, tuple(_unplaced(a) for a in release.artefacts))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump({release.version: entry}), "utf-8")
    if Catalogue.read(path)[release.version] != entry:
        raise Fault("the catalogue reads another release than it wrote")


def _texts(artefact: Artefact) -> tuple[str, ...]:
    return (artefact.filename, artefact.yanked or "", artefact.requires_python or "")


def _unplaced(artefact: Artefact) -> Artefact:
    return Artefact(**{**vars(artefact), "url": ""})


@cache
def _lines() -> str:
    rows = []
    for number, name in enumerate((AGENTS, PLUGIN, AGENTS)):
        version = f"1.8.{number}+dispatched.1"
        rows.append(
            {
                "filename": f"{name.replace('-', '_')}-{version}-py3-none-any.whl",
                "project": name,
                "version": version,
                "size": 10 + number,
                "upload_time": "2026-11-22T15:00:00Z",
                "requires_python": ">=3.10",
                **dict.fromkeys(("sha256", "metadata_sha256", "verdict_sha256"), "ab" * 32),
            }
        )
    rows.append(
        {
            "action": "yank",
            "filename": rows[0]["filename"],
            "reason": "it lost calls",
            "time": "2026-11-22T16:00:00Z",
        }
    )
    reason = {"status": "deprecated", "reason": "upstream fixed it", "time": "2026-11-22T17:00:00Z"}
    rows.append({"action": "status", "project": AGENTS, **reason})
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def _list(random: Random, folder: Path) -> str:
    lines = _lines().splitlines(keepends=True)
    at = random.randrange(len(lines))
    lines[at] = _mutated(random, lines[at].rstrip("\n")) + random.choice(("\n",) * 9 + ("", "\r\n"))
    if random.random() < 0.1:
        random.shuffle(lines)
    place = folder / "list"
    place.mkdir(exist_ok=True)
    (place / "index.jsonl").write_bytes("".join(lines).encode("utf-8", "surrogatepass"))
    try:
        listed = read_list(place)
        ledger = Ledger.read(place)
        pages = render(ledger)
    except ToolkitError as error:
        if not isinstance(error, IndexConflict):
            raise Fault(f"{type(error).__name__} for a list") from error
        return refused(error)
    if "".join(lines) == _lines():
        return "unchanged"
    for path, content in pages.items():
        if path.endswith("html") and path.count("/") == 2:
            project = path.split("/")[1]
            _shown(
                project, content.decode(), {n for n, e in listed.items() if e.project == project}
            )
            ProjectPage.from_json_data(json.loads(pages[path.replace("html", "json")]))
    return "harmless: pages show these files and no others"


def _shown(project: str, page: str, expected: set[str]) -> None:
    found = ProjectPage.from_html(project, page, base_url="https://example.org/simple/x/")
    names = {package.filename for package in found.packages}
    urls = [package.url for package in found.packages]
    if not names <= expected or not all(u.startswith("https://example.org/files/") for u in urls):
        raise Fault(f"a page shows {names - expected}, or leads to {urls}")
    if page.count("<script") or page.count("<img") or page.count("<a ") != len(names):
        raise Fault("a page holds elements that are not ours")


def _verdict(random: Random, verdict: str) -> str:
    text = _mutated(random, verdict)
    try:
        read = Verdict.parse(text)
    except Malformed as error:
        return refused(IndexConflict(str(error), next_step="-"))
    if Verdict.parse(read.to_json()) != read:
        raise Fault("a verdict that reads otherwise once it is written")
    return "unchanged" if text == verdict else "harmless: what it says holds together"


def _remembered(random: Random, page: str, workspace: Workspace) -> str:
    with PyPI("http://127.0.0.1/simple/", workspace=workspace) as pypi:
        pypi._client.s.mount("http://", _Canned(page.encode(), JSON_TYPE))
        seed = Release(Version("1.8.9"), tuple(pypi._page(AGENTS)[Version("1.8.9")])).to_json()
    path = workspace.releases / "1.8.9.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_mutated(random, seed).encode("utf-8", "surrogatepass"))
    try:
        release = cached_release("1.8.9", workspace)
    except ToolkitError as error:
        if not isinstance(error, UnknownRelease):
            raise Fault(f"{type(error).__name__} for what was remembered") from error
        return refused(error)
    for artefact in release.artefacts:
        place = workspace.artefacts / artefact.sha256[:2] / artefact.sha256 / artefact.filename
        place.resolve().relative_to(workspace.artefacts.resolve())
    return "harmless: what it says is sound"
