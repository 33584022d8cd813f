"""A proxy with one index URL: the local index first, an upstream index (PyPI) as fallback.

simple-repository-server implements the protocol (PEP 503, 658, 691, 700). A project comes whole
from one of the two, never from both: what the local index has, and all that the series patches,
is never requested from upstream. So a client gets what was proved, or an error.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, RedirectResponse
from packaging.utils import canonicalize_name
from pypi_simple import PYPI_SIMPLE_ENDPOINT
from simple_repository import SimpleRepository, errors, model, parser
from simple_repository.components.http import HttpRepository
from simple_repository.components.priority_selected import PrioritySelectedProjectsRepository
from simple_repository_server.routers.simple import build_router

from toolkit.index.metapackage import PROJECT
from toolkit.patches.series import Series
from toolkit.releases.pypi import ENDPOINT_VARIABLE

# Upstream pages to keep for the files that clients request next.
CACHED_PAGES = 256
Context = model.RequestContext


class LocalIndex(SimpleRepository):
    """The index at ``folder``, read at each request: a publication shows at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def get_project_list(
        self, *, request_context: Context | None = None
    ) -> model.ProjectList:
        text = (self.folder / "simple" / "index.json").read_text(encoding="utf-8")
        return parser.parse_json_project_list(text)

    async def get_project_page(
        self, project_name: str, *, request_context: Context | None = None
    ) -> model.ProjectDetail:
        projects = (await self.get_project_list()).projects
        if project_name not in {project.name for project in projects}:
            raise errors.PackageNotFoundError(project_name)
        path = self.folder / "simple" / project_name / "index.json"
        page = parser.parse_json_project_page(path.read_text(encoding="utf-8"))
        return replace(page, files=tuple(_quoted(file) for file in page.files))

    async def get_resource(
        self, project_name: str, resource_name: str, *, request_context: Context | None = None
    ) -> model.Resource:
        page = await self.get_project_page(project_name)
        wheels = {file.filename for file in page.files}
        if resource_name.removesuffix(".metadata") not in wheels:
            raise errors.ResourceUnavailable(resource_name)
        return model.LocalResource(self.folder / "files" / resource_name)


class Redirected(Exception):
    """Send the client to ``url``."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class UpstreamIndex(HttpRepository):
    """The index at ``url``, without the projects named ``reserved`` (normalised).

    Clients are redirected there. With ``stream`` its pages are read and passed on, which takes a
    slow client many times as long for projects with thousands of files.
    """

    def __init__(
        self, url: str, client: httpx.AsyncClient, reserved: frozenset[str], *, stream: bool
    ) -> None:
        super().__init__(url, client)
        self.url = url if url.endswith("/") else f"{url}/"
        self.reserved = reserved
        self.stream = stream
        self._pages: OrderedDict[str, model.ProjectDetail] = OrderedDict()

    async def get_project_list(
        self, *, request_context: Context | None = None
    ) -> model.ProjectList:
        # no installer reads it, and PyPI's has more than half a million names
        return model.ProjectList(model.Meta("1.0"), frozenset())

    async def get_project_page(
        self, project_name: str, *, request_context: Context | None = None
    ) -> model.ProjectDetail:
        name = canonicalize_name(project_name)
        if name in self.reserved:
            raise errors.PackageNotFoundError(name)
        if not self.stream:
            raise Redirected(f"{self.url}{name}/")
        page = self._pages[name] = await super().get_project_page(name)
        self._pages.move_to_end(name)
        if len(self._pages) > CACHED_PAGES:
            self._pages.popitem(last=False)
        return page

    async def get_resource(
        self, project_name: str, resource_name: str, *, request_context: Context | None = None
    ) -> model.Resource:
        if not self.stream:
            raise errors.PackageNotFoundError(project_name)
        # the cached page is enough: the library would request it, and the file, once more
        page = self._pages.get(canonicalize_name(project_name))
        url = page and _url_of(page, resource_name)
        url = url or _url_of(await self.get_project_page(project_name), resource_name)
        if url is None:
            raise errors.ResourceUnavailable(resource_name)
        return model.HttpResource(url)


def upstream_endpoint(url: str | None) -> str:
    """Return ``url``, LIVEKIT_DISPATCHED_PYPI, or pypi-simple's own default."""
    return url or os.environ.get(ENDPOINT_VARIABLE) or PYPI_SIMPLE_ENDPOINT


def reserved_projects(series: Series) -> frozenset[str]:
    """Return the projects never taken from upstream, even if no patched one is published yet."""
    return frozenset({PROJECT, *(canonicalize_name(d.name) for d in series.distributions)})


def make_app(folder: Path, url: str, reserved: frozenset[str], *, stream: bool = False) -> FastAPI:
    """Make the application that serves ``/simple/`` from the index at ``folder`` and from ``url``.

    Clients are redirected upstream, or with ``stream`` get its files from here; a failing
    upstream is then a 502, not a missing project. ``stream`` is implied by an address with a
    password, which no client may see.
    """
    # the two indexes, the local one first
    stream = stream or "@" in urlsplit(url).netloc

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with httpx.AsyncClient(follow_redirects=True) as client:
            repositories = [LocalIndex(folder), UpstreamIndex(url, client, reserved, stream=stream)]
            repository = PrioritySelectedProjectsRepository(repositories)
            app.include_router(
                build_router(repository, http_client=client, stream_http_resources=stream)
            )
            yield

    app = FastAPI(openapi_url=None, lifespan=lifespan)

    # what becomes of a request that neither answers
    @app.exception_handler(Redirected)
    async def redirect(request: Request, error: Redirected) -> RedirectResponse:
        return RedirectResponse(error.url, status_code=302)

    @app.exception_handler(errors.PackageNotFoundError)
    async def not_found(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("no such project", status_code=404)

    @app.exception_handler(errors.SourceRepositoryUnavailable)
    async def unavailable(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("the index behind does not answer", status_code=502)

    return app


def _url_of(page: model.ProjectDetail, resource: str) -> str | None:
    for file in page.files:
        if resource == file.filename:
            return file.url
        if resource == f"{file.filename}.metadata" and file.dist_info_metadata:
            return f"{file.url}.metadata"
    return None


def _quoted(file: model.File) -> model.File:
    # the library puts the reason into HTML as it is
    if isinstance(file.yanked, str):
        return replace(file, yanked=file.yanked.translate({ord(c): "'" for c in '"<>&'}))
    return file
