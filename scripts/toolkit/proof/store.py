"""Cache of verdicts and conflicts, keyed by everything that influences them."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.utils import parse_wheel_filename

from toolkit.environments.interpreter import find_interpreter
from toolkit.proof.exploration import LOSS, TIERS, Findings
from toolkit.proof.prove import RACE_SUITE
from toolkit.proof.verdict import Claim, Proof, SuiteCounts, Verdict
from toolkit.releases.catalogue import Row
from toolkit.releases.release import Release
from toolkit.util.errors import PatchConflict
from toolkit.util.files import not_writable_errors, sha256, tree_digest, write_whole
from toolkit.util.inherited import sources
from toolkit.util.strict_json import Malformed, mapping_of, members

FORMAT = 2
# inconclusive is not among them: its cause may be gone the next time
LASTING = ("publish", "fixed", "regressed")
FIXED = "fixed"
_TEXTS = ("release", "verdict", "reason", "series", "proof", "tier", "upstream")


@dataclass(frozen=True)
class Loss:
    """How much one set of wheels loses: tests and schedules, each of how many that were run."""

    tests: int
    of_tests: int
    schedules: int = 0
    of_schedules: int = 0

    @classmethod
    def of(cls, side: SuiteCounts, found: Findings | None) -> Loss:
        """What the suite and the explorer counted."""
        tests = (len(side.lost), side.passed + side.failed)
        if found is None:
            return cls(*tests)
        lost = found.violations.get(LOSS)
        ran = sum(level.explored for level in found.levels.values())
        return cls(*tests, lost.count if lost else 0, ran)

    def __str__(self) -> str:
        text = f"{self.tests} of {self.of_tests} tests"
        if self.of_schedules:
            text += f", {self.schedules} of {self.of_schedules} schedules"
        return text


@dataclass(frozen=True)
class VerdictSummary:
    """A release's verdict in short; ``proof`` is the sha256 of the whole.

    ``tier`` is what was explored, ``upstream`` the state of what upstream's own tests say; both
    are empty without one.
    """

    claim: Claim
    revision: int
    series: str
    official: Loss
    patched: Loss
    proof: str
    tier: str = ""
    upstream: str = ""

    @classmethod
    def of(cls, verdict: Verdict) -> VerdictSummary:
        """The short form of a verdict."""
        proof = Proof.of(verdict)
        ran = verdict.exploration
        return cls(
            claim=Claim(
                proof.release, proof.verdict, proof.reason, proof.wheels, proof.dependencies
            ),
            revision=verdict.revision,
            series=verdict.series,
            official=Loss.of(verdict.official, ran.official if ran else None),
            patched=Loss.of(verdict.patched, ran.patched if ran else None),
            proof=sha256(proof.data),
            tier=ran.tier if ran else "",
            upstream=verdict.upstream.state if verdict.upstream else "",
        )

    @property
    def word(self) -> str:
        """The verdict itself."""
        return self.claim.verdict

    @property
    def lasts(self) -> bool:
        """Whether it would be the same the next time.

        What regressed in upstream's own tests alone is run again: they may be flaky.
        """
        flaky = self.claim.verdict == self.upstream == "regressed"
        return self.claim.verdict in LASTING and not flaky

    @property
    def loses(self) -> bool | None:
        """Whether the official wheels lose a call; None if that is not decided."""
        if self.official.tests or self.official.schedules:
            return True
        return False if (self.claim.verdict, self.tier) == (FIXED, TIERS[-1]) else None

    @property
    def row(self) -> Row:
        """What the catalogue says of the release once it is published."""
        ours = {n: sha for n, sha in self.claim.wheels.items() if parse_wheel_filename(n)[1].local}
        return Row(self.revision, self.series, ours)

    def fits(self, row: Row | None) -> bool:
        """Whether repacking would make these wheels again, as far as the revision goes."""
        if row is None:
            return self.revision == 1
        return (row.revision, row.wheels) == (self.revision, self.row.wheels)


@dataclass(frozen=True)
class VerdictStore:
    """Verdicts in short, and conflicts, below ``root`` by a key of everything they rest on.

    ``means`` is what that is besides the release, its patches and the tier: see :meth:`open`.
    """

    root: Path
    means: tuple[str, ...] = ()

    @classmethod
    def open(cls, root: Path, python: str | None = None) -> VerdictStore:
        """The outcomes below ``root`` on this machine, by today's scripts and race suite."""
        code = [tree_digest(Path(__file__).parents[2]), tree_digest(RACE_SUITE)]
        code += [f"{name}={value}" for name, value in sources()[-1].items()]
        return cls(root, (*code, find_interpreter(python).version, sysconfig.get_platform()))

    def key(self, release: Release, series: str, tier: str) -> str:
        """The key for a release under the patches with a digest."""
        artefacts = [artefact.sha256 for artefact in release.artefacts]
        inputs = [*artefacts, release.uploaded.isoformat(), series, tier, *self.means]
        return sha256(json.dumps(inputs).encode())

    def read(self, key: str) -> VerdictSummary | PatchConflict | None:
        """What is known for good under ``key``; None if nothing is, or it is damaged."""
        found = self.last(key)
        return None if isinstance(found, VerdictSummary) and not found.lasts else found

    def last(self, key: str) -> VerdictSummary | PatchConflict | None:
        """The same, or else what came of it the last time, for the eye only."""
        try:
            return _parse(json.loads((self.root / f"{key}.json").read_text("utf-8")))
        except (OSError, ValueError):
            return None

    def proof(self, key: str, judged: VerdictSummary) -> Proof | None:
        """The whole verdict that ``judged`` is short for."""
        try:
            data = self._proof(key).read_bytes()
        except OSError:
            return None
        return Proof(**vars(judged.claim), data=data) if sha256(data) == judged.proof else None

    def picture(self, key: str) -> Path:
        """Where the picture of the schedule that speaks most plainly is, if one was drawn."""
        return self.root / f"{key}.svg"

    def write(
        self, key: str, found: VerdictSummary | PatchConflict, proof: Proof | None = None
    ) -> None:
        """Remember a verdict with its proof, or a conflict.

        One that may change does not take the place of one that lasts.
        """
        if isinstance(found, VerdictSummary) and not found.lasts and self.read(key):
            return
        if isinstance(found, VerdictSummary):
            claim = asdict(found.claim)
            document = {**claim, **{k: v for k, v in asdict(found).items() if k != "claim"}}
        else:
            document = {"conflict": found.problem, "next_step": found.next_step}
        with not_writable_errors(self.root):
            if proof:
                write_whole(self._proof(key), proof.data)
            text = json.dumps({"format": FORMAT, **document}, indent=1)
            write_whole(self.root / f"{key}.json", text.encode())

    def _proof(self, key: str) -> Path:
        return self.root / f"{key}.verdict.json"


def _parse(document: object) -> VerdictSummary | PatchConflict:
    if isinstance(document, dict) and "conflict" in document:
        keys = {"format": int, "conflict": str, "next_step": str}
        found = members(document, "outcome", keys, {})
        _require_format(found)
        return PatchConflict(found["conflict"], next_step=found["next_step"])
    kinds: dict[str, type] = {"format": int, "revision": int, **dict.fromkeys(_TEXTS, str)}
    kinds |= dict.fromkeys(("wheels", "dependencies", "official", "patched"), dict)
    found = members(document, "outcome", kinds, {})
    _require_format(found)
    maps = {name: mapping_of(found[name], str, name) for name in ("wheels", "dependencies")}
    official, patched = (_loss(found[side], side) for side in ("official", "patched"))
    claim = Claim(found["release"], found["verdict"], found["reason"], **maps)
    rest = {name: found[name] for name in ("revision", "series", "proof", "tier", "upstream")}
    return VerdictSummary(claim, official=official, patched=patched, **rest)


def _loss(raw: object, where: str) -> Loss:
    names = dict.fromkeys(Loss.__dataclass_fields__, int)
    found: Mapping[str, int] = members(raw, where, names, {})
    return Loss(**found)


def _require_format(found: Mapping[str, object]) -> None:
    if found["format"] != FORMAT:
        raise Malformed(f"the outcome is not of format {FORMAT}")
