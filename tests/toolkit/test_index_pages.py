"""The index's pages, as an independent client and the two installers read them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from indexes import mark, page_of, publish_wheels
from publishing import MOMENT, make_pair, proof_of
from pypi_simple import ProjectPage, ProjectStatus
from wheels import AGENTS, PLUGIN
from worlds import static

from toolkit.environments.interpreter import uv
from toolkit.index.ledger import Ledger, Listed, Status
from toolkit.index.pages import render
from toolkit.index.yank import yank
from toolkit.util.files import sha256_of

NASTY = 'loses "calls" <script>alert(1)</script> & more'
ENTRY = Listed(
    filename="livekit_agents-1.8.9+dispatched.1-py3-none-any.whl",
    project=AGENTS,
    version="1.8.9+dispatched.1",
    sha256="a" * 64,
    size=7,
    upload_time="2026-11-22T15:00:00Z",
    requires_python="<3.15,>=3.10",
    metadata_sha256="b" * 64,
    verdict_sha256="c" * 64,
)
FORMS = pytest.mark.parametrize("form", ["html", "json"])


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Two revisions of a release, with the official partner."""
    for number in (1, 2):
        wheels = make_pair(tmp_path / str(number), f"+dispatched.{number}")
        texts = {wheel.name: b"{}" for wheel in wheels}
        publish_wheels(wheels, proof_of(wheels), tmp_path / "index", now=MOMENT, statements=texts)
    return tmp_path / "index"


def pages_of(*entries: Listed) -> tuple[str, str]:
    """Both pages of AGENTS."""
    pages = render(Ledger({entry.filename: entry for entry in entries}))
    return tuple(pages[f"simple/{AGENTS}/index.{form}"].decode() for form in ("html", "json"))  # type: ignore[return-value]


@FORMS
def test_an_independent_client_reads_the_pages(index: Path, form: str) -> None:
    page = page_of(index, AGENTS, form)
    assert page.repository_version == "1.4"
    versions = ["1.8.9+dispatched.1", "1.8.9+dispatched.2"]
    assert [package.version for package in page.packages] == versions
    for package in page.packages:
        wheel = index / "files" / package.filename
        metadata = wheel.with_name(f"{wheel.name}.metadata")
        assert package.url.partition("#")[0] == wheel.as_uri().replace("+", "%2B")
        assert "+" not in package.url
        assert package.digests == {"sha256": sha256_of(wheel)}
        assert package.requires_python == "<3.15,>=3.10"
        assert package.metadata_url == f"{package.url.partition('#')[0]}.metadata"
        assert package.metadata_digests == {"sha256": sha256_of(metadata)}
        assert metadata.read_text().splitlines()[2] == f"Version: {package.version}"
        assert not package.is_yanked
        if form == "json":
            assert package.size == wheel.stat().st_size
            assert package.upload_time == MOMENT.replace(microsecond=0)
    # nothing that would not be true: PEP 708 would allow mixing indexes, PEP 740 is for signatures
    assert (page.tracks, page.alternate_locations) == ([], [])
    text = (index / "simple" / AGENTS / f"index.{form}").read_text()
    assert not [w for w in ("tracks", "alternate-locations", "provenance") if w in text]


def test_json_says_what_pep_700_adds(index: Path) -> None:
    page = json.loads((index / "simple" / AGENTS / "index.json").read_text())
    assert page["meta"] == {"api-version": "1.4"}
    assert page["versions"] == ["1.8.9+dispatched.1", "1.8.9+dispatched.2"]
    root = json.loads((index / "simple/index.json").read_text())
    assert root["projects"] == [{"name": AGENTS}, {"name": PLUGIN}]
    html = (index / "simple" / "index.html").read_text()
    assert html.count("<a href=") == 2
    assert f'<a href="{AGENTS}/">{AGENTS}</a>' in html


@FORMS
def test_an_independent_client_reads_the_reason_of_a_yank(index: Path, form: str) -> None:
    yank(index, "1.8.9+dispatched.1", NASTY)
    packages = page_of(index, AGENTS, form).packages
    assert {p.version: (p.is_yanked, p.yanked_reason) for p in packages} == {
        "1.8.9+dispatched.1": (True, NASTY),
        "1.8.9+dispatched.2": (False, None),
    }
    assert [p.is_yanked for p in page_of(index, PLUGIN, form).packages] == [False]
    assert b"<script>" not in (index / "simple" / AGENTS / "index.html").read_bytes()


@FORMS
@pytest.mark.parametrize("status", ["deprecated", "archived", "quarantined"])
def test_an_independent_client_reads_the_status(index: Path, form: str, status: Status) -> None:
    files = len(page_of(index, AGENTS, form).packages)
    mark(index, AGENTS, status, NASTY)
    page = page_of(index, AGENTS, form)
    assert (page.status, page.status_reason) == (ProjectStatus(status), NASTY)
    assert len(page.packages) == (0 if status == "quarantined" else files)
    assert page_of(index, PLUGIN, form).status in (None, ProjectStatus.ACTIVE)
    mark(index, AGENTS, status)
    assert page_of(index, AGENTS, form).status_reason is None


def test_html_carries_both_spellings_of_the_metadata_attribute() -> None:
    html, _ = pages_of(ENTRY)
    assert f'data-core-metadata="sha256={"b" * 64}"' in html
    assert f'data-dist-info-metadata="sha256={"b" * 64}"' in html
    assert 'data-requires-python="&lt;3.15,&gt;=3.10"' in html
    assert '<meta name="pypi:repository-version" content="1.4">' in html
    assert html.endswith("</html>\n")


def test_requires_python_is_escaped_or_left_out() -> None:
    html, _ = pages_of(replace(ENTRY, requires_python=NASTY))
    assert "<script>" not in html
    assert [p.requires_python for p in ProjectPage.from_html(AGENTS, html).packages] == [NASTY]
    assert not [text for text in pages_of(replace(ENTRY, requires_python="")) if "-python" in text]


def test_pages_depend_on_the_set_of_files_only() -> None:
    others = [replace(ENTRY, filename=f"a-{v}.whl", version=v) for v in ("1.10", "1.9", "2.0b1")]
    assert pages_of(ENTRY, *others) == pages_of(*reversed(others), ENTRY)
    versions = json.loads(pages_of(ENTRY, *others)[1])["versions"]
    assert versions == ["1.8.9+dispatched.1", "1.9", "1.10", "2.0b1"]


def installer(tool: str, url: str, folder: Path) -> list[str]:
    """The command that resolves, without what is required."""
    if tool == "pip":
        words = [sys.executable, "-m", "pip", "--isolated", "--no-cache-dir", "download", "-d"]
        return [*words, str(folder / "wheels"), "--no-deps", "--index-url", url]
    words = [uv(), "pip", "install", "--dry-run", "--no-config", "--no-deps", "--target"]
    words += [str(folder / "none"), "--python", sys.executable, "--default-index", url]
    return [*words, "--cache-dir", str(folder / "cache")]


@pytest.mark.parametrize("form", ["html", "json"])
@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_installers_avoid_what_is_yanked(index: Path, tool: str, form: str, tmp_path: Path) -> None:
    """By name pip takes it, and repeats the reason; of JSON, uv believes the upload times."""
    yank(index, "1.8.9+dispatched.2", "a reason")
    mark(index, AGENTS, "deprecated", "a reason")

    def output(*words: str) -> str:
        command = [*installer(tool, f"{url}/simple/", tmp_path), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    with static(index, form) as url:
        assert "1.8.9+dispatched.1" in output(f"{AGENTS}>=1.8.9")
        if tool == "pip":
            text = output(f"{AGENTS}==1.8.9+dispatched.2")
            assert "1.8.9+dispatched.2" in text
            assert "a reason" in text
        if (tool, form) == ("uv", "json"):
            assert "dispatched.1" in output(AGENTS, "--exclude-newer", "2026-11-23")
            assert "No solution found" in output(AGENTS, "--exclude-newer", "2026-11-21")
