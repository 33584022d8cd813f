"""Asking PyPI which releases there are, and which plugin goes with which release."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from packaging.version import Version

from toolkit.releases.download import fetch
from toolkit.releases.project_page import FIRST, artefacts_of, wheels_on
from toolkit.releases.release import Artefact, Release
from toolkit.util.addresses import for_same_server, index_address
from toolkit.util.errors import HashMismatch, InvalidWheel, UnknownRelease, Unreachable, masked
from toolkit.util.files import not_writable_errors, replacing
from toolkit.util.http import (
    TIMEOUT,
    TRY_AGAIN,
    open_session,
    read_body,
    request_errors,
    step_after_failure,
)
from toolkit.util.names import MAIN, PARTNER
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import Workspace

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage, PyPISimple

ENDPOINT_VARIABLE = "LIVEKIT_DISPATCHED_PYPI"
# PyPI's longest pages are a tenth of that.
MAX_PAGE = 64 << 20
_PAGE_TYPE = "application/vnd.pypi.simple.v1+json"
ANOTHER = "name an index that does better with --pypi URL, such as PyPI's own"


class PyPI:
    """The simple index (PEP 691) that official releases come from.

    ``endpoint`` None means LIVEKIT_DISPATCHED_PYPI, or else pypi-simple's own default. What was
    uploaded after ``as_of`` is not seen; yanks are today's, as no index dates them. What is
    found is remembered in ``workspace``, for :func:`cached_release`. Use it in a ``with`` block.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        workspace: Workspace | None = None,
        as_of: datetime | None = None,
    ) -> None:
        from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple

        self.endpoint = index_address(
            endpoint or os.environ.get(ENDPOINT_VARIABLE) or PYPI_SIMPLE_ENDPOINT
        )
        self.workspace = workspace or Workspace.default()
        self.as_of = as_of
        self._client: PyPISimple = PyPISimple(self.endpoint, session=open_session())
        self._read: dict[str, dict[str, DistributionPackage]] = {}
        self._pages: dict[str, dict[Version, list[Artefact]]] = {}

    def __enter__(self) -> PyPI:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.s.close()

    def newest(self) -> Version:
        """The newest release that is stable, not yanked, and has wheels."""
        found = [
            version
            for version, wheels in self._page(MAIN).items()
            if not version.is_prerelease and all(wheel.yanked is None for wheel in wheels)
        ]
        if not found:
            raise UnknownRelease(f"{self.endpoint} has no {MAIN}", next_step="check --pypi")
        return max(found)

    def find(self, version: Version | str, *, yanked: bool = False) -> Release:
        """A release with its partner; YankedRelease unless ``yanked`` are welcome.

        Raises UnknownRelease, naming close matches, and Unreachable.
        """
        page = self._page(MAIN)
        try:
            wanted = version if isinstance(version, Version) else Version(version)
        except ValueError:
            wanted = None
        if wanted is None or wanted not in page:
            names = [str(known) for known in sorted(page, reverse=True)]
            close = difflib.get_close_matches(str(version), names, n=3) or names[:3]
            raise UnknownRelease(
                f"there is no {MAIN} {version} with wheels",
                next_step=f"did you mean {', '.join(close)}?" if close else "check --pypi",
            )
        if not yanked:
            Release(wanted, tuple(page[wanted])).refuse_yanked()
        partner = next(self.partners(wanted), None)
        if partner is None:
            raise UnknownRelease(
                f"there is no {PARTNER} that goes with {MAIN} {wanted}",
                next_step="choose a release from 1.0.2 on",
            )
        release = Release(wanted, (*page[wanted], *self._page(PARTNER)[partner]))
        path = self.workspace.releases / f"{wanted}.json"
        with not_writable_errors(path.parent), replacing(path) as draft:
            draft.write_text(release.to_json(), "utf-8")
        return release

    def releases(self) -> Iterator[Release]:
        """Every release since FIRST with its partner, or without one where there is none."""
        for version, wheels in sorted(self._page(MAIN).items()):
            if version >= FIRST:
                partner = next(self.partners(version), None)
                yield Release(
                    version, (*wheels, *(self._page(PARTNER)[partner] if partner else ()))
                )

    def with_addresses(self, release: Release) -> Release:
        """The release with the addresses of its wheels.

        Raises UnknownRelease if one is there no more, and HashMismatch if it is another file.
        """
        # what the page does not tell of them is known already
        known = {**self._listed(MAIN), **self._listed(PARTNER)}
        found = []
        for artefact in release.artefacts:
            there = known.get(artefact.filename)
            if there is None:
                raise UnknownRelease(
                    f"{self.endpoint} has no {artefact.filename} (any more)",
                    next_step="take it from another index with --pypi URL, or another release",
                )
            sha256 = there.digests.get("sha256", artefact.sha256).lower()
            if sha256 != artefact.sha256:
                raise HashMismatch(
                    f"{self.endpoint} has another {artefact.filename} than patches/releases.toml: "
                    f"its sha256 is {sha256}, not {artefact.sha256}",
                    next_step="do not use this index; files on PyPI never change",
                )
            found.append(replace(artefact, url=there.url))
        return replace(release, artefacts=tuple(found))

    def partners(self, version: Version) -> Iterator[Version]:
        """The plugin releases that may go with an agents release, the best first.

        The same version if there is one. Else those uploaded no later than that release whose
        requirement admits it, the newest first, pre-releases after finals as pip would have it.
        """
        page, wheels = self._page(PARTNER), self._page(MAIN)[version]
        if version in page:
            yield version
            return
        until = max(wheel.upload_time for wheel in wheels)
        for candidate in sorted(page, key=lambda v: (not v.is_prerelease, v), reverse=True):
            artefacts = page[candidate]
            good = candidate >= FIRST and all(a.yanked is None for a in artefacts)
            in_time = max(a.upload_time for a in artefacts) <= until
            if good and in_time and self._admits(artefacts[0], version):
                yield candidate

    def _admits(self, partner: Artefact, version: Version) -> bool:
        from packaging.metadata import parse_email
        from packaging.requirements import InvalidRequirement, Requirement
        from packaging.utils import canonicalize_name

        from toolkit.wheels.wheelfile import Wheel

        wheel = Wheel.open(fetch(partner, self.workspace))
        raw, _ = parse_email(wheel.read(f"{wheel.dist_info}/METADATA"))
        try:
            wanted = [Requirement(line) for line in raw.get("requires_dist", [])]
        except InvalidRequirement as error:
            raise InvalidWheel(
                f"{partner.filename} requires what cannot be read: {error}",
                next_step="compare it with the file on PyPI's own page",
            ) from error
        return all(
            requirement.specifier.contains(version, prereleases=True)
            for requirement in wanted
            if canonicalize_name(requirement.name) == MAIN
        )

    def has(self, version: Version) -> bool:
        """Whether there is a wheel of an agents release, yanked or not."""
        return version in self._page(MAIN)

    def files(self, project: str) -> dict[str, Artefact]:
        """What a project's page shows, by file name; raises Unreachable."""
        return {a.filename: a for wheels in self._page(project).values() for a in wheels}

    def _page(self, project: str) -> dict[Version, list[Artefact]]:
        if project in self._pages:
            return self._pages[project]
        with self._answering():
            artefacts = artefacts_of(project, self._listed(project))
        page: dict[Version, list[Artefact]] = {}
        for artefact in artefacts:
            if self.as_of is None or artefact.upload_time <= self.as_of:
                page.setdefault(Version(artefact.version), []).append(artefact)
        for wheels in page.values():
            wheels.sort(key=lambda wheel: wheel.filename)
        return self._pages.setdefault(project, page)

    def _listed(self, project: str) -> dict[str, DistributionPackage]:
        """The wheels on a project's page by file name, whatever else it tells of them."""
        if project in self._read:
            return self._read[project]
        address = self._client.get_project_url(project)
        accept = {"Accept": _PAGE_TYPE}
        with (
            self._answering(),
            self._client.s.get(address, stream=True, timeout=TIMEOUT, headers=accept) as answer,
        ):
            if answer.status_code == 404:
                raise Unreachable(f"{self.endpoint} has no {project}", next_step=TRY_AGAIN)
            answer.raise_for_status()
            kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind not in (_PAGE_TYPE, "application/json"):
                raise Malformed(
                    f"{address} answers with {kind[:99]!r}, not {_PAGE_TYPE}: "
                    "pages in HTML (PEP 503) tell no sizes and no upload times"
                )
            body = read_body(answer, MAX_PAGE)
            if len(body) > MAX_PAGE:
                raise Malformed(f"the page is longer than {MAX_PAGE} bytes")
            listed = wheels_on(project, body, answer.url)
            for package in listed.values():
                package.url = for_same_server(package.url, self.endpoint)
        return self._read.setdefault(project, listed)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn an answer that is of no use into Unreachable, with the reason."""
        try:
            yield
        except (request_errors(), ValueError) as error:
            failed = isinstance(error, request_errors())
            raise Unreachable(
                f"{self.endpoint} gives no usable answer: {masked(str(error))[:2000]}",
                next_step=step_after_failure(error) if failed else ANOTHER,
            ) from error
