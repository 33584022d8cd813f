"""What upstream's own tests, run on the official and on the patched wheels, say of a release."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from toolkit.util.errors import UpstreamNotRun
from toolkit.util.strict_json import Malformed, mapping_of, members, value_of

FORMAT = 1
STATUSES = ("passed", "regressed", "not run")
UNREACHED = "not reached"
WHOLE = "(all tests)"

RANKS = {"absent": 0, "failed": 0, "skipped": 1, "xfailed": 1, "passed": 2}


@dataclass(frozen=True)
class Ended:
    """How a test ended: one of RANKS, and why unless it passed."""

    outcome: str
    why: str = ""


@dataclass(frozen=True)
class Side:
    """One run: each test by pytest's id, and what was left out and why.

    ``left_out`` maps files that could not be collected, and tests that were deselected.
    ``trouble`` says why the run as a whole cannot be judged, or nothing.
    """

    tests: Mapping[str, Ended] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""

    def of(self, test: str) -> Ended:
        """How a test ended here; a test that was not collected is absent."""
        return self.tests.get(test, Ended("absent", "it is not there"))

    @property
    def passed(self) -> int:
        """How many tests passed."""
        return sum(ended.outcome == "passed" for ended in self.tests.values())

    @property
    def mostly(self) -> str:
        """The reason that most tests and files have in common for not passing."""
        whys = [ended.why for ended in self.tests.values() if ended.outcome != "passed"]
        whys += self.left_out.values()
        return max(sorted({*whys}), key=whys.count, default="there are none")


# runs on the official and on the patched wheels
Pair = tuple[Side, Side]


@dataclass(frozen=True)
class Source:
    """Which tests ran: those of ``tag``, at ``commit``.

    ``release`` is the tag's, which is not the one under test if that has no tag; ``between``
    counts the releases between the two. ``differing`` maps a distribution to how many of its
    modules are other in the official wheel than at the tag, and ``modules`` to how many it has.
    """

    tag: str
    commit: str
    release: str
    between: int
    differing: Mapping[str, int]
    modules: Mapping[str, int]


@dataclass(frozen=True)
class Upstream:
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

    @classmethod
    def not_run(cls, release: str, why: str, source: Source | None = None) -> Upstream:
        """Upstream's tests could not be had, or could not run."""
        return cls(release, "not run", " ".join(why.split()), source)

    def to_json(self) -> str:
        """The result as a JSON document; :meth:`parse` reads it."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str) -> Upstream:
        """Read what :meth:`to_json` wrote; raises Malformed for anything else."""
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise Malformed(f"upstream's result is not JSON: {error}") from error
        if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
            raise Malformed(f"upstream's result is not of format {FORMAT}")
        return cls.of(document, "upstream")

    @classmethod
    def of(cls, document: object, where: str) -> Upstream:
        """Read the document as it stands in a larger one; raises Malformed."""
        keys: dict[str, type] = dict.fromkeys(("release", "status", "why", "selection"), str)
        said = ("regressed", "fixed", "flaky")
        grouped = ("failed", "left_out")
        keys |= dict.fromkeys((*said, *grouped), dict)
        keys |= {"passed": int, "source": object}
        found = members(document, where, keys, {})
        for name in said:
            found[name] = mapping_of(found[name], str, f"{where}.{name}")
        for name in grouped:
            rows = mapping_of(found[name], list, f"{where}.{name}")
            found[name] = {
                why: tuple(value_of(test, str, f"{where}.{name}") for test in tests)
                for why, tests in rows.items()
            }
        if found["source"] is not None:
            found["source"] = _parse_source(found["source"], f"{where}.source")
        made = cls(**found)
        if made.status not in STATUSES or (made.status == "regressed") != bool(made.regressed):
            raise Malformed(f"{where} says {made.status!r}, which its own tests do not")
        return made

    def require(self) -> None:
        """Raise UpstreamNotRun if the tests did not run."""
        if self.status == "not run":
            raise UpstreamNotRun(
                f"{self.release}: {self.said}",
                next_step="name a clone of upstream's repository, or leave --require-upstream out",
            )

    @property
    def state(self) -> str:
        """``status``, or UNREACHED if not even a commit of the tests was found."""
        return UNREACHED if (self.status, self.source) == ("not run", None) else self.status

    @property
    def said(self) -> str:
        """The result in a sentence."""
        return f"upstream's suite: {'not run: ' * (self.status == 'not run')}{self.why}"

    @property
    def lines(self) -> list[str]:
        """The result for people: a line of what ran, one a class, and what regressed by name."""
        shown = [self.said]
        shown += [f"  of {described(self.source)}"] if self.source else []
        for name in ("regressed", "flaky", "fixed"):
            shown += [f"  {name}: {test}: {said}" for test, said in getattr(self, name).items()]
        for name, heading in (("failed", "failed on both"), ("left_out", "left out")):
            rows = sorted(getattr(self, name).items(), key=lambda row: (-len(row[1]), row[0]))
            shown += [f"  {heading}: {len(tests)}: {why}" for why, tests in rows]
        return shown


def described(source: Source) -> str:
    """The tag, and how far it is from the release where it is not its own."""
    parts = [source.tag]
    if source.between or any(source.differing.values()):
        parts.append(f"{source.between} releases lie between")
    parts += [
        f"{count} of {source.modules[name]} modules of {name} differ"
        for name, count in source.differing.items()
        if count
    ]
    return ", ".join(parts)


def judge(
    release: str,
    source: Source,
    selection: str,
    first: Pair,
    again: Sequence[Pair],
    unchosen: Iterable[str] = (),
) -> Upstream:
    """Compare the runs on the official and the patched wheels; a pure function.

    ``again`` holds later, lonely runs of the tests that differ in the ``first`` and ever since: one
    that does not differ in the same direction each time is flaky.
    """
    official, patched = first
    failed: dict[str, list[str]] = {}
    left_out: dict[str, list[str]] = {}
    classes: dict[str, dict[str, str]] = {"regressed": {}, "fixed": {}, "flaky": {}}
    passed = 0
    for test in sorted(official.tests.keys() | patched.tests.keys()):
        theirs, ours = official.of(test), patched.of(test)
        kind = _kind(theirs, ours)
        if kind:
            other = next((pair for pair in again if kind_in(pair, test) != kind), None)
            said = _told(theirs, ours)
            if other:
                said += f"; run again: {' and '.join(side.of(test).outcome for side in other)}"
            classes["flaky" if other else kind][test] = said
        elif theirs.outcome == "passed":
            passed += 1
        else:
            group = failed if theirs.outcome in ("failed", "absent") else left_out
            group.setdefault(_joined(theirs, ours), []).append(test)
    for item in sorted(official.left_out.keys() | patched.left_out.keys()):
        theirs_said, ours_said = official.left_out.get(item), patched.left_out.get(item)
        if ours_said and not theirs_said:
            classes["regressed"][item] = f"only on the patched wheels: {ours_said}"
        else:
            left_out.setdefault(theirs_said or "", []).append(item)
    if others := sorted(unchosen):
        left_out["not of the plugin's tests (--all takes them)"] = others
    worse = classes["regressed"]
    why = f"{passed} tests pass on both sides, {sum(map(len, failed.values()))} fail on both, "
    why += f"{len(worse)} regressed"
    why += "".join(f", {len(classes[k])} {k}" for k in ("fixed", "flaky") if classes[k])
    return Upstream(
        release,
        status="regressed" if worse else "passed",
        why=why,
        source=source,
        selection=selection,
        passed=passed,
        failed=_grouped(failed),
        left_out=_grouped(left_out),
        **classes,
    )


def _grouped(reasons: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {why: tuple(tests) for why, tests in sorted(reasons.items())}


def differing_tests(first: Pair, again: Sequence[Pair] = ()) -> list[str]:
    """The tests that are to run again: those that are better on one side, the same each time."""
    every = sorted(first[0].tests.keys() | first[1].tests.keys())
    kinds = {test: kind for test in every if (kind := kind_in(first, test))}
    return [t for t, kind in kinds.items() if all(kind_in(pair, t) == kind for pair in again)]


def kind_in(pair: Pair, test: str) -> str:
    """Whether a test is ``regressed`` or ``fixed`` in the runs on both sides, or neither."""
    return _kind(pair[0].of(test), pair[1].of(test))


def _kind(theirs: Ended, ours: Ended) -> str:
    there, here = RANKS[theirs.outcome], RANKS[ours.outcome]
    return "regressed" if here < there else "fixed" if here > there else ""


def _told(theirs: Ended, ours: Ended) -> str:
    return f"official {_word(theirs)}; patched {_word(ours)}"


def _word(ended: Ended) -> str:
    return f"{ended.outcome} ({ended.why})" if ended.why else ended.outcome


def _joined(theirs: Ended, ours: Ended) -> str:
    return " / ".join(dict.fromkeys(ended.why or ended.outcome for ended in (theirs, ours)))


def _parse_source(raw: object, where: str) -> Source:
    texts = dict.fromkeys(("tag", "commit", "release"), str)
    keys = {**texts, "between": int, "differing": dict, "modules": dict}
    found: dict[str, Any] = members(raw, where, keys, {})
    for name in ("differing", "modules"):
        found[name] = mapping_of(found[name], int, f"{where}.{name}")
    return Source(**found)


# in that order: a test that is worse on one side than on the other is told by it
