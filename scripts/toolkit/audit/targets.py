"""Finding the wheels in what `audit` is pointed at: a file, a folder, an index, a URL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from toolkit.audit.auditor import AuditedWheel, read_wheel
from toolkit.index.provenance import SUFFIX
from toolkit.util.addresses import for_same_server, index_address
from toolkit.util.errors import AuditFailed, Unreachable
from toolkit.util.http import (
    TIMEOUT,
    get_body,
    open_session,
    request_errors,
    status_of,
    step_after_failure,
)

if TYPE_CHECKING:
    from pypi_simple import ProjectPage

    from toolkit.util.http import Session

# No wheel of ours is near this size, in bytes.
_MOST = 1 << 28
Read = Callable[[str], bytes | None]


@dataclass(frozen=True)
class Found:
    """What there is to audit; ``others`` are projects of the index that are none of ours."""

    subjects: tuple[AuditedWheel, ...]
    others: int = 0


def is_url(target: str) -> bool:
    """Whether ``target`` is the address of an index, and no path."""
    return target.startswith(("http://", "https://"))


def find_wheels(target: str, projects: Sequence[str]) -> Found:
    """The wheels of ``projects`` in a wheel file, a folder of wheels, an index folder or a URL.

    Raises AuditFailed if there are none, Unreachable.
    """
    if is_url(target):
        found = _served(target, projects)
    else:
        path = Path(target)
        home = path / "simple" if (path / "simple").is_dir() else path
        if path.is_file():
            return Found((read_wheel(path),))
        if (home / "index.html").is_file():
            found = _folder(home, projects)
        else:
            found = Found(tuple(read_wheel(wheel) for wheel in sorted(path.glob("*.whl"))))
    if not found.subjects:
        raise AuditFailed(
            f"there is nothing to audit in {target}",
            next_step="name a wheel, an index (its folder or URL), or an environment",
        )
    return found


def _folder(simple: Path, projects: Sequence[str]) -> Found:
    """An index as files, which pip and uv take by a file URL; each page in both its forms."""
    from pypi_simple import IndexPage, UnsupportedRepoVersionError

    subjects: list[AuditedWheel] = []
    try:
        root = IndexPage.from_html((simple / "index.html").read_bytes())
        for project in (name for name in projects if name in root.projects):
            page, told = _page(simple / project, project)
            subjects += _listed(page, _reader(simple.resolve().parent), told)
    except (OSError, ValueError, RecursionError, UnsupportedRepoVersionError) as error:
        raise AuditFailed(
            f"{simple} is no simple index: {error}", next_step="see who changed it; do not use it"
        ) from error
    return Found(tuple(subjects), len(set(root.projects) - set(projects)))


def _page(folder: Path, project: str) -> tuple[ProjectPage, tuple[str, ...]]:
    from pypi_simple import ProjectPage

    base = f"{folder.resolve().as_uri()}/"
    page = ProjectPage.from_html(project, (folder / "index.html").read_bytes(), base)
    other = folder / "index.json"
    if other.is_file():
        as_json = ProjectPage.from_json_data(json.loads(other.read_bytes()), base)
        if _rows(as_json) != _rows(page):
            return page, (f"{project}'s index.html and index.json name different files",)
    return page, ()


def _rows(page: ProjectPage) -> set[tuple[str, str, str]]:
    return {(p.filename, p.url, p.digests.get("sha256", "")) for p in page.packages}


def _reader(root: Path) -> Read:
    def read(url: str) -> bytes | None:
        path = Path(url2pathname(urlsplit(url).path)).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            return None
        return path.read_bytes()

    return read


def _served(url: str, projects: Sequence[str]) -> Found:
    from pypi_simple import NoSuchProjectError, PyPISimple, UnsupportedRepoVersionError

    url = index_address(url)
    subjects: list[AuditedWheel] = []
    with open_session() as session:

        def read(address: str) -> bytes | None:
            return _download(session, for_same_server(address, url))

        client = PyPISimple(url, session=session)
        for project in projects:
            try:
                page = client.get_project_page(project, timeout=TIMEOUT)
            except NoSuchProjectError:
                continue
            except (request_errors(), UnsupportedRepoVersionError, ValueError) as error:
                raise Unreachable(
                    f"{url} gives no usable answer: {error}", next_step=step_after_failure(error)
                ) from error
            subjects += _listed(page, read, ())
    return Found(tuple(subjects))


def _download(session: Session, address: str) -> bytes | None:
    try:
        return get_body(session, address, _MOST)
    except request_errors() as error:
        if status_of(error) == 404:
            return None
        raise Unreachable(
            f"{address} did not arrive: {error}", next_step=step_after_failure(error)
        ) from error


def _listed(page: ProjectPage, read: Read, told: tuple[str, ...]) -> Iterator[AuditedWheel]:
    for package in page.packages:
        data = read(package.url)
        problems = [*told]
        if data is None:
            problems.append("the page links to a file that is not in the index")
        announced = package.digests.get("sha256")
        if not announced:
            problems.append("the page tells no sha256 of it")
        elif data is not None and hashlib.sha256(data).hexdigest() != announced.lower():
            problems.append(f"the page announces another file, with sha256 {announced}")
        metadata = read(package.metadata_url) if package.has_metadata else None
        if package.has_metadata and metadata is None:
            problems.append("the page announces its METADATA, which is not there")
        statement = read(f"{package.url.partition('#')[0]}{SUFFIX}")
        where = package.filename
        yield AuditedWheel(where, data or b"", where, tuple(problems), metadata, statement)
