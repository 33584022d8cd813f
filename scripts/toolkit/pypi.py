"""Asking PyPI which releases there are, and which plugin goes with which release."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from .errors import HashMismatch, UnknownRelease, Unreachable
from .files import writing
from .release import MAIN, PARTNER, TIMEOUT, TRY_AGAIN, Artefact, Release, fetch, open_session
from .workspace import Workspace, replacing

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage, PyPISimple

# The line that counterparts are looked for in: a 0.x plugin speaks to another agents.
FIRST = Version("1.0")
ENDPOINT_VARIABLE = "LIVEKIT_DISPATCHED_PYPI"


class PyPI:
    """The simple index (PEP 691) that official releases come from.

    ``endpoint`` None means LIVEKIT_DISPATCHED_PYPI, or else pypi-simple's own default. What was
    uploaded after ``as_of`` is not seen; yanks are today's, as no index dates them. What is
    found is remembered in ``workspace``, for :func:`remembered`. Use it in a ``with`` block.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        workspace: Workspace | None = None,
        as_of: datetime | None = None,
    ) -> None:
        from pypi_simple import ACCEPT_JSON_ONLY, PYPI_SIMPLE_ENDPOINT, PyPISimple

        self.endpoint = endpoint or os.environ.get(ENDPOINT_VARIABLE) or PYPI_SIMPLE_ENDPOINT
        self.workspace = workspace or Workspace.default()
        self.as_of = as_of
        self._client: PyPISimple = PyPISimple(
            self.endpoint, session=open_session(), accept=ACCEPT_JSON_ONLY
        )
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
        except InvalidVersion:
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
        with writing(path.parent), replacing(path) as draft:
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

    def located(self, release: Release) -> Release:
        """The release with the addresses of its wheels.

        Raises UnknownRelease if one is there no more, and HashMismatch if it is another file.
        """
        known = {
            a.filename: a for name in (MAIN, PARTNER) for w in self._page(name).values() for a in w
        }
        found = []
        for artefact in release.artefacts:
            there = known.get(artefact.filename)
            if there is None:
                raise UnknownRelease(
                    f"{self.endpoint} has no {artefact.filename} (any more)",
                    next_step="take it from another index with --pypi URL, or another release",
                )
            if there.sha256 != artefact.sha256:
                raise HashMismatch(
                    f"{self.endpoint} has another {artefact.filename} than patches/releases.toml: "
                    f"its sha256 is {there.sha256}, not {artefact.sha256}",
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
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        from .wheelfile import OfficialWheel

        wheel = OfficialWheel.open(fetch(partner, self.workspace))
        raw, _ = parse_email(wheel.read(f"{wheel.dist_info}/METADATA"))
        wanted = [Requirement(line) for line in raw.get("requires_dist", [])]
        return all(
            requirement.specifier.contains(version, prereleases=True)
            for requirement in wanted
            if canonicalize_name(requirement.name) == MAIN
        )

    def _page(self, project: str) -> dict[Version, list[Artefact]]:
        if project in self._pages:
            return self._pages[project]
        import requests
        from pypi_simple import NoSuchProjectError

        try:
            packages = self._client.get_project_page(project, timeout=TIMEOUT).packages
        except NoSuchProjectError as error:
            raise Unreachable(f"{self.endpoint} has no {project}", next_step=TRY_AGAIN) from error
        except (requests.RequestException, ValueError) as error:
            raise Unreachable(
                f"{self.endpoint} gives no usable answer: {error}", next_step=TRY_AGAIN
            ) from error
        page: dict[Version, list[Artefact]] = {}
        for version, artefact in _artefacts(project, packages):
            if self.as_of is None or artefact.upload_time <= self.as_of:
                page.setdefault(version, []).append(artefact)
        for wheels in page.values():
            wheels.sort(key=lambda wheel: wheel.filename)
        return self._pages.setdefault(project, page)


def _artefacts(
    project: str, packages: Iterable[DistributionPackage]
) -> Iterator[tuple[Version, Artefact]]:
    """The usable wheels: well named, with hash, size and upload time."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    for package in packages:
        name, sha256 = package.filename, package.digests.get("sha256")
        if not name.endswith(".whl") or "/" in name or "\\" in name:
            continue
        try:
            version = parse_wheel_filename(name)[1]
        except InvalidWheelFilename:
            continue
        if sha256 is None or package.size is None or package.upload_time is None:
            continue
        yield (
            version,
            Artefact(
                distribution=project,
                version=str(version),
                filename=name,
                url=package.url,
                sha256=sha256.lower(),
                size=package.size,
                upload_time=package.upload_time,
                requires_python=package.requires_python,
                yanked=(package.yanked_reason or "") if package.is_yanked else None,
            ),
        )
