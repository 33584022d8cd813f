"""Is this exactly the official wheel plus the series? For wheels, indexes and environments.

TARGET is a wheel, a folder of wheels, an index (its folder or URL), a virtual environment or a
Python. The official wheels come from PyPI, are patched and repacked again, and every byte is
compared; for an environment, every installed file. Nothing that the publisher says is believed.

Each wheel is one of
  ours      official plus series, byte for byte
  official  PyPI's own, byte for byte
  differs   neither: the lines below it say in which members
  moved     made by another state of this repository, or so it claims: check that one out
  unknown   not of this series, or the originals cannot be made for comparison
and the exit code is 25 if there is one of the last three.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from toolkit.cli import parser, settings_of, verb
from toolkit.releases.catalogue import Catalogue
from toolkit.util.errors import AuditFailed
from toolkit.util.parallel import cores

if TYPE_CHECKING:
    from toolkit.audit.auditor import Finding


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Audit every target; return the exit code."""
    arguments = parser(__doc__, without=("yanked", "offline"))
    add = arguments.add_argument
    add("target", nargs="+", metavar="TARGET", help="a wheel, a folder, an index, an environment")
    add("--jobs", type=int, default=cores(), metavar="N", help="releases at a time (%(default)s)")
    add("--offline", action="store_true", help="official wheels from the cache alone")
    options = arguments.parse_args(argv)

    from toolkit.audit.auditor import Auditor, to_json
    from toolkit.audit.originals import Remaker
    from toolkit.patches.series import Series

    # a release that was yanked upstream is no less ours
    settings = replace(settings_of(options), yanked=True)
    series = Series.load(settings.workspace.patches)
    catalogue = Catalogue.read(settings.workspace.catalogue)
    auditor = Auditor(Remaker(settings, series, catalogue), options.jobs)
    findings = [finding for target in options.target for finding in auditor.audit(target)]
    print(to_json(findings)) if options.json else show(findings)
    if bad := [finding for finding in findings if not finding.is_good]:
        raise AuditFailed(
            f"{len(bad)} of {len(findings)} are not official plus series: "
            + ", ".join(f"{finding.label} ({finding.status})" for finding in bad[:5]),
            next_step="see what differs above; use none of them until it is explained",
        )


def show(findings: Sequence[Finding]) -> None:
    """Print one line a finding, and below it what is wrong."""
    for finding in findings:
        print(f"{finding.status:<9} {finding.label}")
        for detail in finding.details:
            print(f"          {detail}")
        if finding.next_step:
            print(f"          next: {finding.next_step}")


if __name__ == "__main__":
    sys.exit(main())
