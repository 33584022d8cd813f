"""A server that takes uploads on loopback, and fails in the ways it is told to."""

from __future__ import annotations

import base64
import email.parser
import email.policy
import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote

from packaging.utils import canonicalize_name


@dataclass
class Shop:
    """What the server holds, and what it does to the next uploads.

    ``faults``, one an upload: an HTTP status, ``cut`` (reset while it reads), ``deaf`` (takes the
    file, resets instead of answering), ``lost`` (says 200, keeps nothing), ``altered`` (keeps
    other bytes), ``faked`` (the same, and its page tells the right hash), or ``ok``.
    ``lies``: file names of which the page tells the hash that stands there.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    page_faults: list[int] = field(default_factory=list)
    lies: dict[str, str] = field(default_factory=dict)
    hashes: bool = True
    credentials: str = ""
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    shop: Shop

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        self.shop.asked.append(f"{self.command} {self.path}")

    def do_POST(self) -> None:
        shop = self.shop
        length = int(self.headers["Content-Length"])
        fault = shop.faults.pop(0) if shop.faults else "ok"
        if fault == "cut":
            self.rfile.read(length // 2)
            self.log_request("cut")
            self._reset()
            return
        body = self.rfile.read(length)
        if shop.credentials and self._given() != shop.credentials:
            self._say(401, b"who are you?")
            return
        if fault.isdigit():
            self._say(int(fault), b"a fault")
            return
        name, data = _content(self.headers["Content-Type"], body)
        if name in shop.files:
            self._say(409, b"there is one already")
            return
        if fault == "faked":
            shop.lies[name] = hashlib.sha256(data).hexdigest()
        if fault != "lost":
            shop.files[name] = data + b"more" if fault in ("altered", "faked") else data
            shop.order.append(name)
        if fault == "deaf":
            self.log_request("deaf")
            self._reset()
            return
        self._say(200, b"thank you")

    def do_GET(self) -> None:
        shop, path = self.shop, unquote(self.path)
        shop.headers.append(dict(self.headers))
        if shop.page_faults:
            self._say(shop.page_faults.pop(0), b"a fault")
            return
        if path.startswith("/files/") and path[7:] in shop.files:
            self._say(200, shop.files[path[7:]], "application/octet-stream")
            return
        projects: dict[str, list[str]] = {}
        for name in shop.files:
            projects.setdefault(canonicalize_name(name.split("-")[0]), []).append(name)
        if path == "/simple/":
            self._say(200, "".join(f"<a href='{p}/'>{p}</a>" for p in projects).encode())
        elif (project := path.removeprefix("/simple/").rstrip("/")) in projects:
            self._say(200, "".join(map(self._link, projects[project])).encode())
        else:
            self._say(404, b"nothing")

    def _link(self, name: str) -> str:
        digest = hashlib.sha256(self.shop.files[name]).hexdigest()
        fragment = f"#sha256={self.shop.lies.get(name, digest)}" if self.shop.hashes else ""
        return f"<a href='/files/{quote(name)}{fragment}'>{name}</a><br>"

    def _given(self) -> str:
        scheme, _, text = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(text).decode() if scheme == "Basic" else ""

    def _reset(self) -> None:
        self.close_connection = True
        # a close that lingers for no time sends RST
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.shutdown(socket.SHUT_RD)
        self.rfile.close()
        self.connection.close()

    def _say(self, status: int, body: bytes, kind: str = "text/html; charset=utf-8") -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="shop"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _content(kind: str, body: bytes) -> tuple[str, bytes]:
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    form = parser.parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    for part in form.iter_parts():
        name, data = part.get_filename(), part.get_payload(decode=True)
        if part.get_param("name", header="content-disposition") == "content":
            assert isinstance(name, str)
            assert isinstance(data, bytes)
            return name, data
    raise AssertionError("an upload without a file")


@contextmanager
def shop_open(**settings: Any) -> Iterator[Shop]:
    """A server with an empty shop; ``url`` is where it takes uploads."""
    shop = Shop(**settings)
    handler = type("Handler", (_Handler,), {"shop": shop})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        shop.url = f"http://127.0.0.1:{server.server_port}/"
        try:
            yield shop
        finally:
            server.shutdown()
            thread.join()
