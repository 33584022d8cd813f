"""The result of upstream's own tests, run on the official and on the patched wheels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.util.errors import UpstreamNotRun
from toolkit.util.strict_json import Malformed, decode, encode

FORMAT = 1
STATUSES = ("passed", "regressed", "not run")
UNREACHED = "not reached"
# stands for the tests where a run as a whole regressed
ALL_TESTS = "(all tests)"
# a test regressed if its outcome on the patched wheels ranks lower than on the official ones
RANKS = {"absent": 0, "failed": 0, "skipped": 1, "xfailed": 1, "passed": 2}


@dataclass(frozen=True)
class UpstreamOutcome:
    """How a test ended: one of RANKS, and why unless it passed."""

    outcome: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.outcome} ({self.why})" if self.why else self.outcome


@dataclass(frozen=True)
class UpstreamRun:
    """One run: each test by pytest's id, and what was left out and why.

    ``left_out`` maps files that could not be collected, and tests that were deselected.
    ``trouble`` says why the run as a whole cannot be judged; "" if it can.
    """

    tests: Mapping[str, UpstreamOutcome] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""

    def of(self, test: str) -> UpstreamOutcome:
        """Return how a test ended; a test that was not collected is absent."""
        return self.tests.get(test, UpstreamOutcome("absent", "it is not there"))

    @property
    def passed(self) -> int:
        """How many tests passed."""
        return sum(test.outcome == "passed" for test in self.tests.values())

    @property
    def main_reason(self) -> str:
        """The most frequent reason of tests and files for not passing."""
        reasons = [test.why for test in self.tests.values() if test.outcome != "passed"]
        reasons += self.left_out.values()
        return max(sorted({*reasons}), key=reasons.count, default="there are none")


# runs on the official and on the patched wheels
RunPair = tuple[UpstreamRun, UpstreamRun]


@dataclass(frozen=True)
class Source:
    """Which tests ran: those of ``tag``, at ``commit``.

    ``release`` is the tag's, which is not the one under test if that has no tag; ``between``
    counts the releases between the two. ``differing`` maps a distribution to how many modules of
    its official wheel differ from those at the tag, and ``modules`` to how many it has.
    """

    tag: str
    commit: str
    release: str
    between: int
    differing: Mapping[str, int]
    modules: Mapping[str, int]

    def __str__(self) -> str:
        parts = [self.tag]
        if self.between or any(self.differing.values()):
            parts.append(f"{self.between} releases lie between")
        parts += [
            f"{count} of {self.modules[name]} modules of {name} differ"
            for name, count in self.differing.items()
            if count
        ]
        return ", ".join(parts)


@dataclass(frozen=True)
class UpstreamResult:
    """What became of upstream's tests on both sides; holds no time, and no path.

    ``status`` is one of STATUSES, ``why`` the reason in a sentence. ``passed`` counts the tests
    that passed on both sides. ``failed`` (on both) and ``left_out`` (skipped, deselected, not
    collectable, not chosen) map a reason to tests or files. ``regressed``, ``fixed`` and
    ``flaky`` map a test to what it did.
    """

    release: str
    status: str
    why: str
    source: Source | None = None
    selection: str = ""
    passed: int = 0
    failed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    regressed: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    flaky: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in STATUSES or (self.status == "regressed") != bool(self.regressed):
            raise ValueError(f"its own tests do not say {self.status!r}")

    @classmethod
    def not_run(cls, release: str, why: str, source: Source | None = None) -> UpstreamResult:
        """Make the result of tests that could not be had, or could not run."""
        return cls(release, "not run", " ".join(why.split()), source)

    def to_json(self) -> str:
        """Return the result as a JSON document; :meth:`parse` reads it."""
        return json.dumps({"format": FORMAT, **encode(self)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str | bytes) -> UpstreamResult:
        """Read what :meth:`to_json` wrote; raises Malformed for anything else."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise Malformed(f"upstream's result is not JSON: {error}") from error
        return decode(cls, document, "upstream's result", version=FORMAT)

    def require(self) -> None:
        """Raise UpstreamNotRun if the tests did not run."""
        if self.status == "not run":
            raise UpstreamNotRun(
                f"{self.release}: {self.sentence}",
                next_step="name a clone of upstream's repository, or leave --require-upstream out",
            )

    @property
    def state(self) -> str:
        """``status``, or UNREACHED if not even a commit of the tests was found."""
        return UNREACHED if (self.status, self.source) == ("not run", None) else self.status

    @property
    def sentence(self) -> str:
        """The result in a sentence."""
        return f"upstream's suite: {'not run: ' * (self.status == 'not run')}{self.why}"

    @property
    def lines(self) -> list[str]:
        """The result for people: a line of what ran, one a class, and what regressed by name."""
        lines = [self.sentence]
        lines += [f"  of {self.source}"] if self.source else []
        for name in ("regressed", "flaky", "fixed"):
            lines += [f"  {name}: {test}: {what}" for test, what in getattr(self, name).items()]
        for name, heading in (("failed", "failed on both"), ("left_out", "left out")):
            rows = sorted(getattr(self, name).items(), key=lambda row: (-len(row[1]), row[0]))
            lines += [f"  {heading}: {len(tests)}: {why}" for why, tests in rows]
        return lines


def compare_runs(
    release: str,
    source: Source,
    selection: str,
    first: RunPair,
    reruns: Sequence[RunPair],
    unchosen: Iterable[str] = (),
) -> UpstreamResult:
    """Compare the runs on the official and the patched wheels; a pure function.

    ``reruns`` are later runs of only those tests that differed in the ``first`` and ever since. A
    test that does not differ in the same direction each time is flaky. ``unchosen`` are test
    files that were left out on purpose.
    """
    official, patched = first
    classes: dict[str, dict[str, str]] = {"regressed": {}, "fixed": {}, "flaky": {}}
    failed: dict[str, list[str]] = {}
    left_out: dict[str, list[str]] = {}
    passed = 0
    # a test that differs between the sides belongs to a class, another is grouped by its reason
    for test in sorted(official.tests.keys() | patched.tests.keys()):
        before, after = official.of(test), patched.of(test)
        if change := _change(first, test):
            other = next((pair for pair in reruns if _change(pair, test) != change), None)
            what = f"official {before}; patched {after}"
            if other:
                what += f"; run again: {' and '.join(run.of(test).outcome for run in other)}"
            classes["flaky" if other else change][test] = what
        elif before.outcome == "passed":
            passed += 1
        else:
            group = failed if RANKS[before.outcome] == 0 else left_out
            reasons = dict.fromkeys(test.why or test.outcome for test in (before, after))
            group.setdefault(" / ".join(reasons), []).append(test)
    # a file that only the patched wheels cannot collect regressed, too
    for item in sorted(official.left_out.keys() | patched.left_out.keys()):
        if item in patched.left_out and item not in official.left_out:
            classes["regressed"][item] = f"only on the patched wheels: {patched.left_out[item]}"
        else:
            left_out.setdefault(official.left_out[item], []).append(item)
    if others := sorted(unchosen):
        left_out["not of the plugin's tests (--all takes them)"] = others
    # the summary
    regressed = classes["regressed"]
    text = f"{passed} tests pass on both sides, {sum(map(len, failed.values()))} fail on both, "
    text += f"{len(regressed)} regressed"
    text += "".join(f", {len(classes[n])} {n}" for n in ("fixed", "flaky") if classes[n])
    return UpstreamResult(
        release,
        status="regressed" if regressed else "passed",
        why=text,
        source=source,
        selection=selection,
        passed=passed,
        failed=_sorted(failed),
        left_out=_sorted(left_out),
        **classes,
    )


def _sorted(reasons: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {why: tuple(tests) for why, tests in sorted(reasons.items())}


def differing_tests(first: RunPair, reruns: Sequence[RunPair] = ()) -> list[str]:
    """Return the tests that differed between the sides, in the same direction each time."""
    every = sorted(first[0].tests.keys() | first[1].tests.keys())
    changes = {test: change for test in every if (change := _change(first, test))}
    return [t for t, change in changes.items() if all(_change(p, t) == change for p in reruns)]


def _change(pair: RunPair, test: str) -> str:
    """Return whether a test is ``regressed`` or ``fixed`` in runs on both sides; "" if neither."""
    official, patched = (RANKS[run.of(test).outcome] for run in pair)
    return "regressed" if patched < official else "fixed" if patched > official else ""
