"""Run upstream's own tests on the official and on the patched wheels of a release.

Examples:
    python scripts/upstream.py 1.7.0
    python scripts/upstream.py 1.8.9 1.4.6 --repo ../agents --all --json

The tests are those of the release's tag, or of the nearest one; what differs is said. They run
without a network and without keys, first on the official wheels. A test that passes there and
not on the patched wheels, three times in a row, has regressed, and nothing is published.
UpstreamResult's tests are code of upstream's: they run on this machine, as its wheels do.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from toolkit.cli import (
    add_repository,
    add_timeout,
    parser,
    settings_of,
    verb,
)
from toolkit.releases.official import Settings
from toolkit.releases.select import for_each_release
from toolkit.upstream_tests.limits import LIMITS, Limits
from toolkit.util.console import step_status
from toolkit.util.errors import NotProved
from toolkit.util.parallel import cores

if TYPE_CHECKING:
    from toolkit.upstream_tests.result import UpstreamResult


def compare(name: str | None, options: argparse.Namespace, settings: Settings) -> UpstreamResult:
    """Repack one release and run upstream's tests on both sides."""
    # imported for work, not for help
    from toolkit.patches.series import Series
    from toolkit.proof.upstream_tests import UpstreamTests
    from toolkit.releases.repack import repack_release

    series = Series.load(settings.workspace.patches)
    repacked = repack_release(settings.fetch(name), series, settings.workspace)
    tests = UpstreamTests(
        options.repo,
        required=False,
        workspace=settings.workspace,
        offline=settings.offline,
        everything=options.all,
        limits=Limits(options.limit, options.timeout, options.jobs),
    )
    with step_status(f"upstream's tests of {repacked.release.version}"):
        return tests.run(repacked.pair(options.python), options.python)


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; exit code 0 unless a test regressed, or nothing ran and that is required."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help="such as 1.7.0 (default: the newest)")
    add_repository(arguments, "--repo")
    add("--all", action="store_true", help="every test file, not only the plugin's")
    add("--python", help="the Python to run the tests on (default: the running one)")
    add("--limit", type=float, default=LIMITS.test, help="seconds a test (default: %(default)g)")
    add_timeout(arguments, LIMITS.run)
    add("--jobs", type=int, default=cores(), help="tests at a time (default: %(default)s)")
    options = arguments.parse_args(argv)

    settings = settings_of(options)

    # a release at a time: what ran, and whether that is good enough
    def one(name: str | None) -> None:
        result = compare(name, options, settings)
        if options.json:
            print(json.dumps(asdict(result)))
        else:
            print("\n".join([f"{result.release}: {result.status}", *result.lines]))
        if result.status == "regressed":
            raise NotProved(
                f"{result.release}: {len(result.regressed)} of upstream's tests regressed "
                f"(the first: {min(result.regressed)})",
                next_step="run that test in the patched environment; the fix broke it",
            )
        if options.require_upstream:
            result.require()

    for_each_release(options.release, one)


if __name__ == "__main__":
    sys.exit(main())
