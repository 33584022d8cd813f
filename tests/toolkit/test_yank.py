"""Yanks (PEP 592) and project status (PEP 792): said in the list, read back by other clients."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from publishing import (
    MOMENT,
    lines_of,
    make_pair,
    make_wheel,
    mark,
    proof_of,
    publish_wheels,
    snapshot,
)
from pypi_simple import ProjectPage, ProjectStatus
from torturing import AGENTS, COMPANION, PLUGIN, contents, pair_bundle, require_whole

import publish as verb
from toolkit.environments.interpreter import uv
from toolkit.index.ledger import Status
from toolkit.index.publish import publish_all, read_list
from toolkit.index.yank import YankResult, unyank, yank
from toolkit.util.errors import IndexConflict, ToolkitError, UnknownRelease

NASTY = 'loses "calls" <script>alert(1)</script> & more'


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Two revisions of a release, with the official partner."""
    for number in (1, 2):
        wheels = make_pair(tmp_path / str(number), f"+dispatched.{number}")
        publish_wheels(wheels, proof_of(wheels), tmp_path / "index", now=MOMENT)
    return tmp_path / "index"


@pytest.fixture
def companion_index(tmp_path: Path) -> Path:
    """Two releases, each with a companion."""
    bundles = [pair_bundle(tmp_path / "wheels", release) for release in ("1.0.0", "1.0.1")]
    for done in publish_all(bundles, tmp_path / "index"):
        assert not isinstance(done, ToolkitError)
    return tmp_path / "index"


def page_of(index: Path, project: str, form: str = "json") -> ProjectPage:
    text = (index / "simple" / project / f"index.{form}").read_text(encoding="utf-8")
    if form == "html":
        return ProjectPage.from_html(project, text)
    return ProjectPage.from_json_data(json.loads(text))


@pytest.mark.parametrize("form", ["html", "json"])
def test_an_independent_client_reads_the_reason(index: Path, form: str) -> None:
    done = yank(index, "1.8.9+dispatched.1", NASTY)
    assert done == YankResult(
        ("livekit_agents-1.8.9+dispatched.1-py3-none-any.whl",), ("1.8.9+dispatched.2",)
    )
    read = {
        p.version: (p.is_yanked, p.yanked_reason) for p in page_of(index, AGENTS, form).packages
    }
    assert read == {"1.8.9+dispatched.1": (True, NASTY), "1.8.9+dispatched.2": (False, None)}
    assert [p.is_yanked for p in page_of(index, PLUGIN, form).packages] == [False]
    assert b"<script>" not in (index / "simple" / AGENTS / "index.html").read_bytes()


def test_a_yank_is_a_line_and_can_be_undone(index: Path) -> None:
    before, list_before = contents(index), (index / "index.jsonl").read_bytes()
    yank(index, "1.8.9+dispatched.1", "a reason", now=MOMENT)
    assert yank(index, "1.8.9+dispatched.1", "another").files == ()
    assert unyank(index, "1.8.9", now=MOMENT).left == ("1.8.9+dispatched.1", "1.8.9+dispatched.2")
    assert unyank(index, "1.8.9").files == ()
    said = (index / "index.jsonl").read_bytes()
    assert said.startswith(list_before)
    name = "livekit_agents-1.8.9+dispatched.1-py3-none-any.whl"
    moment = "2026-11-22T15:00:00Z"
    assert lines_of(index / "index.jsonl")[3:] == [
        {"action": "yank", "filename": name, "reason": "a reason", "time": moment},
        {"action": "unyank", "filename": name, "reason": "", "time": moment},
    ]
    assert {**contents(index), "index.jsonl": b""} == {**before, "index.jsonl": b""}


def test_all_revisions_and_what_was_made_for_them(companion_index: Path) -> None:
    done = yank(companion_index, "1.0.0", "a reason")
    assert len(done.files) == 3
    assert done.left == ()
    for project in (AGENTS, PLUGIN, COMPANION):
        read = [package.is_yanked for package in page_of(companion_index, project).packages]
        assert read == [True, False]
    assert len(read_list(companion_index)) == 6
    require_whole(companion_index)


def test_a_published_yank_is_not_undone_by_publishing_again(index: Path, tmp_path: Path) -> None:
    yank(index, "1.8.9+dispatched.1", "a reason")
    before = snapshot(index)
    wheels = make_pair(tmp_path / "1", "+dispatched.1")
    assert publish_wheels(wheels, proof_of(wheels), index).new == ()
    assert snapshot(index) == before


@pytest.mark.parametrize("release", ["1.8.8", "1.8.9+dispatched.3", "1.8", "new", ""])
def test_a_release_that_is_not_there(index: Path, release: str) -> None:
    before = snapshot(index)
    with pytest.raises(UnknownRelease):
        yank(index, release, "a reason")
    assert snapshot(index) == before


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "\x1b[2J"])
def test_a_reason_that_nobody_could_read(index: Path, reason: str) -> None:
    with pytest.raises(IndexConflict, match="no reason"):
        yank(index, "1.8.9", reason)


def test_no_index_is_made_by_a_yank(tmp_path: Path) -> None:
    with pytest.raises(IndexConflict, match="not an index"):
        yank(tmp_path / "none", "1.8.9", "why")
    assert not (tmp_path / "none").exists()


def test_pages_appear_in_an_order_that_clients_can_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    written: list[str] = []
    replace = Path.replace

    def watched(draft: Path, path: Path) -> Path:
        written.append(path.relative_to(index).as_posix())
        return replace(draft, path)

    monkeypatch.setattr(Path, "replace", watched)
    publish_all([pair_bundle(tmp_path, "1.0.0")], index)
    pages = [f"simple/{project}/index.html" for project in (PLUGIN, AGENTS, COMPANION)]
    pages.append("simple/index.html")
    assert [path for path in written if path.endswith("html")] == pages
    assert written.index("index.jsonl") < written.index(pages[0])
    written.clear()
    yank(index, "1.0.0", "a reason")
    assert [path for path in written if path.endswith("html")] == list(reversed(pages[:3]))
    written.clear()
    unyank(index, "1.0.0")
    assert [path for path in written if path.endswith("html")] == pages[:3]


def test_uv_avoids_what_is_yanked_and_pip_takes_it_only_by_name(
    index: Path, tmp_path: Path
) -> None:
    yank(index, "1.8.9+dispatched.2", "a reason")
    page = f"{index.as_uri()}/simple/"
    asks = [uv(), "pip", "install", "--dry-run", "--no-config", "--no-deps", "--target"]
    asks += [str(tmp_path / "none"), "--cache-dir", str(tmp_path / "uv"), "--default-index", page]
    asks += ["--python", sys.executable, "livekit-agents>=1.8.9"]
    said = subprocess.run(asks, capture_output=True, text=True, check=True).stderr
    assert "livekit-agents==1.8.9+dispatched.1" in said
    for requirement, taken in (
        ("livekit-agents>=1.8.9", "dispatched.1"),
        ("livekit-agents==1.8.9+dispatched.2", "dispatched.2"),
    ):
        asks = [sys.executable, "-m", "pip", "--isolated", "--no-cache-dir", "download", "-q"]
        asks += ["--no-deps", "--index-url", page, "-d", str(tmp_path / taken), requirement]
        done = subprocess.run(asks, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (name,) = (path.name for path in (tmp_path / taken).iterdir())
        assert taken in name
    assert "a reason" in done.stderr


@pytest.mark.parametrize("form", ["html", "json"])
@pytest.mark.parametrize("status", ["deprecated", "archived", "quarantined"])
def test_an_independent_client_reads_the_status(index: Path, form: str, status: Status) -> None:
    before = contents(index)
    files = len(page_of(index, AGENTS, form).packages)
    mark(index, AGENTS, status, NASTY)
    read = page_of(index, AGENTS, form)
    assert (read.status, read.status_reason) == (ProjectStatus(status), NASTY)
    assert len(read.packages) == (0 if status == "quarantined" else files)
    assert page_of(index, PLUGIN, form).status in (None, ProjectStatus.ACTIVE)
    mark(index, AGENTS, "active")
    assert {**contents(index), "index.jsonl": b""} == {**before, "index.jsonl": b""}


def test_a_closed_project_takes_no_further_files(index: Path, tmp_path: Path) -> None:
    published = make_pair(tmp_path / "2", "+dispatched.2")
    more = make_pair(tmp_path / "3", "+dispatched.3")
    statuses: tuple[Status, ...] = ("archived", "quarantined")
    for status in statuses:
        mark(index, AGENTS, status, "it is fixed upstream")
        before = snapshot(index)
        with pytest.raises(IndexConflict, match=f"is {status}.*fixed upstream"):
            publish_wheels(more, proof_of(more), index)
        assert publish_wheels(published, proof_of(published), index).new == ()
        assert snapshot(index) == before
    mark(index, AGENTS, "deprecated")
    assert publish_wheels(more, proof_of(more), index).new == (more[0].name,)


def test_the_command_line(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--index", str(index), "--yank", "1.8.9", "--reason", "a reason"]
    before = snapshot(index)
    assert verb.main([*words, "--dry-run"]) == 0
    assert "would yank     livekit_agents-1.8.9+dispatched.1" in capsys.readouterr().out
    assert snapshot(index) == before
    assert verb.main(words) == 0
    printed = capsys.readouterr().out
    assert "yanked         livekit_agents-1.8.9+dispatched.2" in printed
    assert "no patched build of this release is left" in printed
    assert verb.main(["--index", str(index), "--unyank", "1.8.9+dispatched.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "left": ["1.8.9+dispatched.1"],
        "unyanked": ["livekit_agents-1.8.9+dispatched.1-py3-none-any.whl"],
    }


@pytest.mark.parametrize(
    "words",
    [
        ["--dry-run"],
        ["--yank", "1.8.9"],
        ["--reason", "why"],
        ["--yank", "1", "--unyank", "1", "--reason", "why"],
        ["a.whl"],
        ["--verdict", "v.json"],
        ["a.whl", "--verdict", "v.json", "--unyank", "1"],
    ],
)
def test_words_that_do_not_go_together(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        verb.main(["--index", str(tmp_path), *words])
    assert left.value.code == 2


def test_lost_pages_are_made_again(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(index)
    for page in (index / "simple").rglob("index.*"):
        page.unlink()
    assert verb.main(["--index", str(index)]) == 0
    assert "3 files" in capsys.readouterr().out
    assert contents(index) == before
    assert verb.main(["--index", str(tmp_path / "none")]) == IndexConflict.exit_code
    assert not (tmp_path / "none").exists()


def test_a_dry_run_publishes_nothing(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [
        make_wheel(tmp_path / "more", AGENTS, "1.8.9+dispatched.3"),
        make_pair(tmp_path / "1")[1],
    ]
    proof = tmp_path / "verdict.json"
    proof.write_text(proof_of(more).to_json())
    for folder, said in ((index, "already there "), (tmp_path / "new", "would publish ")):
        words = ["--index", str(folder), "--verdict", str(proof), *map(str, more), "--dry-run"]
        before = snapshot(tmp_path)
        assert verb.main(words) == 0
        printed = capsys.readouterr().out
        assert f"would publish  {more[0].name}" in printed
        assert f"{said} {more[1].name}" in printed
        assert snapshot(tmp_path) == before
