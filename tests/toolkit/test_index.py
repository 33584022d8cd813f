"""The index's pages, read by an independent client, and its list."""

from __future__ import annotations

import hashlib
import http.server
import json
import shlex
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from publishing import MOMENT, lines_of, make_pair, make_wheel, mark, proof_of, publish_wheels
from pypi_simple import ProjectPage

from toolkit.environments.interpreter import uv
from toolkit.index.ledger import Ledger, Listed
from toolkit.index.metapackage import make_metapackage
from toolkit.index.pages import render
from toolkit.index.publish import consume_lines, read_list
from toolkit.index.yank import yank
from toolkit.util.errors import IndexConflict
from toolkit.util.files import sha256, sha256_of

ENTRY = Listed(
    filename="livekit_agents-1.8.9+dispatched.1-py3-none-any.whl",
    project="livekit-agents",
    version="1.8.9+dispatched.1",
    sha256="a" * 64,
    size=7,
    upload_time="2026-11-22T15:00:00Z",
    requires_python="<3.15,>=3.10",
    metadata_sha256="b" * 64,
    verdict_sha256="c" * 64,
)


def rendered(entries: list[Listed]) -> dict[str, bytes]:
    return render(Ledger({entry.filename: entry for entry in entries}))


@pytest.fixture
def index(tmp_path: Path) -> Path:
    for number in (1, 2):
        wheels = make_pair(tmp_path / str(number), f"+dispatched.{number}")
        publish_wheels(wheels, proof_of(wheels), tmp_path / "index", now=MOMENT)
    return tmp_path / "index"


@pytest.mark.parametrize("page", ["index.html", "index.json"])
def test_an_independent_client_reads_the_pages(index: Path, page: str) -> None:
    path = index / "simple" / "livekit-agents" / page
    text = path.read_text(encoding="utf-8")
    base = path.as_uri()
    read = (
        ProjectPage.from_html("livekit-agents", text, base_url=base)
        if page.endswith("html")
        else ProjectPage.from_json_data(json.loads(text), base_url=base)
    )
    assert read.repository_version == "1.4"
    assert [package.version for package in read.packages] == [
        "1.8.9+dispatched.1",
        "1.8.9+dispatched.2",
    ]
    for package in read.packages:
        wheel = index / "files" / package.filename
        assert package.url.partition("#")[0] == wheel.as_uri()
        assert "%2B" in package.url
        assert "+" not in package.url
        assert package.digests == {"sha256": sha256_of(wheel)}
        assert package.requires_python == "<3.15,>=3.10"
        assert package.has_metadata
        assert package.metadata_url == f"{wheel.as_uri()}.metadata"
        metadata = wheel.with_name(f"{wheel.name}.metadata")
        assert package.metadata_digests == {"sha256": sha256_of(metadata)}
        assert metadata.read_text().splitlines()[2] == f"Version: {package.version}"
        assert not package.is_yanked
        if page.endswith("json"):
            assert package.size == wheel.stat().st_size
            assert package.upload_time == MOMENT.replace(microsecond=0)


def test_json_says_what_pep_700_adds(index: Path) -> None:
    page = json.loads((index / "simple/livekit-agents/index.json").read_text())
    assert page["meta"] == {"api-version": "1.4"}
    assert page["versions"] == ["1.8.9+dispatched.1", "1.8.9+dispatched.2"]
    root = json.loads((index / "simple/index.json").read_text())
    assert root["projects"] == [{"name": "livekit-agents"}, {"name": "livekit-plugins-openai"}]


@pytest.mark.parametrize("page", ["index.html", "index.json"])
def test_what_would_not_be_true_is_not_said(page: str, tmp_path: Path) -> None:
    """No PEP 708, which would allow mixing us with the public index; no attestations (PEP 740)."""
    wheels = make_pair(tmp_path, "+dispatched.1")
    index = tmp_path / "index"
    publish_wheels(wheels, proof_of(wheels), index, statements={w.name: b"{}" for w in wheels})
    text = (index / "simple" / "livekit-agents" / page).read_text(encoding="utf-8")
    read = (
        ProjectPage.from_html("livekit-agents", text)
        if page.endswith("html")
        else ProjectPage.from_json_data(json.loads(text))
    )
    assert (read.tracks, read.alternate_locations) == ([], [])
    assert [package.provenance_url for package in read.packages] == [None]
    for word in ("tracks", "alternate-locations", "provenance"):
        assert word not in text


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_installers_read_the_json(index: Path, tool: str, tmp_path: Path) -> None:
    """Behind a server that knows its type; uv then believes the upload times and the yanks."""
    yank(index, "1.8.9+dispatched.2", "a reason")
    mark(index, "livekit-agents", "deprecated", "a reason")
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = {".json": "application/vnd.pypi.simple.v1+json"}  # noqa: RUF012

        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(index))

        def send_head(self) -> Any:
            self.path += "index.json" if self.path.endswith("/") else ""
            return super().send_head()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/simple/"
        try:
            if tool == "pip":
                command = [sys.executable, "-m", "pip", "--isolated", "--no-cache-dir"]
                command += ["download", "--no-deps", "-d", str(tmp_path), "--index-url", url]
                found = [_said([*command, "livekit-agents"])]
            else:
                command = [uv(), "pip", "install", "--dry-run", "--no-config", "--no-deps"]
                command += ["--target", str(tmp_path), "--python", sys.executable]
                command += ["--default-index", url, "--cache-dir", str(tmp_path / "cache")]
                command += ["livekit-agents", "--exclude-newer"]
                found = [_said([*command, f"2026-11-{day}"]) for day in (22, 21)]
        finally:
            server.shutdown()
            thread.join()
    assert "/simple/livekit-agents/index.json" in asked
    assert "1.8.9+dispatched.1" in found.pop(0)
    assert all("No solution found" in said for said in found)


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_the_root_links_to_every_project(index: Path) -> None:
    root = (index / "simple" / "index.html").read_text()
    assert root.count("<a href=") == 2
    assert '<a href="livekit-agents/">livekit-agents</a>' in root
    assert (index / "simple" / "livekit-plugins-openai" / "index.html").is_file()


def test_html_carries_both_spellings_of_the_metadata_attribute() -> None:
    page = rendered([ENTRY])["simple/livekit-agents/index.html"].decode()
    assert f'data-core-metadata="sha256={"b" * 64}"' in page
    assert f'data-dist-info-metadata="sha256={"b" * 64}"' in page
    assert 'data-requires-python="&lt;3.15,&gt;=3.10"' in page
    assert '<meta name="pypi:repository-version" content="1.4">' in page
    assert urljoin("https://host/i/simple/livekit-agents/", ENTRY.url) == (
        "https://host/i/files/livekit_agents-1.8.9%2Bdispatched.1-py3-none-any.whl"
    )


def test_html_is_escaped_whatever_the_list_says() -> None:
    nasty = '"><script>alert(1)</script>'
    page = rendered([replace(ENTRY, requires_python=nasty)])["simple/livekit-agents/index.html"]
    assert b"<script>" not in page
    read = ProjectPage.from_html("livekit-agents", page.decode())
    assert [package.requires_python for package in read.packages] == [nasty]


def test_no_requires_python_is_left_out() -> None:
    pages = rendered([replace(ENTRY, requires_python="")])
    assert b"requires-python" not in pages["simple/livekit-agents/index.html"]
    assert b"requires-python" not in pages["simple/livekit-agents/index.json"]


def test_pages_depend_on_the_set_of_files_only() -> None:
    others = [replace(ENTRY, filename=f"a-{v}.whl", version=v) for v in ("1.10", "1.9", "2.0b1")]
    assert rendered([ENTRY, *others]) == rendered([*reversed(others), ENTRY])
    page = json.loads(rendered([ENTRY, *others])["simple/livekit-agents/index.json"])
    assert page["versions"] == ["1.8.9+dispatched.1", "1.9", "1.10", "2.0b1"]


def test_the_list_tells_everything_and_grows_at_its_end(tmp_path: Path) -> None:
    index = tmp_path / "index"
    first = make_pair(tmp_path / "1", "+dispatched.1")
    publish_wheels(first, proof_of(first), index, now=MOMENT)
    before = (index / "index.jsonl").read_bytes()
    second = [make_pair(tmp_path / "2", "+dispatched.2")[0], first[1]]
    publish_wheels(second, proof_of(second), index)
    after = (index / "index.jsonl").read_bytes()
    assert after.startswith(before)
    assert len(lines_of(index / "index.jsonl")) == 3
    assert lines_of(index / "index.jsonl")[0] == {
        "filename": first[0].name,
        "project": "livekit-agents",
        "version": "1.8.9+dispatched.1",
        "sha256": sha256_of(first[0]),
        "size": first[0].stat().st_size,
        "upload_time": "2026-11-22T15:00:00Z",
        "requires_python": "<3.15,>=3.10",
        "metadata_sha256": sha256_of(index / "files" / f"{first[0].name}.metadata"),
        "verdict_sha256": sha256(proof_of(first).to_json().encode()),
    }
    proofs = sorted(path.name for path in (index / "verdicts").iterdir())
    assert proofs == ["1.8.9+dispatched.1.json", "1.8.9+dispatched.2.json"]
    assert (index / "verdicts" / proofs[0]).read_text() == proof_of(first).to_json()


@pytest.mark.parametrize(
    "line",
    [
        "junk",
        "{}",
        "[]",
        json.dumps({**vars(ENTRY), "more": 1}),
        json.dumps({**vars(ENTRY), "size": "7"}),
        json.dumps({**vars(ENTRY), "filename": "../../etc/passwd"}),
        json.dumps({**vars(ENTRY), "project": "../x"}),
        json.dumps({**vars(ENTRY), "version": "new"}),
        f"{json.dumps(vars(ENTRY))}\n{json.dumps(vars(ENTRY))}",
        json.dumps({**vars(ENTRY), "sha256": "A" * 64}),
        json.dumps({**vars(ENTRY), "verdict_sha256": ""}),
        json.dumps({"action": "delete", "filename": ENTRY.filename}),
        json.dumps({"action": "yank", "filename": "none.whl", "reason": "a", "time": "b"}),
        json.dumps({"action": "yank", "filename": 7, "reason": "a", "time": "b"}),
        json.dumps({"action": "status", "project": "a", "status": "b", "reason": "", "time": ""}),
        json.dumps(
            {"action": "status", "project": "a/", "status": "active", "reason": "", "time": ""}
        ),
        "[" * 99_999,
        '{"action": [], "a": 1}',
    ],
)
def test_a_list_that_is_not_ours_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "index.jsonl").write_text(f"{line}\n")
    with pytest.raises(IndexConflict, match=r"index\.jsonl"):
        read_list(tmp_path)


def test_a_list_that_was_cut_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.jsonl").write_text(json.dumps(vars(ENTRY)))
    with pytest.raises(IndexConflict, match="cut off"):
        read_list(tmp_path)


def test_a_list_comes_back(tmp_path: Path) -> None:
    assert read_list(tmp_path) == {}
    (tmp_path / "index.jsonl").write_text(json.dumps(vars(ENTRY)) + "\n")
    assert read_list(tmp_path) == {ENTRY.filename: ENTRY}


def test_consume_lines_are_exact_and_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "an index & more"
    lines = consume_lines(folder, proof_of(make_pair(tmp_path, "+dispatched.1")))
    url = folder.as_uri()
    where = [f"{url}/simple/", "--constraint", f"{url}/constraints/1.8.9-dispatched.1.txt"]
    pins = ["livekit-agents==1.8.9+dispatched.1", "livekit-plugins-openai==1.8.9"]
    assert "%20" in url
    assert shlex.split(lines.pip) == ["pip", "install", "--extra-index-url", *where, *pins]
    assert shlex.split(lines.uv) == ["uv", "pip", "install", "--index", *where, *pins]


def test_consume_lines_name_the_companion_that_is_there(tmp_path: Path) -> None:
    wheels, folder = make_pair(tmp_path, "+dispatched.12"), tmp_path / "an index"
    proof = proof_of(wheels)
    publish_wheels(wheels, proof, folder)
    assert "livekit-dispatched" not in consume_lines(folder, proof).pip
    other = make_metapackage(wheels, release="1.8.9", revision=2, series="5e" * 32)
    companion = make_metapackage(wheels, release="1.8.9", revision=12, series="5e" * 32)
    publish_wheels(wheels, proof, folder, generated=[other, companion])
    lines = consume_lines(folder, proof)
    assert shlex.split(lines.uv)[-1] == "livekit-dispatched==1.8.9.12"
    link = (folder / "files" / companion.filename).as_uri()
    digest = hashlib.sha256(companion.data).hexdigest()
    assert shlex.split(lines.pip)[-1] == f"livekit-dispatched @ {link}#sha256={digest}"
    assert "livekit-agents" not in lines.pip + lines.uv


def test_one_pin_for_all_wheels_of_a_platform_set(tmp_path: Path) -> None:
    names = [f"livekit_agents-2.0+d.1-cp310-abi3-{p}.whl" for p in ("win_amd64", "linux_x86_64")]
    verdict = replace(proof_of(make_pair(tmp_path), "2.0"), wheels=dict.fromkeys(names, ""))
    assert consume_lines(tmp_path, verdict).uv.count("livekit-agents==2.0+d.1") == 1


def test_the_dependencies_of_the_proof_are_constraints(tmp_path: Path) -> None:
    wheels = make_pair(tmp_path, "+dispatched.1")
    verdict = replace(proof_of(wheels), dependencies={"openai": "2.28.0", "aiohttp": "3.13.0"})
    index = tmp_path / "index"
    publish_wheels(wheels, verdict, index)
    published = index / "constraints" / "1.8.9-dispatched.1.txt"
    pair = ["livekit-agents==1.8.9+dispatched.1", "livekit-plugins-openai==1.8.9"]
    known = ["aiohttp==3.13.0", *pair, "openai==2.28.0"]
    assert published.read_text().splitlines()[1:] == known
    published.unlink()
    publish_wheels(wheels, verdict, index)
    assert published.exists()


def test_a_wheel_without_requires_python_is_published(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "livekit-agents", "1.0+dispatched.1", requires_python="")
    publish_wheels([wheel], proof_of([wheel], "1.0"), tmp_path / "index")
    assert read_list(tmp_path / "index")[wheel.name].requires_python == ""
