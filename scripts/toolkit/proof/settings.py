"""What a proof is asked for; a verb's command line needs no more than this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.util.distributions import SUBCLASSES
from toolkit.util.workspace import REPOSITORY, Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.proof.upstream_tests import UpstreamTests

TIERS = ("quick", "full")
RACE_SUITE = REPOSITORY / "tests" / "race"
# Seconds without progress after which a run counts as hanging; one schedule takes far less.
STANDSTILL = 600.0


@dataclass(frozen=True)
class ProofSettings:
    """How releases are proved, and where results are kept.

    ``tier`` says how many schedules are explored. ``timeout`` is in seconds without progress; the
    suite has no other limit. ``upstream`` (None: they do not run) are upstream's own tests.
    ``extra`` is installed beside the wheels, and ``optional`` too where a version fits the release.
    Without ``keep_environments`` those that a proof makes are removed after it.
    """

    workspace: Workspace
    tier: str = TIERS[0]
    python: str | None = None
    timeout: float = STANDSTILL
    upstream: UpstreamTests | None = None
    race_suite: Path = RACE_SUITE
    extra: tuple[str, ...] = ("pytest",)
    optional: tuple[str, ...] = SUBCLASSES
    keep_environments: bool = True
