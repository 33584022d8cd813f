"""A package index on loopback whose answers can go wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


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
