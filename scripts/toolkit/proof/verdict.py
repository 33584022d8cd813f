"""What the race suite, run on the official and on the patched wheels, says of a release."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.utils import parse_wheel_filename

from toolkit.proof.exploration import Exploration, Explored
from toolkit.proof.fault_injection import FaultInjection
from toolkit.proof.race_suite import LOSES_CALLS, NOT_RUN, SuiteRun
from toolkit.proof.rules import Compared, compare_reports, incomparable, judge
from toolkit.upstream_tests.result import UpstreamResult
from toolkit.util.errors import NotProved
from toolkit.util.files import require_plain_name
from toolkit.util.strict_json import Malformed, decode, encode, load

FORMAT = 4
VERDICTS = ("publish", "fixed", "conflict", "regressed", "inconclusive")


@dataclass(frozen=True)
class SuiteCounts:
    """One set of wheels under the suite.

    ``wheels``: file name -> sha256; ``lost``: the ids of the tests that lost a call.
    """

    wheels: Mapping[str, str]
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """What a verdict is about.

    ``official``, ``patched``: file name -> sha256 of every wheel that was installed, so that
    ``patched`` holds the official partner too where it needs no patch; ``series``, ``suite``:
    digests; ``revision``: the number in the local version; ``python``: the interpreter's version.
    ``others``: the same for the patched wheels of other platforms, which cannot run here.
    """

    release: str
    uploaded: datetime
    official: Mapping[str, str]
    patched: Mapping[str, str]
    series: str
    revision: int
    suite: str
    python: str
    others: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """One of VERDICTS, the reason for it, and all that it rests on.

    Holds neither a time nor a path of the machine that made it: the same inputs give the same
    bytes. ``wheels`` (file name -> sha256) are what may be published if it says ``publish``,
    ``dependencies`` (project -> version) what was installed beside them on both sides.
    ``exploration`` is what the schedules showed, or None if none was run; ``probe`` whether the
    suite would have noticed a loss, where it noticed none; ``upstream`` the result of upstream's
    own tests, or None if they were not asked for.
    """

    release: str
    verdict: str
    reason: str
    official: SuiteCounts
    patched: SuiteCounts
    wheels: Mapping[str, str]
    series: str
    revision: int
    suite: str
    python: str
    uploaded: str
    tests: Mapping[str, Compared] = field(default_factory=dict)
    dependencies: Mapping[str, str] = field(default_factory=dict)
    exploration: Exploration | None = None
    probe: FaultInjection | None = None
    upstream: UpstreamResult | None = None

    @classmethod
    def of(
        cls,
        subject: Subject,
        official: SuiteRun,
        patched: SuiteRun,
        explored: Explored,
        dependencies: Mapping[str, str] | None = None,
        probe: FaultInjection | None = None,
    ) -> Verdict:
        """Judge two runs of the suite over ``subject``, and what exploring both sides found."""
        tests = compare_reports(official.report, patched.report)
        if trouble := incomparable(official, patched) or explored.trouble:
            word, reason = "inconclusive", trouble
        else:
            word, reason = judge(tests, explored.exploration, probe)
        verdict = cls._make(subject, word, reason, tests)
        return replace(
            verdict,
            dependencies=dict(dependencies or {}),
            exploration=explored.exploration,
            probe=probe,
        )

    @classmethod
    def inconclusive(cls, subject: Subject, reason: str) -> Verdict:
        """Make the verdict on a release whose environments could not be had; nothing ran."""
        return cls._make(subject, "inconclusive", reason, {})

    @classmethod
    def _make(
        cls, subject: Subject, word: str, reason: str, tests: Mapping[str, Compared]
    ) -> Verdict:
        return cls(
            release=subject.release,
            verdict=word,
            reason=reason,
            official=_count(subject.official, tests, "official"),
            patched=_count(subject.patched, tests, "patched"),
            wheels={**subject.patched, **subject.others},
            series=subject.series,
            revision=subject.revision,
            suite=subject.suite,
            python=subject.python,
            uploaded=subject.uploaded.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            tests=tests,
        )

    def beside(self, upstream: UpstreamResult) -> Verdict:
        """Judge again, with the result of upstream's own tests."""
        word, reason = judge(self.tests, self.exploration, self.probe, upstream)
        return replace(self, verdict=word, reason=reason, upstream=upstream)

    def to_json(self) -> str:
        """Return the verdict as JSON text, byte for byte the same for equal verdicts."""
        return self._json

    @cached_property
    def _json(self) -> str:
        document = {"format": FORMAT, **encode(self)}
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str | bytes) -> Verdict:
        """Read what :meth:`to_json` wrote, and judge its tests and schedules again.

        Raises Malformed for another format, and for a verdict that these do not bear out.
        """
        verdict = decode(cls, load(text, "the verdict"), "the verdict", version=FORMAT)
        verdict._require_consistent()
        return verdict

    def _require_consistent(self) -> None:
        if self.verdict not in VERDICTS:
            raise Malformed(f"the verdict is {self.verdict!r}, which is none of {VERDICTS}")
        # the tests and the schedules have to lead to this verdict
        if self.verdict in ("publish", "fixed", "regressed"):
            word, reason = judge(self.tests, self.exploration, self.probe, self.upstream)
            if (word, reason) != (self.verdict, self.reason):
                raise Malformed(f"its own tests say {word} ({reason}), not {self.verdict}")
            for side, counts in (("official", self.official), ("patched", self.patched)):
                if counts != _count(counts.wheels, self.tests, side):
                    raise Malformed("the verdict's counts are not those of its tests")
        # and nothing else may be published by it than what was tested
        tested = self.patched.wheels
        if {name: self.wheels.get(name) for name in tested} != tested:
            raise Malformed("the verdict's wheels are not those that were tested")
        if {*map(_project, self.wheels)} != {*map(_project, tested)}:
            raise Malformed("the verdict's wheels are not of the distributions that were tested")


def _project(wheel: str) -> tuple[str, str]:
    """Return the distribution and the version in a wheel's file name, as they are spelled."""
    name, _, rest = wheel.partition("-")
    return name, rest.partition("-")[0]


def _count(wheels: Mapping[str, str], tests: Mapping[str, Compared], side: str) -> SuiteCounts:
    outcomes: dict[str, str] = {test: getattr(both, side) for test, both in tests.items()}
    failed = sorted(test for test, outcome in outcomes.items() if outcome in ("failed", "error"))
    return SuiteCounts(
        wheels=dict(wheels),
        passed=sum(outcome == "passed" for outcome in outcomes.values()),
        failed=len(failed),
        skipped=sum(outcome in NOT_RUN for outcome in outcomes.values()),
        lost=tuple(test for test in failed if tests[test].check == LOSES_CALLS),
    )


@dataclass(frozen=True)
class Claim:
    """A verdict and the wheels that it is about, without the evidence.

    ``wheels`` maps file names to sha256, ``dependencies`` projects to versions.
    """

    release: str
    verdict: str
    reason: str
    wheels: Mapping[str, str]
    dependencies: Mapping[str, str]

    @staticmethod
    def fields_of(claimant: Claim | Verdict) -> dict[str, Any]:
        """Return these fields of a claim, or of a verdict, by name."""
        return {field: getattr(claimant, field) for field in Claim.__dataclass_fields__}

    @property
    def name(self) -> str:
        """The file name of the verdict in an index, such as ``1.8.9+dispatched.1.json``."""
        every = (parse_wheel_filename(wheel)[1].local for wheel in self.wheels)
        # a borrowed partner's local part is longer than that of the release
        local = min(filter(None, every), key=len, default="")
        return require_plain_name("+".join(filter(None, (self.release, local))) + ".json")


@dataclass(frozen=True)
class Proof(Claim):
    """A claim with its evidence: the whole verdict, as the bytes that go into the index."""

    data: bytes

    @classmethod
    def of(cls, verdict: Verdict) -> Proof:
        """Make the proof of a verdict."""
        return cls(**Claim.fields_of(verdict), data=verdict.to_json().encode())


def read_verdict(path: Path) -> Verdict:
    """Read the verdict in a file that prove.py wrote.

    Raises NotProved if there is none, or if it is not one that prove.py would write.
    """
    try:
        return Verdict.parse(path.read_bytes())
    except (OSError, Malformed) as error:
        step = "write one with prove.py --out"
        raise NotProved(f"{path} is no verdict: {error}", next_step=step) from error
