"""Small wheels, patches, series and a package index on loopback, for the toolkit's tests."""

from __future__ import annotations

import base64
import csv
import difflib
import hashlib
import io
import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

AGENTS, PLUGIN = "livekit-agents", "livekit-plugins-openai"
TREES = {AGENTS: "livekit-agents", PLUGIN: f"livekit-plugins/{PLUGIN}"}
VERSION_FILES = {
    AGENTS: "livekit/agents/version.py",
    PLUGIN: "livekit/plugins/openai/version.py",
}
ENGINE = "livekit/agents/engine.py"
REALTIME = "livekit/plugins/openai/realtime.py"
ENGINE_PATH = f"{TREES[AGENTS]}/{ENGINE}"
REALTIME_PATH = f"{TREES[PLUGIN]}/{REALTIME}"

FIELDS = {
    "Origin": "vendor",
    "Forwarded": "https://example.org/pull/1",
    "Last-Update": "2026-11-22",
}


def source(**changes: str) -> str:
    """A module of 40 assignments; ``line7="…"`` replaces the seventh."""
    text = [changes.get(f"line{number}", f"value_{number} = {number}") for number in range(1, 41)]
    return "\n".join(text) + "\n"


def members_of(name: str, version: str) -> dict[str, bytes]:
    """A distribution's files: a version file, a module to patch, and one to leave alone."""
    package = VERSION_FILES[name].rpartition("/")[0]
    return {
        f"{package}/__init__.py": b"",
        VERSION_FILES[name]: f'# comment\n__version__ = "{version}"\n'.encode(),
        ENGINE if name == AGENTS else REALTIME: source().encode(),
        f"{package}/data.bin": bytes(range(256)) * 8,
    }


def requirement_of(name: str, version: str) -> str:
    """The partner that each of the two requires, in the official wheels' words."""
    if name == AGENTS:
        return f"{PLUGIN}>={version}; extra == 'openai'"
    return f"{AGENTS}[codecs,images]>={version}"


def record_row(path: str, content: bytes) -> tuple[str, str, str]:
    """A row of RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return path, f"sha256={digest}", str(len(content))


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    members: Mapping[str, bytes] | None = None,
    requires: Sequence[str] | None = None,
    tag: str = "py3-none-any",
    data: Mapping[str, bytes] | None = None,
) -> Path:
    """A sound wheel as hatchling would write it; ``data`` goes below its ``.data`` folder."""
    stem = f"{name.replace('-', '_')}-{version}"
    needs = [requirement_of(name, version)] if requires is None else requires
    contents = dict(members if members is not None else members_of(name, version))
    contents |= {f"{stem}.data/{path}": content for path, content in (data or {}).items()}
    contents |= {
        f"{stem}.dist-info/METADATA": (
            f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
            + "".join(f"Requires-Dist: {need}\n" for need in needs)
            + f"\nVersion: {version}\nRequires-Dist: {needs[0] if needs else '-'}\n"
        ).encode(),
        f"{stem}.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
            + "".join(f"Tag: {one}\n" for one in expand(tag))
        ).encode(),
    }
    return write_archive(folder / f"{stem}-{tag}.whl", contents, f"{stem}.dist-info/RECORD")


def expand(tag: str) -> list[str]:
    """The single tags of a compressed set."""
    python, abi, platform = (part.split(".") for part in tag.split("-"))
    return [f"{p}-{a}-{f}" for p in python for a in abi for f in platform]


def write_archive(path: Path, contents: Mapping[str, bytes], record: str | None) -> Path:
    """Zip ``contents`` with fixed dates, deflated, and a RECORD of them if one is named."""
    contents = dict(contents)
    if record is not None:
        table = io.StringIO(newline="")
        rows = [record_row(name, content) for name, content in contents.items()]
        csv.writer(table, lineterminator="\n").writerows([*rows, (record, "", "")])
        contents[record] = table.getvalue().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            info = zipfile.ZipInfo(name, (2020, 2, 2, 0, 0, 0))
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def contents_of(path: Path) -> dict[str, bytes]:
    """What a wheel holds, by member."""
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def diff(path: str, old: str, new: str, context: int = 3) -> str:
    """git's diff of one file; an empty ``old`` is a new file."""
    sides = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        f"a/{path}" if old else "/dev/null",
        f"b/{path}",
        n=context,
    )
    head = f"diff --git a/{path} b/{path}\n" + ("" if old else "new file mode 100644\n")
    return head + "".join(sides)


def mail(
    *diffs: str, subject: str = "Guard the calls", fields: Mapping[str, str] | None = None
) -> str:
    """A patch file as `git format-patch` writes it, with DEP-3 fields in its body."""
    lines = "".join(f"{k}: {v}\n" for k, v in (FIELDS if fields is None else fields).items())
    return (
        f"From {'0' * 40} Mon Sep 17 00:00:00 2001\n"
        "From: A Maintainer <maintainer@example.org>\n"
        "Date: Sun, 22 Nov 2026 12:00:00 +0000\n"
        f"Subject: [PATCH] {subject}\n\nWhy it is so.\n\n{lines}---\n\n" + "".join(diffs)
    )


def write_series(
    folder: Path,
    patches: Mapping[str, Mapping[str, str]],
    *,
    releases: str = ">=1.0",
    extra: str = "",
) -> Path:
    """A series: ``patches`` maps a patch's name to its files, by release."""
    folder.mkdir(parents=True, exist_ok=True)
    why = 'why = "w"\nupstream = "https://example.org/1"\ndrop-when = "d"\n'
    text = f'[series]\nname = "dispatched"\n{why}{extra}'
    for name, tree in TREES.items():
        text += f'[[distribution]]\nname = "{name}"\ntree = "{tree}"\n'
        text += f'version-file = "{VERSION_FILES[name]}"\n'
    for name, variants in patches.items():
        text += f'[[patch]]\nname = "{name}"\nreleases = "{releases}"\n{why}'
        for release, content in variants.items():
            (folder / name).mkdir(exist_ok=True)
            (folder / name / f"{release}.patch").write_bytes(content.encode())
    (folder / "series.toml").write_text(text, "utf-8")
    return folder


def engine_patch(**changes: str) -> str:
    """A patch of the agents' module: the lines of :func:`source` that change."""
    return mail(diff(ENGINE_PATH, source(), source(**changes)))


@dataclass
class Index:
    """A JSON index on loopback. ``files`` by name; ``faults`` make a request go wrong.

    A fault is a status code, or ``cut`` (close in mid-body), ``once`` (cut the first time only)
    or other bytes to send. ``edit`` changes a page before it is sent. ``credentials``
    (NAME:PASSWORD) are demanded; ``given`` are the headers that came. ``busy`` are a status and a
    Retry-After for each of the next answers.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, datetime] = field(default_factory=dict)
    yanked: dict[str, str] = field(default_factory=dict)
    faults: dict[str, int | str | bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    edit: Callable[[dict[str, Any]], object] = lambda page: None
    credentials: str = ""
    given: list[str] = field(default_factory=list)
    busy: list[tuple[int, str]] = field(default_factory=list)

    def add(self, path: Path, when: datetime = datetime(2026, 1, 2, tzinfo=UTC)) -> None:
        """Offer a wheel."""
        self.files[path.name] = path.read_bytes()
        self.uploads[path.name] = when

    def page(self, project: str) -> bytes:
        """The project's PEP 691 page."""
        rows = []
        for name, content in self.files.items():
            if re.sub(r"[-_.]+", "-", name.split("-")[0]) == project:
                rows.append(
                    {
                        "filename": name,
                        "url": f"../../files/{name}",
                        "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
                        "size": len(content),
                        "upload-time": self.uploads[name].isoformat().replace("+00:00", "Z"),
                        "requires-python": ">=3.10",
                        "yanked": self.yanked.get(name, False),
                    }
                )
        page = {"meta": {"api-version": "1.1"}, "name": project, "files": rows, "versions": []}
        self.edit(page)
        return json.dumps(page).encode()

    def answer(self, path: str) -> tuple[int, str, bytes, bool]:
        """Status, content type, body, and whether to cut the body off."""
        self.asked.append(path)
        last = path.rstrip("/").rpartition("/")[2]
        fault = self.faults.get(last)
        if fault == "once":
            del self.faults[last]
        if isinstance(fault, int):
            return fault, "text/plain", b"", False
        if "/files/" in path:
            kind, body = "application/octet-stream", self.files.get(last, b"")
        else:
            kind, body = "application/vnd.pypi.simple.v1+json", self.page(last)
        found = last in self.files or b'"filename"' in body
        body = fault if isinstance(fault, bytes) else body
        return 200 if found else 404, kind, body, fault in ("cut", "once")


@contextmanager
def serving(index: Index) -> Iterator[Index]:
    """Serve ``index`` on a free port of 127.0.0.1 until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body, cut = index.answer(self.path)
            given = self.headers.get("Authorization", "")
            index.given.append(given)
            expected = base64.b64encode(index.credentials.encode()).decode()
            if index.credentials and given != f"Basic {expected}":
                status, body = 401, b""
            wait = ""
            if index.busy:
                (status, wait), body = index.busy.pop(0), b""
            self.send_response(status)
            if wait:
                self.send_header("Retry-After", wait)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = True

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler) as url:
        index.url = f"{url}/simple/"
        yield index


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 until the block ends; its URL, without a slash."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
