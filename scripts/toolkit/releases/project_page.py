"""A project's page on an index of official wheels (PEP 691 and 700), read strictly."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from packaging.version import Version

from toolkit.releases.release import Artefact
from toolkit.util.errors import printable
from toolkit.util.strict_json import Malformed, load

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

# The line that counterparts are looked for in: a 0.x plugin speaks to another agents.
FIRST = Version("1.0")


def wheels_on(project: str, body: bytes, address: str) -> dict[str, DistributionPackage]:
    """The well named wheels on a PEP 691 page, by file name; raises ValueError.

    Wheels of local versions are not upstream's: an index may show ours on the same page.
    """
    from packaging.utils import canonicalize_name, parse_wheel_filename
    from pypi_simple import ProjectPage

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


def artefacts_of(project: str, listed: Mapping[str, DistributionPackage]) -> list[Artefact]:
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
