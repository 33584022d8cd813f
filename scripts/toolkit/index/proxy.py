"""One index URL for clients: the published index in front, the public one behind it.

simple-repository-server speaks the protocol (PEP 503, 658, 691, 700). A project comes whole from
one of the two, never from both: what the published index has, and all that the series patches,
the public one is never asked for. So a client gets what was proved, or an error.
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

# Pages that are remembered for the files that clients ask for next.
REMEMBERED = 256
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
        if project_name not in {one.name for one in (await self.get_project_list()).projects}:
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
    """What was asked for is at ``url``."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class UpstreamIndex(HttpRepository):
    """The index at ``url``, but for the projects named ``never`` (normalised).

    Clients are sent there for its pages; or with ``stream``, they are read and passed on, which
    takes a slow client many times as long for projects with thousands of files.
    """

    def __init__(
        self, url: str, client: httpx.AsyncClient, never: frozenset[str], *, stream: bool
    ) -> None:
        super().__init__(url, client)
        self.url = url if url.endswith("/") else f"{url}/"
        self.never = never
        self.stream = stream
        self._pages: OrderedDict[str, model.ProjectDetail] = OrderedDict()

    async def get_project_list(
        self, *, request_context: Context | None = None
    ) -> model.ProjectList:
        # no installer reads it, and that of PyPI has more than half a million names
        return model.ProjectList(model.Meta("1.0"), frozenset())

    async def get_project_page(
        self, project_name: str, *, request_context: Context | None = None
    ) -> model.ProjectDetail:
        name = canonicalize_name(project_name)
        if name in self.never:
            raise errors.PackageNotFoundError(name)
        if not self.stream:
            raise Redirected(f"{self.url}{name}/")
        page = self._pages[name] = await super().get_project_page(name)
        self._pages.move_to_end(name)
        if len(self._pages) > REMEMBERED:
            self._pages.popitem(last=False)
        return page

    async def get_resource(
        self, project_name: str, resource_name: str, *, request_context: Context | None = None
    ) -> model.Resource:
        if not self.stream:
            raise errors.PackageNotFoundError(project_name)
        # the page that named it is enough: the library would ask for it, and the file, once more
        known = self._pages.get(canonicalize_name(project_name))
        url = known and _url_of(known, resource_name)
        url = url or _url_of(await self.get_project_page(project_name), resource_name)
        if url is None:
            raise errors.ResourceUnavailable(resource_name)
        return model.HttpResource(url)


def endpoint_of(named: str | None) -> str:
    """The simple index behind: ``named``, LIVEKIT_DISPATCHED_PYPI, or pypi-simple's own default."""
    return named or os.environ.get(ENDPOINT_VARIABLE) or PYPI_SIMPLE_ENDPOINT


def reserved(series: Series) -> frozenset[str]:
    """The projects that must not come from behind even if there is no patched one yet."""
    return frozenset({PROJECT, *(canonicalize_name(one.name) for one in series.distributions)})


def app_of(folder: Path, url: str, never: frozenset[str], *, stream: bool = False) -> FastAPI:
    """What serves ``/simple/``. Clients are sent behind for what is there, or with ``stream``
    get it from here; then an index behind that fails is a 502, not a project that is not there.
    An address with a password is never sent to clients: it implies ``stream``.
    """
    stream = stream or "@" in urlsplit(url).netloc

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with httpx.AsyncClient(follow_redirects=True) as client:
            both = [LocalIndex(folder), UpstreamIndex(url, client, never, stream=stream)]
            repository = PrioritySelectedProjectsRepository(both)
            app.include_router(
                build_router(repository, http_client=client, stream_http_resources=stream)
            )
            yield

    app = FastAPI(openapi_url=None, lifespan=lifespan)

    @app.exception_handler(Redirected)
    async def elsewhere(request: Request, error: Redirected) -> RedirectResponse:
        return RedirectResponse(error.url, status_code=302)

    @app.exception_handler(errors.PackageNotFoundError)
    async def unknown(request: Request, error: Exception) -> PlainTextResponse:
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
