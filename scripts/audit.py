"""Is this exactly the official wheel plus the series? For wheels, indexes and environments.

TARGET is a wheel, a folder of wheels, an index (its folder or URL), a virtual environment or a
Python. The official wheels come from PyPI, are patched and repacked again, and every byte is
compared; for an environment, every installed file. Nothing that the publisher says is believed.

Each wheel is told to be one of
  ours      official plus series, byte for byte
  official  PyPI's own, byte for byte
  differs   neither: the lines below it say in which members
  moved     made by another state of this repository, or so it says: check that one out
  unknown   none of ours, or not to be had for comparison
and the exit code is 25 if there is one of the last three.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import Distribution
from typing import TypeVar

from packaging.version import Version

from toolkit.audit import installed
from toolkit.audit.auditor import (
    OFFICIAL,
    OURS,
    UNKNOWN,
    AuditedWheel,
    Auditor,
    Finding,
    Origin,
    Originals,
    to_json,
)
from toolkit.audit.targets import find_wheels, is_url
from toolkit.cli import parser, settings_of, verb
from toolkit.index.metapackage import PROJECT
from toolkit.patches.series import Series
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.official import Fetched
from toolkit.util.console import progress_bar
from toolkit.util.errors import AuditFailed
from toolkit.util.parallel import cores, map_parallel

Item = TypeVar("Item")


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Audit every target; return the exit code."""
    arguments = parser(__doc__, without=("yanked", "offline"))
    add = arguments.add_argument
    add("target", nargs="+", metavar="TARGET", help="a wheel, a folder, an index, an environment")
    add("--jobs", type=int, default=cores(), metavar="N", help="releases at a time (%(default)s)")
    add("--offline", action="store_true", help="official wheels from the cache alone")
    options = arguments.parse_args(argv)
    # a release that was yanked upstream is no less ours
    settings = replace(settings_of(options), yanked=True)
    workspace = settings.workspace
    series = Series.load(workspace.patches)

    def fetch(release: Version) -> Fetched:
        return settings.fetch(release, quiet=True)

    auditor = Auditor(series, workspace, Catalogue.read(workspace.catalogue), fetch)
    findings = [
        finding for target in options.target for finding in audit(auditor, target, options.jobs)
    ]
    print(to_json(findings)) if options.json else show(findings)
    if bad := [finding for finding in findings if not finding.is_good]:
        raise AuditFailed(
            f"{len(bad)} of {len(findings)} are not official plus series: "
            + ", ".join(f"{finding.where} ({finding.status})" for finding in bad[:5]),
            next_step="see what differs above; use none of them until it is explained",
        )


def audit(auditor: Auditor, target: str, jobs: int) -> list[Finding]:
    """Everything that one target holds, in its order."""
    projects = sorted([PROJECT, *(d.name for d in auditor.series.distributions)])
    site = None if is_url(target) else installed.site_packages(Path(target))
    if site is not None:
        return audit_environment(auditor, site, projects, jobs)
    found = find_wheels(target, projects)
    if found.others:
        print(f"{target}: {found.others} other projects are not looked at", file=sys.stderr)

    def judge(subject: AuditedWheel, origin: Origin | None, originals: Originals) -> Finding:
        return auditor.audit(subject, origin, originals)

    wheels = [(subject, auditor.origin(subject.name)) for subject in found.subjects]
    return _by_origin(auditor, wheels, judge, jobs)


def audit_environment(
    auditor: Auditor, site: Path, projects: Sequence[str], jobs: int
) -> list[Finding]:
    """What of ``projects`` is installed in a folder."""
    found = [
        (distribution, auditor.origin(installed.likely_name(distribution)))
        for distribution in installed.installed(site, projects)
    ]
    if not found:
        raise AuditFailed(
            f"{site} has none of {', '.join(projects)}", next_step="name another environment"
        )
    said = installed.series_said(site)

    def judge(distribution: Distribution, origin: Origin | None, originals: Originals) -> Finding:
        where = f"{distribution.name} {distribution.version}"
        known = {**originals.official, **originals.ours}
        name = installed.wheel_of(distribution, known) if origin else None
        if origin is None or name is None:
            why = originals.error or "no wheel of ours or of PyPI has this version"
            return Finding(where, UNKNOWN, (why,), originals.next_step)
        details = tuple(installed.differences(distribution, known[name]))
        if details:
            return auditor.differing(where, name, details, origin, originals, said)
        return Finding(where, OFFICIAL if name in originals.official else OURS)

    return _by_origin(auditor, found, judge, jobs)


def _by_origin(
    auditor: Auditor,
    items: Sequence[tuple[Item, Origin | None]],
    judge: Callable[[Item, Origin | None, Originals], Finding],
    jobs: int,
) -> list[Finding]:
    """Judge each item by the originals of its origin, which are made once; in order."""
    origins = list(dict.fromkeys(origin for _, origin in items))

    def work(origin: Origin | None) -> list[tuple[int, Finding]]:
        originals = auditor.originals(origin) if origin else Originals("", {})
        return [
            (number, judge(item, origin, originals))
            for number, (item, its) in enumerate(items)
            if its == origin
        ]

    found: dict[int, Finding] = {}
    with progress_bar("releases", len(origins)) as count:
        for origin, judged in map_parallel(work, origins, jobs=jobs):
            found.update(judged)
            count(str(origin.release) if origin else "others")
    return [found[number] for number in range(len(items))]


def show(findings: Sequence[Finding]) -> None:
    """Print one line a finding, and below it what is wrong."""
    for finding in findings:
        print(f"{finding.status:<9} {finding.where}")
        for detail in finding.details:
            print(f"          {detail}")
        if finding.next_step:
            print(f"          next: {finding.next_step}")


if __name__ == "__main__":
    sys.exit(main())
