"""Ask PyPI which releases there are, and which plugin goes with which release."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from packaging.version import Version

from toolkit.releases.download import fetch_wheel
from toolkit.releases.project_page import FIRST, artefacts_of, wheels_on
from toolkit.releases.release import Artefact, Release
from toolkit.util.addresses import for_same_server, index_address
from toolkit.util.distributions import MAIN, PARTNER
from toolkit.util.errors import InvalidWheel, UnknownRelease, Unreachable, masked
from toolkit.util.files import not_writable_errors, write_whole
from toolkit.util.http import (
    TIMEOUT,
    TRY_AGAIN,
    open_session,
    read_body,
    request_errors,
    step_after_failure,
)
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import Workspace

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

ENDPOINT, ENDPOINT_VARIABLE = "https://pypi.org/simple/", "LIVEKIT_DISPATCHED_PYPI"
# In bytes; ten times as many as PyPI's longest pages have.
MAX_PAGE = 64 << 20
_PAGE_TYPE = "application/vnd.pypi.simple.v1+json"
USE_ANOTHER_INDEX = "name an index that does better with --pypi URL, such as PyPI's own"


class PyPI:
    """The simple index (PEP 691) that official releases come from.

    ``endpoint`` None means LIVEKIT_DISPATCHED_PYPI, or else PyPI's own address. Files
    uploaded after ``as_of`` do not exist; yanks are today's, as no index dates them. Each release
    found is kept in ``workspace``, for :func:`cached_release`. Use it in a ``with`` block.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        workspace: Workspace,
        as_of: datetime | None = None,
    ) -> None:
        self.endpoint = index_address(endpoint or os.environ.get(ENDPOINT_VARIABLE) or ENDPOINT)
        self.workspace, self.as_of = workspace, as_of
        self._session = open_session()
        self._packages: dict[str, dict[str, DistributionPackage]] = {}
        self._pages: dict[str, dict[Version, list[Artefact]]] = {}

    def __enter__(self) -> PyPI:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def newest(self) -> Version:
        """Return the newest release that is stable, not yanked, and has wheels."""
        stable = [
            version
            for version, wheels in self._page(MAIN).items()
            if not version.is_prerelease and all(wheel.yanked is None for wheel in wheels)
        ]
        if not stable:
            raise UnknownRelease(f"{self.endpoint} has no {MAIN}", next_step="check --pypi")
        return max(stable)

    def find(self, version: Version | str, *, yanked: bool = False) -> Release:
        """Return a release with its partner.

        Raises UnknownRelease, naming close matches, Unreachable, and YankedRelease unless
        ``yanked`` releases are welcome.
        """
        page = self._page(MAIN)
        try:
            wanted = version if isinstance(version, Version) else Version(version)
        except ValueError:
            wanted = None
        if wanted is None or wanted not in page:
            names = [str(existing) for existing in sorted(page, reverse=True)]
            close = difflib.get_close_matches(str(version), names, n=3) or names[:3]
            raise UnknownRelease(
                f"there is no {MAIN} {version} with wheels",
                next_step=f"did you mean {', '.join(close)}?" if close else "check --pypi",
            )
        if not yanked:
            Release(wanted, tuple(page[wanted])).refuse_yanked()
        release = self._with_partner(wanted)
        release.require_partner()
        with not_writable_errors(self.workspace.releases):
            write_whole(self.workspace.releases / f"{wanted}.json", release.to_json().encode())
        return release

    def releases(self) -> Iterator[Release]:
        """Yield every release since FIRST with its partner, or without one if there is none."""
        for version in sorted(self._page(MAIN)):
            if version >= FIRST:
                yield self._with_partner(version)

    def _with_partner(self, version: Version) -> Release:
        partner = next(self.partners(version), None)
        plugin = self._page(PARTNER)[partner] if partner else []
        return Release(version, (*self._page(MAIN)[version], *plugin))

    def with_addresses(self, release: Release) -> Release:
        """Return a release of the catalogue with the addresses of its wheels.

        Raises UnknownRelease if a wheel is not listed any more, and HashMismatch if it is another
        file.
        """
        # the catalogue has the other facts, so that a page may leave them out
        listed = {**self._listed(MAIN), **self._listed(PARTNER)}
        artefacts = []
        for artefact in release.artefacts:
            package = listed.get(artefact.filename)
            if package is None:
                raise UnknownRelease(
                    f"{self.endpoint} has no {artefact.filename} (any more)",
                    next_step="take it from another index with --pypi URL, or another release",
                )
            artefact.require_sha256(package.digests.get("sha256", artefact.sha256), self.endpoint)
            artefacts.append(replace(artefact, url=package.url))
        return replace(release, artefacts=tuple(artefacts))

    def partners(self, version: Version) -> Iterator[Version]:
        """Yield the plugin releases that may go with an agents release, the best first.

        The same version if there is one. Else those uploaded no later than that release whose
        requirement admits it, the newest first, pre-releases after finals as pip has it.
        """
        page, wheels = self._page(PARTNER), self._page(MAIN)[version]
        if version in page:
            yield version
            return
        latest = max(wheel.upload_time for wheel in wheels)
        for candidate in sorted(page, key=lambda v: (not v.is_prerelease, v), reverse=True):
            plugin = page[candidate]
            usable = candidate >= FIRST and all(a.yanked is None for a in plugin)
            in_time = max(a.upload_time for a in plugin) <= latest
            if usable and in_time and self._admits(plugin[0], version):
                yield candidate

    def _admits(self, partner: Artefact, version: Version) -> bool:
        """Return whether the requirements of a plugin's wheel admit an agents release."""
        from packaging.metadata import parse_email
        from packaging.requirements import InvalidRequirement, Requirement
        from packaging.utils import canonicalize_name

        from toolkit.wheels.wheelfile import Wheel

        wheel = Wheel.open(fetch_wheel(partner, self.workspace))
        raw, _ = parse_email(wheel.read(f"{wheel.dist_info}/METADATA"))
        try:
            requirements = [Requirement(line) for line in raw.get("requires_dist", [])]
        except InvalidRequirement as error:
            raise InvalidWheel(
                f"{partner.filename} requires what cannot be read: {error}",
                next_step="compare it with the file on PyPI's own page",
            ) from error
        return all(
            requirement.specifier.contains(version, prereleases=True)
            for requirement in requirements
            if canonicalize_name(requirement.name) == MAIN
        )

    def has(self, version: Version) -> bool:
        """Return whether there is a wheel of an agents release, yanked or not."""
        return version in self._page(MAIN)

    def files(self, project: str) -> dict[str, Artefact]:
        """Return the wheels on a project's page by file name; raises Unreachable."""
        return {a.filename: a for wheels in self._page(project).values() for a in wheels}

    def _page(self, project: str) -> dict[Version, list[Artefact]]:
        """Return a project's wheels by version, each sorted by name; asks the index once."""
        if project not in self._pages:
            with self._unusable_is_unreachable():
                artefacts = artefacts_of(project, self._listed(project))
            page: dict[Version, list[Artefact]] = {}
            for artefact in sorted(artefacts, key=lambda artefact: artefact.filename):
                if self.as_of is None or artefact.upload_time <= self.as_of:
                    page.setdefault(Version(artefact.version), []).append(artefact)
            self._pages[project] = page
        return self._pages[project]

    def _listed(self, project: str) -> dict[str, DistributionPackage]:
        """Return the wheels that a project's page lists by file name; some facts may be missing."""
        if project not in self._packages:
            with self._unusable_is_unreachable():
                packages = wheels_on(project, *self._get_page(project))
                for package in packages.values():
                    package.url = for_same_server(package.url, self.endpoint)
            self._packages[project] = packages
        return self._packages[project]

    def _get_page(self, project: str) -> tuple[bytes, str]:
        """Return the body of a project's JSON page and the address it came from."""
        address = f"{self.endpoint.rstrip('/')}/{project}/"
        accept = {"Accept": _PAGE_TYPE}
        with self._session.get(address, stream=True, timeout=TIMEOUT, headers=accept) as response:
            if response.status_code == 404:
                raise Unreachable(f"{self.endpoint} has no {project}", next_step=TRY_AGAIN)
            response.raise_for_status()
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind not in (_PAGE_TYPE, "application/json"):
                raise Malformed(
                    f"{address} answers with {kind[:99]!r}, not {_PAGE_TYPE}: "
                    "pages in HTML (PEP 503) tell no sizes and no upload times"
                )
            body = read_body(response, MAX_PAGE)
            if len(body) > MAX_PAGE:
                raise Malformed(f"the page is longer than {MAX_PAGE} bytes")
            return body, response.url

    @contextmanager
    def _unusable_is_unreachable(self) -> Iterator[None]:
        """Turn a failed request, or a page that says too little, into Unreachable."""
        try:
            yield
        except (request_errors(), ValueError) as error:
            failed = isinstance(error, request_errors())
            raise Unreachable(
                f"{self.endpoint} gives no usable answer: {masked(str(error))[:2000]}",
                next_step=step_after_failure(error) if failed else USE_ANOTHER_INDEX,
            ) from error
