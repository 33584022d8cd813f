"""Run upstream's own tests on the official and on the patched wheels of a release."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from toolkit.environments import environment
from toolkit.environments.environment import Environment
from toolkit.environments.interpreter import find_interpreter
from toolkit.environments.pair import SUBCLASSES, WheelPair, prepare
from toolkit.upstream_tests.checkout import (
    Checkout,
    check_out,
    count_differing,
    nearest_tag,
    tags_of,
)
from toolkit.upstream_tests.result import (
    ALL_TESTS,
    FORMAT,
    RunPair,
    Source,
    UpstreamResult,
    UpstreamRun,
    compare_runs,
    differing_tests,
)
from toolkit.upstream_tests.runner import (
    LIMITS,
    SANDBOX,
    Limits,
    network_namespace,
    requirements,
    run_tests,
    select_test_files,
)
from toolkit.util import files, inherited
from toolkit.util.errors import CommandFailed, EnvironmentUnresolvable, Unreachable
from toolkit.util.files import sha256_of
from toolkit.util.store import Store
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import Workspace

# how often a test that differs is run again, and how many such tests are run one by one
RERUNS, FEW = 2, 10


@dataclass(frozen=True)
class Request:
    """Which wheels run under which of upstream's tests.

    ``trees`` maps distributions to folders of upstream's repository; ``releases`` are all that
    are known. ``everything`` takes every test file, not only the plugin's.
    """

    pair: WheelPair
    trees: Mapping[str, str]
    releases: Iterable[Version] = ()
    everything: bool = False
    python: str | None = None
    optional: Sequence[str] = SUBCLASSES
    limits: Limits = LIMITS

    @property
    def selection(self) -> str:
        """Which test files run, in words."""
        return "all" if self.everything else "the plugin's"


def run_upstream_tests(
    request: Request, repository: str, workspace: Workspace, *, offline: bool = False
) -> UpstreamResult:
    """Run upstream's tests on the official wheels, then on the patched, and compare.

    The status is "not run" if anything is missing: the repository, an environment, a run on the
    official wheels in which a test passes. So it is with ``offline`` if the repository is no
    folder. The same request for the same commit runs nothing the second time.
    """
    release = request.pair.release
    if offline and not Path(repository).exists():
        return UpstreamResult.not_run(release, "it is elsewhere, and --offline was given")
    store = Store(workspace.upstream / "results")
    try:
        tag, between = nearest_tag(tags_of(repository), Version(release), request.releases)
        checkout = check_out(tag, repository, workspace.upstream / "commits")
        source = _source(request, checkout, between)
        inputs = _inputs(request, source)
        if (cached := store.get(inputs, UpstreamResult.parse)) is not None:
            return cached
        result = _run_both(request, checkout, source, workspace)
    except (Unreachable, EnvironmentUnresolvable, CommandFailed, Malformed) as error:
        reason = getattr(error, "problem", str(error))
        return UpstreamResult.not_run(release, _without_path(reason, repository))
    if result.status == "passed":
        store.put(inputs, result.to_json().encode())
    return result


def _without_path(reason: str, repository: str) -> str:
    """Return a reason that names no path of this machine."""
    path = repository.removeprefix("file://")
    for text in () if "://" in path else (repository, path):
        reason = reason.replace(text, "the clone")
    return reason


def _run_both(
    request: Request, checkout: Checkout, source: Source, workspace: Workspace
) -> UpstreamResult:
    release, limits = request.pair.release, request.limits
    # which tests
    chosen, unchosen = select_test_files(checkout.files, everything=request.everything)
    if not chosen:
        return UpstreamResult.not_run(release, f"{source.tag} has no tests of the plugin", source)
    # the result is kept, not these environments: upstream's tests need half a gigabyte each
    with workspace.scratch() as environments:
        official, patched = prepare(
            request.pair,
            environments,
            python=request.python,
            extra=requirements(checkout.files),
            optional=request.optional,
        )

        def run(side: Environment, only: Sequence[str] | None = None) -> UpstreamRun:
            jobs = 1 if only is not None and len(only) <= FEW else limits.jobs
            with workspace.scratch() as folder:
                return run_tests(
                    checkout.files, chosen, side, folder, replace(limits, jobs=jobs), only
                )

        # the official wheels, on which some test has to pass
        before = run(official)
        if before.trouble or not before.passed:
            reason = f"no test passes on the official wheels: {before.main_reason}"
            if before.trouble:
                reason = f"on the official wheels {before.trouble}"
            return UpstreamResult.not_run(release, reason, source)
        # the patched wheels
        after = run(patched)
        if after.trouble:
            return UpstreamResult(
                release,
                "regressed",
                "upstream's tests do not run on the patched wheels",
                source,
                request.selection,
                regressed={ALL_TESTS: f"on the patched wheels {after.trouble}"},
            )
        # what differs, again
        first, reruns = (before, after), list[RunPair]()
        while (differing := differing_tests(first, reruns)) and len(reruns) < RERUNS:
            rerun = run(official, differing), run(patched, differing)
            if rerun[0].trouble or rerun[1].trouble:
                # it cannot tell flaky from regressed: what was seen stands
                break
            reruns.append(rerun)
    return compare_runs(release, source, request.selection, first, reruns, unchosen)


def _source(request: Request, checkout: Checkout, between: int) -> Source:
    differing, modules = {}, {}
    for wheel in request.pair.official:
        name = str(parse_wheel_filename(wheel.name)[0])
        if name in request.trees:
            counts = count_differing(checkout, wheel, request.trees[name])
            differing[name], modules[name] = counts
    tag = checkout.tag
    return Source(tag.name, tag.commit, str(tag.version), between, differing, modules)


def _inputs(request: Request, source: Source) -> dict[str, object]:
    """Return everything that a result depends on."""
    pair, limits = request.pair, request.limits
    return {
        **inherited.sources()[-1],
        "formats": [environment.FORMAT, FORMAT],
        "release": pair.release,
        "uploaded": pair.uploaded.isoformat(),
        "official": sorted((wheel.name, sha256_of(wheel)) for wheel in pair.official),
        "patched": sorted((wheel.name, sha256_of(wheel)) for wheel in pair.patched),
        "source": [source.commit, source.between],
        "selection": request.selection,
        "optional": sorted(request.optional),
        "python": [find_interpreter(request.python).version, sysconfig.get_platform()],
        "sandbox": [files.tree_digest(SANDBOX), bool(network_namespace())],
        "limits": [limits.test, limits.run, RERUNS],
    }
