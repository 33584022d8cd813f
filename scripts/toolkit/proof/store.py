"""Cache of verdicts and conflicts, keyed by everything that influences them."""

from __future__ import annotations

import json
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import parse_wheel_filename

from toolkit.environments.interpreter import find_interpreter
from toolkit.proof.exploration import LOSS, Findings
from toolkit.proof.settings import RACE_SUITE, TIERS
from toolkit.proof.verdict import Claim, Proof, SuiteCounts, Verdict
from toolkit.releases.catalogue import Row
from toolkit.releases.release import Release
from toolkit.util.child_environment import sources
from toolkit.util.errors import PatchConflict
from toolkit.util.files import not_writable_errors, sha256, tree_digest, write_whole
from toolkit.util.store import digest_of
from toolkit.util.strict_json import Malformed, decode, encode, load

FORMAT = 2
# inconclusive is not among them: its cause may be gone the next time
LASTING = ("publish", "fixed", "regressed")
FIXED = "fixed"


@dataclass(frozen=True)
class Loss:
    """How much one set of wheels loses: tests and schedules, each of how many that were run."""

    tests: int
    of_tests: int
    schedules: int = 0
    of_schedules: int = 0

    @classmethod
    def of(cls, side: SuiteCounts, findings: Findings | None) -> Loss:
        """Return what the suite and the explorer counted on one side."""
        tests = (len(side.lost), side.passed + side.failed)
        if findings is None:
            return cls(*tests)
        lost = findings.violations.get(LOSS)
        explored = sum(level.explored for level in findings.levels.values())
        return cls(*tests, lost.count if lost else 0, explored)

    def __str__(self) -> str:
        text = f"{self.tests} of {self.of_tests} tests"
        if self.of_schedules:
            text += f", {self.schedules} of {self.of_schedules} schedules"
        return text


@dataclass(frozen=True)
class VerdictSummary(Claim):
    """A release's verdict in short; ``proof`` is the sha256 of the whole.

    ``tier`` is what was explored, ``upstream`` the state of upstream's own tests; both are empty
    without one.
    """

    revision: int
    series: str
    official: Loss
    patched: Loss
    proof: str
    tier: str = ""
    upstream: str = ""

    @classmethod
    def of(cls, verdict: Verdict) -> VerdictSummary:
        """Make the short form of a verdict."""
        explored = verdict.exploration
        return cls(
            **Claim.fields_of(verdict),
            revision=verdict.revision,
            series=verdict.series,
            official=Loss.of(verdict.official, explored.official if explored else None),
            patched=Loss.of(verdict.patched, explored.patched if explored else None),
            proof=sha256(verdict.to_json().encode()),
            tier=explored.tier if explored else "",
            upstream=verdict.upstream.state if verdict.upstream else "",
        )

    @property
    def lasts(self) -> bool:
        """Whether it would be the same the next time.

        What regressed in upstream's own tests alone is run again: they may be flaky.
        """
        flaky = self.verdict == self.upstream == "regressed"
        return self.verdict in LASTING and not flaky

    @property
    def loses(self) -> bool | None:
        """Whether the official wheels lose a call; None if that is not decided."""
        if self.official.tests or self.official.schedules:
            return True
        return False if (self.verdict, self.tier) == (FIXED, TIERS[-1]) else None

    @property
    def row(self) -> Row:
        """What the catalogue says of the release once it is published."""
        patched = {n: sha for n, sha in self.wheels.items() if parse_wheel_filename(n)[1].local}
        return Row(self.revision, self.series, patched)

    def fits(self, row: Row | None) -> bool:
        """Return whether repacking would make these wheels again, as far as the revision goes."""
        if row is None:
            return self.revision == 1
        return (row.revision, row.wheels) == (self.revision, self.row.wheels)


@dataclass(frozen=True)
class Conflict:
    """A PatchConflict as it is stored."""

    conflict: str
    next_step: str


@dataclass(frozen=True)
class VerdictStore:
    """Verdicts in short, and conflicts, below ``root`` by a key of everything they depend on.

    ``means`` is what that is besides the release, its patches and the tier: see :meth:`open`.
    """

    root: Path
    means: tuple[str, ...] = ()

    @classmethod
    def open(cls, root: Path, python: str | None = None) -> VerdictStore:
        """Return the store for this machine, today's scripts and today's race suite."""
        code = [tree_digest(Path(__file__).parents[2]), tree_digest(RACE_SUITE)]
        code += [f"{name}={value}" for name, value in sources()[-1].items()]
        return cls(root, (*code, find_interpreter(python).version, sysconfig.get_platform()))

    def key(self, release: Release, series: str, tier: str) -> str:
        """Return the key for a release under the patches with a digest."""
        artefacts = [artefact.sha256 for artefact in release.artefacts]
        return digest_of([*artefacts, release.uploaded.isoformat(), series, tier, *self.means])

    def read(self, key: str) -> VerdictSummary | PatchConflict | None:
        """Return what will not change; None if there is nothing, or it is damaged."""
        entry = self.last(key)
        return None if isinstance(entry, VerdictSummary) and not entry.lasts else entry

    def last(self, key: str) -> VerdictSummary | PatchConflict | None:
        """Return the same, or else the last result, which is only to be shown."""
        try:
            document = load((self.root / f"{key}.json").read_bytes(), "entry")
            if "conflict" in document:
                entry = decode(Conflict, document, "entry", version=FORMAT)
                return PatchConflict(entry.conflict, next_step=entry.next_step)
            return decode(VerdictSummary, document, "entry", version=FORMAT)
        except (OSError, ValueError, TypeError):
            return None

    def proof(self, key: str, summary: VerdictSummary) -> Proof | None:
        """Return the whole verdict of a summary, if it is stored."""
        try:
            data = self._proof(key).read_bytes()
        except OSError:
            return None
        return (
            Proof(**Claim.fields_of(summary), data=data) if sha256(data) == summary.proof else None
        )

    def verdict(self, key: str) -> Verdict | None:
        """Return the whole verdict that will not change, judged again, if one is stored."""
        summary = self.read(key)
        proof = self.proof(key, summary) if isinstance(summary, VerdictSummary) else None
        try:
            return Verdict.parse(proof.data) if proof else None
        except Malformed:
            return None

    def picture(self, key: str) -> Path:
        """Return where the counterexample's picture is, if one was drawn."""
        return self.root / f"{key}.svg"

    def write(
        self, key: str, entry: VerdictSummary | PatchConflict, proof: Proof | None = None
    ) -> None:
        """Store a verdict with its proof, or a conflict.

        A verdict that may change does not replace one that lasts.
        """
        if isinstance(entry, VerdictSummary) and not entry.lasts and self.read(key):
            return
        content: object = entry
        if isinstance(entry, PatchConflict):
            content = Conflict(entry.problem, entry.next_step)
        with not_writable_errors(self.root):
            if proof:
                write_whole(self._proof(key), proof.data)
            text = json.dumps({"format": FORMAT, **encode(content)}, indent=1)
            write_whole(self.root / f"{key}.json", text.encode())

    def _proof(self, key: str) -> Path:
        return self.root / f"{key}.verdict.json"
