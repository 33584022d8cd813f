"""What the releases of one run have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore, Lock

from packaging.version import Version

from toolkit.index.pages import Listed
from toolkit.index.publish import read_list
from toolkit.patches.series import Series
from toolkit.proof.prove import ProofSettings
from toolkit.proof.store import VerdictStore
from toolkit.refresh.refresher import Refreshed
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.official import Settings
from toolkit.releases.release import Release
from toolkit.util.parallel import cores
from toolkit.util.workspace import Workspace


@dataclass
class Session:
    """Settings of a run, and what is read once for all of its releases.

    ``index`` is the folder that is published to, ``conflicts`` takes what a human must decide, and
    ``verdicts_out`` (None: nowhere) a copy of each verdict. ``single`` releases show each step.
    Series and catalogue change while the run goes on: with a rebase, and with news from PyPI.
    """

    settings: Settings
    proof: ProofSettings
    index: Path
    conflicts: Path
    verdicts_out: Path | None
    jobs: int
    single: bool
    series: Series = field(init=False)
    catalogue: Catalogue = field(init=False)
    verdicts: VerdictStore = field(init=False)
    listed: dict[str, Listed] = field(init=False)
    rebased: dict[Version, Refreshed] = field(default_factory=dict)
    # each proof keeps two processors busy; one more makes its environments meanwhile
    proof_slots: BoundedSemaphore = field(
        default_factory=lambda: BoundedSemaphore(1 + cores() // 2)
    )
    updating: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.series = Series.load(self.workspace.patches)
        self.catalogue = Catalogue.read(self.workspace.catalogue)
        self.verdicts = VerdictStore.open(self.workspace.outcomes, self.proof.python)
        self.listed = read_list(self.index)

    @property
    def workspace(self) -> Workspace:
        """Where everything is kept."""
        return self.settings.workspace

    def key(self, release: Release, tier: str | None = None) -> str:
        """The verdict store's key for a release under today's series."""
        series = self.series.digest(release.version)
        return self.verdicts.key(release, series, tier or self.proof.tier)
