"""Upstream's own tests as a part of a proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.environments.pair import WheelPair
from toolkit.patches.series import Series
from toolkit.releases.catalogue import Catalogue
from toolkit.upstream_tests.compare import Question, answer
from toolkit.upstream_tests.result import UNREACHED, Upstream
from toolkit.upstream_tests.runner import Limits
from toolkit.util.workspace import Workspace


@dataclass(frozen=True)
class UpstreamTests:
    """Of which repository upstream's tests are, and whether they must run.

    ``named``: the user named another repository than the usual one.
    """

    repository: str
    required: bool
    workspace: Workspace
    offline: bool = False
    named: bool = False

    def asks(self, known: Upstream | None) -> bool:
        """Whether a proof that has the result ``known`` still needs a run."""
        return self.misses("" if known is None else known.state)

    def misses(self, state: str) -> bool:
        """Decide the same by :attr:`Upstream.state` alone, which is empty before the first run.

        An unreachable repository is not asked again on every run, unless the result is required
        or the user named the repository.
        """
        again = self.required or (self.named and state == UNREACHED)
        return not state or (again and state in (UNREACHED, "not run"))

    def run(self, pair: WheelPair, python: str | None, optional: Sequence[str]) -> Upstream:
        """Return the result for these wheels.

        Raises UpstreamNotRun if a result is required and there is none.
        """
        question = Question(
            pair,
            trees={d.name: d.tree for d in Series.load(self.workspace.patches).distributions},
            known=tuple(Catalogue.read(self.workspace.catalogue)),
            python=python,
            optional=optional,
        )
        result = answer(
            question, self.repository, self.workspace, limits=Limits(), offline=self.offline
        )
        if self.required:
            result.require()
        return result
