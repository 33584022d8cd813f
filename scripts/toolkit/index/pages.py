"""Render a simple index's pages from its ledger.

PEP 503 (HTML), 691 (JSON), 629 and 700 (API version, sizes and times), 592 (yanks), 658 and 714
(metadata beside a wheel), 792 (project status). Left out is what would not be true:
``tracks`` and ``alternate-locations`` (PEP 708) allow clients to mix two indexes under one name,
and mixing with the public one loses the fix; ``provenance`` (PEP 740) is for signed attestations,
and the statements beside these wheels are not signed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from toolkit.index.ledger import QUARANTINED, Ledger, Listed

if TYPE_CHECKING:
    import jinja2

API_VERSION = "1.4"


def render(ledger: Ledger) -> dict[str, bytes]:
    """Return every page by its path below the index, in the order in which they should appear.

    A project whose newest file stands later in the ledger comes later, and the root comes last:
    no page shows a file before those that were listed before it.
    """
    files = list(ledger.files.values())
    last = {file.project: number for number, file in enumerate(files)}
    ordered = sorted(files, key=lambda f: (f.project, Version(f.version), f.filename))
    projects = {name: list(group) for name, group in groupby(ordered, lambda f: f.project)}
    pages = {}
    for project in sorted(projects, key=last.__getitem__):
        html, document = _project(project, projects[project], ledger)
        pages[f"simple/{project}/index.html"] = html
        pages[f"simple/{project}/index.json"] = document
    names = [{"name": project} for project in projects]
    pages["simple/index.html"] = _html("root.html", projects=list(projects))
    pages["simple/index.json"] = _json({"projects": names})
    return pages


def _project(project: str, files: Sequence[Listed], ledger: Ledger) -> tuple[bytes, bytes]:
    mark = ledger.statuses.get(project)
    # PEP 792: a quarantined project offers no files
    offered = [] if mark and mark.status == QUARANTINED else files
    document: dict[str, Any] = {
        "name": project,
        "versions": list(dict.fromkeys(file.version for file in files)),
        "files": [_file(file, ledger.yanked.get(file.filename)) for file in offered],
    }
    if mark:
        reason = {"reason": mark.reason} if mark.reason else {}
        document["project-status"] = {"status": mark.status, **reason}
    html = _html("project.html", project=project, files=offered, yanked=ledger.yanked, mark=mark)
    return html, _json(document)


def _file(file: Listed, yanked: str | None) -> dict[str, Any]:
    metadata = {"sha256": file.metadata_sha256}
    entry: dict[str, Any] = {
        "filename": file.filename,
        "url": file.url,
        "hashes": {"sha256": file.sha256},
        "core-metadata": metadata,
        "dist-info-metadata": metadata,
        "size": file.size,
        "upload-time": file.upload_time,
        "yanked": False if yanked is None else yanked,
    }
    if file.requires_python:
        entry["requires-python"] = file.requires_python
    return entry


def _json(document: dict[str, Any]) -> bytes:
    # without indentation, which would take the encoder that is written in Python
    whole = {"meta": {"api-version": API_VERSION}, **document}
    return (json.dumps(whole, sort_keys=True) + "\n").encode()


def _html(template: str, **values: object) -> bytes:
    page: str = _templates().get_template(template).render(version=API_VERSION, **values)
    return page.encode()


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
