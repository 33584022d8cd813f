"""Upstream's own tests, asked for a verdict."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from packaging.version import Version

from toolkit.patches.series import Series
from toolkit.releases.catalogue import Catalogue
from toolkit.upstream_tests import checkout
from toolkit.upstream_tests.compare import Question, answer
from toolkit.upstream_tests.result import (
    UNREACHED,
    Upstream,
)
from toolkit.upstream_tests.runner import Limits
from toolkit.util.workspace import Workspace


@dataclass(frozen=True)
class Asker:
    """Upstream's tests as a part of a proof: of which repository, and whether they must run.

    ``named``: the repository is not the usual one, so somebody knows where it is.
    """

    repository: str
    required: bool
    workspace: Workspace
    offline: bool = False
    named: bool = False

    @classmethod
    def of(cls, options: argparse.Namespace, workspace: Workspace) -> Asker | None:
        """What the command line says, see :func:`add_options`; None for ``--upstream no``."""
        if options.upstream == "no":
            return None
        named = options.upstream != checkout.REPOSITORY
        return cls(options.upstream, options.require_upstream, workspace, options.offline, named)

    def asks(self, known: Upstream | None) -> bool:
        """Whether a proof that has ``known`` is still to be asked for."""
        return self.misses("" if known is None else known.state)

    def misses(self, state: str) -> bool:
        """The same by :attr:`Upstream.state` alone, which is empty if nobody has asked.

        Who did not answer once is not asked again on every run, unless that may help.
        """
        again = self.required or (self.named and state == UNREACHED)
        return not state or (again and state in (UNREACHED, "not run"))

    def __call__(
        self,
        official: Sequence[Path],
        patched: Sequence[Path],
        *,
        release: str,
        uploaded: datetime,
        python: str | None,
        optional: Sequence[str],
    ) -> Upstream:
        """The result for these wheels; raises UpstreamNotRun if there must be one and is none."""
        question = Question(
            release=Version(release),
            uploaded=uploaded,
            official=official,
            patched=patched,
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
