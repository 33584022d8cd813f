"""Upstream's own tests as a part of a proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.environments.pair import SUBCLASSES, WheelPair
from toolkit.patches.series import Series
from toolkit.releases.catalogue import Catalogue
from toolkit.upstream_tests.compare import Request, run_upstream_tests
from toolkit.upstream_tests.result import UNREACHED, UpstreamResult
from toolkit.upstream_tests.runner import LIMITS, Limits
from toolkit.util.workspace import Workspace


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
        """Return the result for these wheels.

        Raises UpstreamNotRun if a result is required and there is none.
        """
        request = Request(
            pair,
            trees={d.name: d.tree for d in Series.load(self.workspace.patches).distributions},
            releases=tuple(Catalogue.read(self.workspace.catalogue)),
            everything=self.everything,
            python=python,
            optional=optional,
            limits=self.limits,
        )
        result = run_upstream_tests(request, self.repository, self.workspace, offline=self.offline)
        if self.required:
            result.require()
        return result
