"""Run upstream's own tests on the official and on the patched wheels of a release."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from toolkit.environments import environment
from toolkit.environments.environment import Environment
from toolkit.environments.interpreter import find_interpreter
from toolkit.environments.pair import WheelPair, prepare
from toolkit.patches.series import Series
from toolkit.releases.catalogue import Catalogue
from toolkit.upstream_tests.checkout import (
    Checkout,
    check_out,
    count_differing,
    nearest_tag,
    tags_of,
)
from toolkit.upstream_tests.limits import LIMITS, Limits
from toolkit.upstream_tests.result import (
    ALL_TESTS,
    FORMAT,
    UNREACHED,
    RunPair,
    Source,
    UpstreamResult,
    UpstreamRun,
    compare_runs,
    differing_tests,
)
from toolkit.upstream_tests.runner import (
    SANDBOX,
    network_namespace,
    requirements,
    run_tests,
    select_test_files,
)
from toolkit.util import child_environment, files
from toolkit.util.distributions import SUBCLASSES
from toolkit.util.errors import CommandFailed, EnvironmentUnresolvable, Unreachable
from toolkit.util.files import sha256_of
from toolkit.util.store import Store
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import Workspace

# how often a test that differs is run again, and how many such tests are run one by one
RERUNS, FEW = 2, 10


@dataclass(frozen=True)
class UpstreamTests:
    """Of which repository upstream's tests are, which of them run, and whether they must.

    ``named``: the user named another repository than the usual one. ``everything`` takes every
    test file, not only the plugin's.
    """

    repository: str
    required: bool
    workspace: Workspace
    offline: bool = False
    named: bool = False
    everything: bool = False
    limits: Limits = LIMITS

    def asks(self, known: UpstreamResult | None) -> bool:
        """Return whether a proof that has the result ``known`` still needs a run."""
        return self.misses("" if known is None else known.state)

    def misses(self, state: str) -> bool:
        """Decide the same by :attr:`UpstreamResult.state` alone, empty before the first run.

        An unreachable repository is not asked again on every run, unless the result is required
        or the user named the repository.
        """
        again = self.required or (self.named and state == UNREACHED)
        return not state or (again and state in (UNREACHED, "not run"))

    def run(
        self, pair: WheelPair, python: str | None, optional: Sequence[str] = SUBCLASSES
    ) -> UpstreamResult:
        """Run upstream's tests on the official wheels, then on the patched, and compare.

        The status is "not run" if anything is missing: the repository, an environment, a run on
        the official wheels in which a test passes. So it is when offline if the repository is no
        folder. The same wheels and tests run nothing the second time.

        Raises UpstreamNotRun if a result is required and there is none.
        """
        trees = {d.name: d.tree for d in Series.load(self.workspace.patches).distributions}
        releases = tuple(Catalogue.read(self.workspace.catalogue))
        store = Store(self.workspace.upstream / "results")
        try:
            # the tests of the nearest tag, and how far that is from the release
            if self.offline and not Path(self.repository).exists():
                raise Unreachable("it is elsewhere, and --offline was given", next_step="")
            tag, between = nearest_tag(tags_of(self.repository), Version(pair.release), releases)
            checkout = check_out(tag, self.repository, self.workspace.upstream / "commits")
            source = _source(pair, checkout, trees, between)
            # a result on the same inputs, or a new one
            inputs = self._inputs(pair, python, optional, source)
            result = store.get(inputs, UpstreamResult.parse)
            if result is None:
                result = self._compare(pair, python, optional, checkout, source)
                if result.status == "passed":
                    store.put(inputs, result.to_json().encode())
        except (Unreachable, EnvironmentUnresolvable, CommandFailed, Malformed) as error:
            reason = getattr(error, "problem", str(error))
            result = UpstreamResult.not_run(pair.release, self._without_path(reason))
        if self.required:
            result.require()
        return result

    @property
    def _selection(self) -> str:
        return "all" if self.everything else "the plugin's"

    def _without_path(self, reason: str) -> str:
        """Return a reason that names no path of this machine."""
        path = self.repository.removeprefix("file://")
        for text in () if "://" in path else (self.repository, path):
            reason = reason.replace(text, "the clone")
        return reason

    def _compare(
        self,
        pair: WheelPair,
        python: str | None,
        optional: Sequence[str],
        checkout: Checkout,
        source: Source,
    ) -> UpstreamResult:
        # which tests
        chosen, unchosen = select_test_files(checkout.files, everything=self.everything)
        if not chosen:
            reason = f"{source.tag} has no tests of the plugin"
            return UpstreamResult.not_run(pair.release, reason, source)
        # the result is kept, not these environments: upstream's tests need half a gigabyte each
        with self.workspace.scratch() as environments:
            extra = requirements(checkout.files)
            official, patched = prepare(
                pair, environments, python=python, extra=extra, optional=optional
            )

            def run(side: Environment, only: Sequence[str] | None = None) -> UpstreamRun:
                jobs = 1 if only is not None and len(only) <= FEW else self.limits.jobs
                limits = replace(self.limits, jobs=jobs)
                with self.workspace.scratch() as folder:
                    return run_tests(checkout.files, chosen, side, folder, limits, only)

            # the official wheels, on which some test has to pass
            before = run(official)
            if before.trouble or not before.passed:
                reason = f"no test passes on the official wheels: {before.main_reason}"
                if before.trouble:
                    reason = f"on the official wheels {before.trouble}"
                return UpstreamResult.not_run(pair.release, reason, source)
            # the patched wheels
            after = run(patched)
            if after.trouble:
                return UpstreamResult(
                    pair.release,
                    "regressed",
                    "upstream's tests do not run on the patched wheels",
                    source,
                    self._selection,
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
        return compare_runs(pair.release, source, self._selection, first, reruns, unchosen)

    def _inputs(
        self, pair: WheelPair, python: str | None, optional: Sequence[str], source: Source
    ) -> dict[str, object]:
        """Return everything that a result depends on."""
        return {
            **child_environment.sources()[-1],
            "formats": [environment.FORMAT, FORMAT],
            "release": pair.release,
            "uploaded": pair.uploaded.isoformat(),
            "official": sorted((wheel.name, sha256_of(wheel)) for wheel in pair.official),
            "patched": sorted((wheel.name, sha256_of(wheel)) for wheel in pair.patched),
            "source": [source.commit, source.between],
            "selection": self._selection,
            "optional": sorted(optional),
            "python": [find_interpreter(python).version, sysconfig.get_platform()],
            "sandbox": [files.tree_digest(SANDBOX), bool(network_namespace())],
            "limits": [self.limits.test, self.limits.run, RERUNS],
        }


def _source(pair: WheelPair, checkout: Checkout, trees: dict[str, str], between: int) -> Source:
    """Describe the tests; ``trees`` maps distributions to folders of upstream's repository."""
    differing, modules = {}, {}
    for wheel in pair.official:
        name = str(parse_wheel_filename(wheel.name)[0])
        if name in trees:
            differing[name], modules[name] = count_differing(checkout, wheel, trees[name])
    tag = checkout.tag
    return Source(tag.name, tag.commit, str(tag.version), between, differing, modules)
