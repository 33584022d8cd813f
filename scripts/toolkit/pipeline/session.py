"""What the releases of one run have in common."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore, Lock

from packaging.version import Version

from toolkit.index.bundle import VERDICT
from toolkit.index.ledger import Ledger, Listed
from toolkit.patches.series import Series
from toolkit.proof.settings import TIERS, ProofSettings
from toolkit.proof.store import VerdictStore, VerdictSummary
from toolkit.proof.verdict import Proof
from toolkit.refresh.refresher import Refreshed
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.official import Settings
from toolkit.releases.pypi import PyPI
from toolkit.releases.release import Release
from toolkit.releases.update import update_catalogue
from toolkit.util.console import step_status
from toolkit.util.errors import PatchConflict
from toolkit.util.files import not_writable_errors, write_whole
from toolkit.util.parallel import cores
from toolkit.util.workspace import Workspace

# How a release is asked for; None is the newest
Name = Version | str | None


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
        self.listed = Ledger.read(self.index).files

    @property
    def workspace(self) -> Workspace:
        """Where everything is kept."""
        return self.settings.workspace

    def update_catalogue(self, pypi: PyPI) -> None:
        """Bring the catalogue up to date with PyPI."""
        update_catalogue(self.workspace, pypi)
        self.catalogue = Catalogue.read(self.workspace.catalogue)

    def key(self, release: Release, tier: str | None = None) -> str:
        """The verdict store's key for a release under today's series."""
        series = self.series.digest(release.version)
        return self.verdicts.key(release, series, tier or self.proof.tier)

    def step(self, text: str) -> AbstractContextManager[None]:
        """Show a step on a terminal, if there is only one release to show."""
        return step_status(text) if self.single else nullcontext()

    def copy_verdict(
        self, release: Release, summary: VerdictSummary, proof: Proof | None = None
    ) -> None:
        """Copy a verdict, with its picture, into the folder of ``--verdicts``, if one was named.

        Without ``proof`` it is the stored one of ``summary``.
        """
        folder, store, picture = self.verdicts_out, self.verdicts, None
        if not folder:
            return
        if not proof:
            # of the official wheels alone, or of the series
            keys = [store.key(release, "", tier) for tier in TIERS]
            with suppress(PatchConflict):
                keys += [self.key(release, tier) for tier in TIERS]
            proofs = ((key, store.proof(key, summary)) for key in keys)
            key, proof = next((pair for pair in proofs if pair[1]), ("", None))
            picture = store.picture(key)
        if proof:
            path = folder / f"{release.version}{VERDICT}"
            with not_writable_errors(folder):
                write_whole(path, proof.data)
                if picture and picture.is_file():
                    write_whole(path.with_suffix(".svg"), picture.read_bytes())
