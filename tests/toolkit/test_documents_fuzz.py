"""Damaged documents: PyPI's pages, an index's list, verdicts, what PyPI last said, the catalogue.

Each is rejected, or read as the same again once it was written, leads to no path outside of the
cache, and is shown by pages in which another client finds just these files.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import repeat
from pathlib import Path

import mutations
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import (
    damaged_json,
    fuzz,
    rejected,
    require_helpful,
    scarred,
    shuffled,
    was_read,
)
from publishing import proof_of
from pypi_simple import ProjectPage
from simple_index import Index, serving
from wheels import AGENTS, PLUGIN, make_official

from toolkit.index.ledger import Ledger
from toolkit.index.pages import render
from toolkit.proof.verdict import Verdict
from toolkit.releases.catalogue import Catalogue, Entry, dump
from toolkit.releases.download import cached_release
from toolkit.releases.pypi import PyPI
from toolkit.releases.release import Release
from toolkit.util.errors import (
    IndexConflict,
    InvalidSeries,
    ToolkitError,
    UnknownRelease,
    Unreachable,
)
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import REPOSITORY, Workspace

URL = "http://127.0.0.1/simple/"
PAGE = "application/vnd.pypi.simple.v1+json"
KINDS = (*(PAGE,) * 40, "text/html", "application/json", "application/x-zip", "\x1b[31m")


@cache
def made() -> tuple[str, str]:
    """A page of an index, and a verdict."""
    with tempfile.TemporaryDirectory() as folder:
        wheels = [make_official(Path(folder), name, "1.8.9") for name in (AGENTS, PLUGIN)]
        index = Index(url=URL, yanked={wheels[0].name: "it is broken"})
        for wheel in (*wheels, make_official(Path(folder), AGENTS, "1.8.8")):
            index.add(wheel)
        return index.page(AGENTS).decode(), proof_of(wheels).to_json()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("fuzz")
    return Workspace(folder / "cache", folder / "none")


@pytest.fixture(scope="module")
def server() -> Iterator[Index]:
    with serving(Index()) as served:
        yield served


def releases_on(
    body: bytes, workspace: Workspace, server: Index, kind: str = KINDS[0]
) -> list[Release]:
    """What PyPI's client makes of a page of a server, the newest release first."""
    server.answer = lambda path: (200, kind, body, False)  # type: ignore[method-assign]
    with PyPI(server.url, workspace=workspace) as pypi:
        releases = [Release(v, tuple(wheels)) for v, wheels in pypi._page(AGENTS).items()]
        with rejected(ToolkitError):
            pypi.find("1.8.9", yanked=True)
        return sorted(releases, key=lambda release: release.version, reverse=True)


def check_paths(release: Release, workspace: Workspace) -> None:
    """A release stays in the cache."""
    for artefact in release.artefacts:
        path = workspace.artefacts / artefact.sha256[:2] / artefact.sha256 / artefact.filename
        assert len(path.resolve().relative_to(workspace.artefacts.resolve()).parts) == 3


@fuzz()
@given(st.deferred(lambda: damaged_json(made()[0])), st.sampled_from(KINDS))
def test_pages_of_an_index(workspace: Workspace, server: Index, body: bytes, kind: str) -> None:
    """A release is the same wherever it is kept."""
    with rejected(Unreachable):
        for release in releases_on(body, workspace, server, kind):
            assert Release.from_json(release.to_json()) == release
            check_paths(release, workspace)
            for artefact in release.artefacts:
                texts = (artefact.filename, artefact.yanked or "", artefact.requires_python or "")
                assert all(map(str.isprintable, texts))
            artefacts = tuple(replace(artefact, url="") for artefact in release.artefacts)
            entries = {release.version: Entry(release.version, artefacts)}
            assert dict(Catalogue.parse(dump(entries).encode(), Path("x.toml"))) == entries
            was_read()


@fuzz()
@given(st.data())
def test_cached_releases(workspace: Workspace, server: Index, data: st.DataObject) -> None:
    release = releases_on(made()[0].encode(), workspace, server)[0]
    path = workspace.releases / "1.8.9.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.draw(damaged_json(release.to_json())))
    with rejected(UnknownRelease):
        check_paths(cached_release("1.8.9", workspace), workspace)
        was_read()


def ledger_lines() -> list[str]:
    rows: list[Mapping[str, object]] = [
        {
            "filename": f"{name.replace('-', '_')}-1.8.{n}+dispatched.1-py3-none-any.whl",
            "project": name,
            "version": f"1.8.{n}+dispatched.1",
            "size": 10 + n,
            "upload_time": "2026-11-22T15:00:00Z",
            "requires_python": ">=3.10",
            **dict.fromkeys(("sha256", "metadata_sha256", "verdict_sha256"), "ab" * 32),
        }
        for n, name in enumerate((AGENTS, PLUGIN, AGENTS))
    ]
    yank = {"action": "yank", "filename": rows[0]["filename"], "reason": "it lost calls"}
    status = {"action": "status", "project": AGENTS, "status": "deprecated", "reason": "fixed"}
    rows += [{**yank, "time": "2026-11-22T16:00:00Z"}, {**status, "time": "2026-11-22T17:00:00Z"}]
    return [json.dumps(row) for row in rows]


@st.composite
def ledgers(draw: st.DrawFn) -> bytes:
    lines = [line.encode() for line in ledger_lines()]
    number = draw(st.integers(0, len(lines) - 1))
    lines[number] = draw(damaged_json(lines[number].decode()))
    ends = [b"\n"] * len(lines)
    ends[number] = draw(st.sampled_from((b"\n", b"\n", b"\n", b"", b"\r\n")))
    order = draw(st.one_of(st.just(range(len(lines))), st.permutations(range(len(lines)))))
    return b"".join(lines[n] + ends[n] for n in order)


@fuzz()
@given(ledgers())
def test_ledgers(workspace: Workspace, data: bytes) -> None:
    """Another client finds just these files on the pages, and no element that is not ours."""
    folder = workspace.root / "index"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.jsonl").write_bytes(data)
    with rejected(IndexConflict):
        ledger = Ledger.read(folder)
        pages = render(ledger)
        for path, content in pages.items():
            if not path.endswith("html") or path.count("/") != 2:
                continue
            project, page = path.split("/")[1], content.decode()
            found = ProjectPage.from_html(project, page, base_url="https://example.org/simple/x/")
            names = {package.filename for package in found.packages}
            assert names <= {n for n, entry in ledger.files.items() if entry.project == project}
            assert all(p.url.startswith("https://example.org/files/") for p in found.packages)
            assert not page.count("<script") + page.count("<img")
            assert page.count("<a ") == len(names)
            ProjectPage.from_json_data(json.loads(pages[path.replace("html", "json")]))
            was_read()


@fuzz()
@given(st.deferred(lambda: damaged_json(made()[1])))
def test_verdicts(data: bytes) -> None:
    with rejected(IndexConflict):
        try:
            verdict = Verdict.parse(data.decode("utf-8", "surrogateescape"))
        except Malformed as error:
            raise IndexConflict(str(error), next_step="-") from error
        assert Verdict.parse(verdict.to_json()) == verdict
        was_read()


ROWS = (
    *('["release"."1.8.9"]\n', '[release."1.8.9"]\n', f'[release."{"9" * 5000}"]\n', "x = 1\n"),
    *("size = -1\n", f"size = {'9' * 5000}\n", f"x = {'[' * 5000}\n", 'sha256 = "../../x"\n'),
    *("uploaded = 0001-01-01T00:00:00+14:00\n", "gone = 1\n", "= \n", 'name = ["x"]\n'),
)
HEAD, *TABLES = (REPOSITORY / "patches/releases.toml").read_text("utf-8").split("\n[release.")


@fuzz()
@given(st.data())
def test_catalogues(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(TABLES) - 7))
    text = "\n[release.".join([HEAD, *TABLES[start : start + 6]]) + "\n"
    new = shuffled(text, ROWS).map(lambda t: t.encode("utf-8", "surrogatepass"))
    with rejected(InvalidSeries):
        entries = dict(Catalogue.parse(data.draw(new | scarred(text.encode())), Path("x.toml")))
        assert dict(Catalogue.parse(dump(entries).encode(), Path("x.toml"))) == entries
        was_read()


@pytest.mark.parametrize(("problem", "step"), [(" ", "x"), ("x", ""), ("x" * 60_001, "x")])
def test_errors_that_do_not_help_are_seen(problem: str, step: str) -> None:
    require_helpful(InvalidSeries("x", next_step="x"))
    with pytest.raises(AssertionError):
        require_helpful(InvalidSeries(problem, next_step=step))


def test_errors_that_steer_and_work_without_an_end_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = InvalidSeries("x", next_step="x")
    error.problem = "\x1b[31m"
    with pytest.raises(AssertionError, match="it steers"), rejected(InvalidSeries):
        raise error
    monkeypatch.setattr(mutations, "LONGEST", 0.05)
    with pytest.raises(pytest.fail.Exception, match="s of work"), rejected(InvalidSeries):
        all(True for _ in repeat(0))
    with pytest.raises(KeyError), rejected(InvalidSeries):
        raise KeyError
