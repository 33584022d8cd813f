"""A GitHub API on loopback that replays recorded answers.

They have the shape that GitHub documents, cut down to what matters, and made-up contents.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from simple_index import listening

RECORDED = Path(__file__).parent / "recorded" / "github.json"


@dataclass
class Recorded:
    """Answers by path and query. ``asked`` are the paths with the headers that came with them.

    An answer has ``status``, ``headers``, and ``body``: JSON, or text to be sent as it is; with
    ``cut`` the connection ends half-way. A known ETag is answered with 304 and no body.
    """

    answers: dict[str, Any]
    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def everywhere(self, **answer: Any) -> None:
        """Answer every question like this from now on."""
        for path in self.answers:
            self.answers[path] = {"status": 200, "headers": {}, "body": "", **answer}

    def change(self, path: str, **fields: Any) -> None:
        """Let the document at a path say something else."""
        self.answers[path]["body"] |= fields


@contextmanager
def replaying() -> Iterator[Recorded]:
    """Serve a copy of the recorded answers on a free port of 127.0.0.1 until the block ends."""
    recorded = Recorded(copy.deepcopy(json.loads(RECORDED.read_text("utf-8"))))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            recorded.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            answer = recorded.answers.get(self.path, {"status": 404, "headers": {}, "body": {}})
            headers, body = answer["headers"], answer["body"]
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            etag = headers.get("ETag")
            fresh = etag is not None and self.headers.get("If-None-Match") == etag
            self.send_response(304 if fresh else answer["status"])
            for name, value in headers.items():
                self.send_header(name, value)
            if not fresh:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if not fresh:
                self.wfile.write(data[: len(data) // 2] if answer.get("cut") else data)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler) as recorded.url:
        yield recorded
