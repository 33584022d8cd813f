"""Asking PyPI which releases there are, and which plugin goes with which release."""

from __future__ import annotations

import difflib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from packaging.version import Version

from .errors import HashMismatch, InvalidWheel, UnknownRelease, Unreachable, masked, printable
from .files import writing
from .release import (
    MAIN,
    PARTNER,
    TIMEOUT,
    TRY_AGAIN,
    Artefact,
    Release,
    body_of,
    fetch,
    open_session,
    step_after,
)
from .strict import Malformed, load
from .workspace import Workspace, replacing

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage, PyPISimple

# The line that counterparts are looked for in: a 0.x plugin speaks to another agents.
FIRST = Version("1.0")
ENDPOINT_VARIABLE = "LIVEKIT_DISPATCHED_PYPI"
# PyPI's longest pages are a tenth of that.
MAX_PAGE = 64 << 20
_PAGE_TYPE = "application/vnd.pypi.simple.v1+json"
ANOTHER = "name an index that does better with --pypi URL, such as PyPI's own"


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
        from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple

        self.endpoint = _address(
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

        from .wheelfile import OfficialWheel

        wheel = OfficialWheel.open(fetch(partner, self.workspace))
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

    def files(self, project: str) -> dict[str, Artefact]:
        """What a project's page shows, by file name; raises Unreachable."""
        return {a.filename: a for wheels in self._page(project).values() for a in wheels}

    def _page(self, project: str) -> dict[Version, list[Artefact]]:
        if project in self._pages:
            return self._pages[project]
        with self._answering():
            artefacts = _artefacts(project, self._listed(project))
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
            listed = _wheels(project, body_of(answer, MAX_PAGE), answer.url)
            for package in listed.values():
                package.url = _for_same_server(package.url, self.endpoint)
        return self._read.setdefault(project, listed)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn an answer that is of no use into Unreachable, with the reason."""
        import requests

        try:
            yield
        except (requests.RequestException, ValueError) as error:
            failed = isinstance(error, requests.RequestException)
            raise Unreachable(
                f"{self.endpoint} gives no usable answer: {masked(str(error))[:2000]}",
                next_step=step_after(error) if failed else ANOTHER,
            ) from error


def read_page(project: str, body: bytes, address: str) -> list[Artefact]:
    """The wheels of a PEP 691 page, each with hash, size and upload time.

    Raises ValueError for what is no such page, for one that contradicts itself, and for one that
    lacks any of these for a wheel since FIRST.
    """
    return _artefacts(project, _wheels(project, body, address))


def _address(endpoint: str) -> str:
    """An index's address, in which a user without a password has an empty one.

    Raises Unreachable, without repeating it, for what is none: there may be a password in it.
    """
    try:
        parts = urlsplit(endpoint)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise Unreachable(
            "what is named as the index is not an address that can be asked",
            next_step="give one that begins with https://; in a password, write / as %2F, @ as %40",
        )
    user, at, host = parts.netloc.rpartition("@")
    # requests sends nothing for a user alone; pip and uv send it
    return parts._replace(netloc=f"{user}:@{host}").geturl() if at and ":" not in user else endpoint


def _for_same_server(url: str, endpoint: str) -> str:
    """``url`` with the user and password of ``endpoint`` if it is on that very server."""
    there, index = urlsplit(url), urlsplit(endpoint)
    user, at, _ = index.netloc.rpartition("@")
    if not at or "@" in there.netloc or _server(there) != _server(index):
        return url
    return there._replace(netloc=f"{user}@{there.netloc}").geturl()


def _server(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _wheels(project: str, body: bytes, address: str) -> dict[str, DistributionPackage]:
    """The well named wheels on a PEP 691 page, by file name; raises ValueError.

    Wheels of local versions are not upstream's: an index may show ours on the same page.
    """
    from packaging.utils import canonicalize_name, parse_wheel_filename
    from pypi_simple import ProjectPage

    if len(body) > MAX_PAGE:
        raise Malformed(f"the page is longer than {MAX_PAGE} bytes")
    document = load(body, "the page")
    meta = document.get("meta") if isinstance(document, dict) else None
    version = meta.get("api-version") if isinstance(meta, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"1\.[0-9]{1,3}", version):
        raise Malformed(f"the page is of the API's version {version!r:.50}, not 1")
    with warnings.catch_warnings():
        # that it may hold more than we understand, which PEP 629 allows
        warnings.simplefilter("ignore")
        page = ProjectPage.from_json_data(document, address)
    if canonicalize_name(page.project) != project:
        raise Malformed(f"the page is of {page.project!r:.99}, not of {project}")
    found: dict[str, DistributionPackage] = {}
    for package in page.packages:
        try:
            name, parsed, _, _ = parse_wheel_filename(package.filename)
        except ValueError:
            continue
        if name != project:
            raise Malformed(f"the page of {project} has a file of {name}")
        if parsed.local is not None:
            continue
        # a group of indexes may show the same file once for each
        twin = found.setdefault(package.filename, package)
        if replace(twin, url=package.url) != package:
            raise Malformed(f"the page has two files of the name {package.filename}")
    if not found:
        raise Malformed(f"the page lists no wheel of {project}")
    return found


def _artefacts(project: str, listed: Mapping[str, DistributionPackage]) -> list[Artefact]:
    """The wheels with all that must be known of one; raises Malformed if one lacks it."""
    from packaging.utils import parse_wheel_filename

    found, lacking = [], dict[str, list[str]]()
    for filename, package in listed.items():
        version = parse_wheel_filename(filename)[1]
        sha256, size, uploaded = package.digests.get("sha256"), package.size, package.upload_time
        if sha256 and size and uploaded:
            found.append(_artefact(project, version, package, sha256, size, uploaded))
        elif version >= FIRST:
            facts = {"sha256": sha256, "size": size, "upload time (PEP 700)": uploaded}
            what = " and no ".join(fact for fact, value in facts.items() if not value)
            lacking.setdefault(what, []).append(filename)
    for what, names in lacking.items():
        raise Malformed(
            f"its page of {project} tells no {what} of {len(names)} of {len(listed)} wheels, such "
            f"as {names[-1]}; without it no wheel can be checked and no dependency dated"
        )
    return found


def _artefact(
    project: str,
    version: Version,
    package: DistributionPackage,
    sha256: str,
    size: int,
    uploaded: datetime,
) -> Artefact:
    needs = package.requires_python
    return Artefact(
        distribution=project,
        version=str(version),
        filename=package.filename,
        url=package.url,
        sha256=sha256.lower(),
        size=size,
        upload_time=_utc(uploaded) if uploaded.tzinfo else uploaded,
        requires_python=None if needs is None else _line(needs),
        yanked=_line(package.yanked_reason or "") if package.is_yanked else None,
    )


def _line(text: str) -> str:
    """A text that will be printed and recorded: one line, and the beginning if it is endless."""
    return printable(" ".join(text.split()))[:1000]


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise Malformed(f"{moment.isoformat()} is at the end of time") from error
