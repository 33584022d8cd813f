"""Find the wheels in what `audit` is pointed at: a file, a folder, an index, a URL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from toolkit.index.provenance import SUFFIX
from toolkit.util.addresses import for_same_server, index_address
from toolkit.util.errors import AuditFailed, Unreachable
from toolkit.util.files import sha256
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

# No wheel of ours is near this size, in bytes.
_MOST = 1 << 28
Read = Callable[[str], bytes | None]


@dataclass(frozen=True)
class AuditedWheel:
    """A wheel to audit: its file name and bytes, and what is published beside it.

    ``label`` tells a reader which one it is. ``problems`` were found on the way to it, such as a
    link with another hash; ``metadata`` is what an index shows as its METADATA (PEP 658),
    ``statement`` its provenance, each if there is one.
    """

    name: str
    data: bytes
    label: str
    problems: tuple[str, ...] = ()
    metadata: bytes | None = None
    statement: bytes | None = None


@dataclass(frozen=True)
class Target:
    """The ``wheels`` to audit; ``others`` counts the index's projects that are not ours."""

    wheels: tuple[AuditedWheel, ...]
    others: int = 0


def is_url(target: str) -> bool:
    """Return whether ``target`` is the address of an index, and no path."""
    return target.startswith(("http://", "https://"))


def find_wheels(target: str, projects: Sequence[str]) -> Target:
    """Return the wheels of ``projects`` in a wheel file, a folder of wheels, an index or a URL.

    Raises AuditFailed if there are none, Unreachable.
    """
    result = _served(target, projects) if is_url(target) else _stored(Path(target), projects)
    if not result.wheels:
        raise AuditFailed(
            f"there is nothing to audit in {target}",
            next_step="name a wheel, an index (its folder or URL), or an environment",
        )
    return result


def _stored(path: Path, projects: Sequence[str]) -> Target:
    simple = path / "simple" if (path / "simple").is_dir() else path
    if path.is_file():
        return Target((_read_wheel(path),))
    if (simple / "index.html").is_file():
        return _folder(simple, projects)
    return Target(tuple(map(_read_wheel, sorted(path.glob("*.whl")))))


def _read_wheel(path: Path) -> AuditedWheel:
    """Read a wheel in a file, with the statement beside it."""
    beside = path.with_name(f"{path.name}{SUFFIX}")
    statement = beside.read_bytes() if beside.is_file() else None
    return AuditedWheel(path.name, path.read_bytes(), str(path), statement=statement)


def _folder(simple: Path, projects: Sequence[str]) -> Target:
    """Read an index as files, which pip and uv take by a file URL; each page in both its forms."""
    from pypi_simple import IndexPage, UnsupportedRepoVersionError

    root = simple.resolve().parent

    def read(url: str) -> bytes | None:
        path = Path(url2pathname(urlsplit(url).path)).resolve()
        return path.read_bytes() if path.is_relative_to(root) and path.is_file() else None

    wheels: list[AuditedWheel] = []
    try:
        listed = set(IndexPage.from_html((simple / "index.html").read_bytes()).projects)
        for project in (name for name in projects if name in listed):
            page, problems = _page(simple / project, project)
            wheels += _listed(page, read, problems)
    except (OSError, ValueError, RecursionError, UnsupportedRepoVersionError) as error:
        raise AuditFailed(
            f"{simple} is no simple index: {error}", next_step="see who changed it; do not use it"
        ) from error
    return Target(tuple(wheels), len(listed - set(projects)))


def _page(folder: Path, project: str) -> tuple[ProjectPage, list[str]]:
    from pypi_simple import ProjectPage

    base = f"{folder.resolve().as_uri()}/"
    page = ProjectPage.from_html(project, (folder / "index.html").read_bytes(), base)
    json_page = folder / "index.json"
    if json_page.is_file():
        other = ProjectPage.from_json_data(json.loads(json_page.read_bytes()), base)
        if _files(other) != _files(page):
            return page, [f"{project}'s index.html and index.json name different files"]
    return page, []


def _files(page: ProjectPage) -> set[tuple[str, str, str]]:
    return {(p.filename, p.url, p.digests.get("sha256", "")) for p in page.packages}


def _served(url: str, projects: Sequence[str]) -> Target:
    from pypi_simple import NoSuchProjectError, PyPISimple, UnsupportedRepoVersionError

    url = index_address(url)
    wheels: list[AuditedWheel] = []
    with open_session() as session:

        def read(link: str) -> bytes | None:
            address = for_same_server(link, url)
            try:
                return get_body(session, address, _MOST)
            except request_errors() as error:
                if status_of(error) == 404:
                    return None
                raise Unreachable(
                    f"{address} did not arrive: {error}", next_step=step_after_failure(error)
                ) from error

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
            wheels += _listed(page, read, [])
    return Target(tuple(wheels))


def _listed(page: ProjectPage, read: Read, problems: Sequence[str]) -> Iterator[AuditedWheel]:
    """Read every file that a page lists, with the contradictions in what it says of the file."""
    for package in page.packages:
        data, own = read(package.url), [*problems]
        if data is None:
            own.append("the page links to a file that is not in the index")
        announced = package.digests.get("sha256")
        if not announced:
            own.append("the page tells no sha256 of it")
        elif data is not None and sha256(data) != announced.lower():
            own.append(f"the page announces another file, with sha256 {announced}")
        metadata = read(package.metadata_url) if package.has_metadata else None
        if package.has_metadata and metadata is None:
            own.append("the page announces its METADATA, which is not there")
        statement = read(f"{package.url.partition('#')[0]}{SUFFIX}")
        name = package.filename
        yield AuditedWheel(name, data or b"", name, tuple(own), metadata, statement)
