"""A simple index's pages (PEP 503, 629, 658, 691, 700, 714) as a function of its files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from packaging.version import Version

API_VERSION = "1.1"


@dataclass(frozen=True)
class Listed:
    """One file of the index, as its list tells it.

    ``project`` is normalised, ``size`` is in bytes, ``upload_time`` is UTC to the second
    (``2026-11-22T15:00:00Z``), ``requires_python`` is empty where the wheel admits every Python.
    """

    filename: str
    project: str
    version: str
    sha256: str
    size: int
    upload_time: str
    requires_python: str
    metadata_sha256: str
    verdict_sha256: str

    @property
    def url(self) -> str:
        """Relative to the project's page; ``+`` is ``%2B``, which some servers insist on."""
        return f"../../files/{quote(self.filename)}"


def render(files: Iterable[Listed]) -> dict[str, bytes]:
    """Every page by its path below the index: projects first, the root last."""
    ordered = sorted(files, key=lambda f: (f.project, Version(f.version), f.filename))
    projects = {name: list(group) for name, group in groupby(ordered, lambda f: f.project)}
    pages = {}
    for project, group in projects.items():
        folder = f"simple/{project}"
        pages[f"{folder}/index.html"] = _html("project.html", project=project, files=group)
        pages[f"{folder}/index.json"] = _json(_project(project, group))
    names = [{"name": project} for project in projects]
    pages["simple/index.html"] = _html("root.html", projects=list(projects))
    pages["simple/index.json"] = _json({"projects": names})
    return pages


def _project(project: str, files: Sequence[Listed]) -> dict[str, Any]:
    versions = list(dict.fromkeys(file.version for file in files))
    return {"name": project, "versions": versions, "files": [_file(file) for file in files]}


def _file(file: Listed) -> dict[str, Any]:
    metadata = {"sha256": file.metadata_sha256}
    entry: dict[str, Any] = {
        "filename": file.filename,
        "url": file.url,
        "hashes": {"sha256": file.sha256},
        "core-metadata": metadata,
        "dist-info-metadata": metadata,
        "size": file.size,
        "upload-time": file.upload_time,
    }
    if file.requires_python:
        entry["requires-python"] = file.requires_python
    return entry


def _json(document: dict[str, Any]) -> bytes:
    whole = {"meta": {"api-version": API_VERSION}, **document}
    return (json.dumps(whole, indent=1, sort_keys=True) + "\n").encode()


def _html(template: str, **values: object) -> bytes:
    page: str = _templates().get_template(template).render(**values)
    return page.encode()


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
