"""A project's page on an index of official wheels (PEP 691 and 700), read strictly."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from toolkit.releases.release import Artefact
from toolkit.util.errors import printable
from toolkit.util.strict_json import Malformed, load

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

# Partners are looked for from this release on: a 0.x plugin belongs to another agents.
FIRST = Version("1.0")


def wheels_on(project: str, body: bytes, address: str) -> dict[str, DistributionPackage]:
    """Return the well-named wheels on a PEP 691 page by file name; raises ValueError.

    Leaves out wheels of local versions: an index may show patched ones on the same page.
    """
    from packaging.utils import canonicalize_name
    from pypi_simple import ProjectPage

    # the page has to be of API version 1, and of this project
    document = load(body, "the page")
    meta = document.get("meta") if isinstance(document, dict) else None
    version = meta.get("api-version") if isinstance(meta, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"1\.[0-9]{1,3}", version):
        raise Malformed(f"the page is of the API's version {version!r:.50}, not 1")
    with warnings.catch_warnings():
        # PEP 629 allows a newer minor version, with keys that pypi-simple does not know
        warnings.simplefilter("ignore")
        page = ProjectPage.from_json_data(document, address)
    if canonicalize_name(page.project) != project:
        raise Malformed(f"the page is of {page.project!r:.99}, not of {project}")
    # each file may be listed again, as a group of indexes does, but not with other facts
    wheels: dict[str, DistributionPackage] = {}
    for package in page.packages:
        try:
            name, parsed, _, _ = parse_wheel_filename(package.filename)
        except ValueError:
            continue
        if name != project:
            raise Malformed(f"the page of {project} has a file of {name}")
        if parsed.local is not None:
            continue
        twin = wheels.setdefault(package.filename, package)
        if replace(twin, url=package.url) != package:
            raise Malformed(f"the page has two files of the name {package.filename}")
    if not wheels:
        raise Malformed(f"the page lists no wheel of {project}")
    return wheels


def artefacts_of(project: str, wheels: Mapping[str, DistributionPackage]) -> list[Artefact]:
    """Return the wheels of a page as artefacts.

    Raises Malformed if one of FIRST or later lacks its sha256, size or upload time.
    """
    artefacts, incomplete = [], dict[str, list[str]]()
    for filename, package in wheels.items():
        sha256, size, uploaded = package.digests.get("sha256"), package.size, package.upload_time
        if sha256 and size and uploaded:
            needs, reason = package.requires_python, package.yanked_reason or ""
            artefact = Artefact(
                filename=filename,
                url=package.url,
                sha256=sha256.lower(),
                size=size,
                upload_time=uploaded,
                requires_python=None if needs is None else _one_line(needs),
                yanked=_one_line(reason) if package.is_yanked else None,
            )
            artefacts.append(artefact)
        elif parse_wheel_filename(filename)[1] >= FIRST:
            facts = {"sha256": sha256, "size": size, "upload time (PEP 700)": uploaded}
            lacks = " and no ".join(fact for fact, value in facts.items() if not value)
            incomplete.setdefault(lacks, []).append(filename)
    for lacks, names in incomplete.items():
        raise Malformed(
            f"its page of {project} tells no {lacks} of {len(names)} of {len(wheels)} wheels, such "
            f"as {names[-1]}; without it no wheel can be checked and no dependency dated"
        )
    return artefacts


def _one_line(text: str) -> str:
    """Make a text of others fit to be printed and recorded: one line, of 1000 characters."""
    return printable(" ".join(text.split()))[:1000]
