"""From official and patched wheels to a verdict: environments, the suite's tests, its schedules."""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from . import environment, explorer, inherited, suite
from .environment import Environment, Environments
from .errors import EnvironmentUnresolvable, InvalidWheel, speaks_of_shortage
from .exploration import TIERS, Explored
from .files import sha256, sha256_of, write_whole, writing
from .judging import compare, lossless, troubles
from .progress import Watch, unwatched
from .strict import Malformed
from .suite import Run
from .verdict import FORMAT, Subject, Verdict

if TYPE_CHECKING:
    from .upstream_proof import Asker

# Plugins that subclass the patched session: the fix reaches them and must not break them.
SUBCLASSES = ("livekit-plugins-xai",)
RACE_SUITE = Path(__file__).resolve().parents[2] / "tests" / "race"
# seconds in which nothing moves, after which a run counts as hanging; one schedule takes far less
PATIENCE = 600.0
# in the environment for the proof's sake only
_TOOLS = frozenset({"iniconfig", "pip", "pluggy", "pytest", "setuptools"})
SHOWN = 20


def prove(
    official: Sequence[Path],
    patched: Sequence[Path],
    *,
    release: str,
    uploaded: datetime,
    environments: Path,
    verdicts: Path,
    series: str = "",
    race_suite: Path = RACE_SUITE,
    python: str | None = None,
    extra: Sequence[str] = ("pytest",),
    optional: Sequence[str] = (),
    tier: str = "quick",
    timeout: float = PATIENCE,
    picture: Path | None = None,
    others: Sequence[Path] = (),
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    watch: Watch = unwatched,
    upstream: Asker | None = None,
) -> Verdict:
    """Compare ``official`` wheels with ``patched`` ones under the race suite.

    Both lists hold every distribution; ``patched`` has the official partner where that needs
    no patch. ``uploaded`` dates the dependencies, ``series`` is the digest of what was applied,
    ``extra`` is installed beside the wheels, and ``optional`` too if there is a version of it for
    the release; the suite says what it left out. ``tier`` says how many schedules are explored.
    The suite has no limit as long as it moves on. If it stands still for ``timeout`` seconds it is
    ended, and what it finished is kept in ``verdicts`` and not done again.

    A verdict that lets things go on (``publish``, ``fixed``) is kept in ``verdicts``, and for
    the same inputs nothing runs again; what the tier full has proved stands for quick as well.
    Otherwise ``tell`` gets what failed, line by line. At ``picture`` the schedule that speaks most
    plainly is drawn as SVG, if there is one (see ``explorer.telling``).

    ``others`` are patched wheels for platforms other than this one: they cannot run here, and may
    be published with the one that can, whose code they share.

    ``watch`` is told of each step as it begins. ``upstream`` asks upstream's own tests once the
    suite lets the patched wheels go on; that they could not run is no reason to prove again.

    Raises InvalidWheel if the lists do not match, HashMismatch if an environment is not what
    its wheels say, UpstreamNotRun as ``upstream`` demands, and what Environments.prepare raises.
    """
    versions = _both_versions(official, patched)
    subject = Subject(
        release=release,
        uploaded=uploaded,
        official={wheel.name: sha256_of(wheel) for wheel in official},
        patched={wheel.name: sha256_of(wheel) for wheel in patched},
        series=series,
        revision=max(_revision(version) for version in versions[1].values()),
        suite=suite.digest(race_suite),
        python=environment.find_interpreter(python).version,
        others={wheel.name: sha256_of(wheel) for wheel in others},
    )

    def asked(verdict: Verdict, kept: Path) -> Verdict:
        """``verdict``, kept already, with what upstream's tests say of wheels that may go on."""
        if upstream is None or verdict.verdict != "publish" or not upstream.asks(verdict.upstream):
            return verdict
        with watch("upstream's own tests", ()):
            found = upstream(
                official,
                patched,
                release=release,
                uploaded=uploaded,
                python=python,
                optional=optional,
            )
        both = verdict.beside(found)
        with writing(verdicts):
            if both.verdict == "publish":
                write_whole(kept, both.to_json().encode())
                return both
            kept.unlink(missing_ok=True)
        for test, said in [*found.regressed.items()][:SHOWN]:
            tell(f"upstream's own tests: {test}: {said}")
        return both

    for known, told in product(dict.fromkeys(("full", tier)), inherited.sources()):
        kept = verdicts / f"{_key(subject, known, [*extra, *optional], told)}.json"
        if (verdict := _known(kept)) is not None:
            drawing = kept.with_suffix(".svg")
            _draw(picture, drawing.read_bytes() if drawing.is_file() else b"")
            return asked(verdict, kept)
    with watch("environments", ()):
        pair = prepare(
            official,
            patched,
            uploaded=uploaded,
            environments=environments,
            python=python,
            extra=extra,
            optional=optional,
        )
    if differing := _differing(pair, versions[0]):
        return Verdict.inconclusive(subject, f"other dependencies differ: {', '.join(differing)}")
    sides = explorer.explore(
        race_suite, pair, tier=tier, timeout=timeout, watch=watch, kept=kept.with_suffix(".sides")
    )
    runs = [_of(run, expected) for run, expected in zip(sides.tests, versions, strict=True)]
    explored = Explored(None) if troubles(*runs) else sides.explored
    beside = pair[0].distributions().items()
    dependencies = {n: v for n, v in beside if n not in versions[0] and n not in _TOOLS}
    probe = None
    if (found := explored.exploration) and lossless(compare(*(r.report for r in runs)), found):
        with watch("does the suite notice a planted fault?", ()):
            # the smallest tier is part of each, and has to notice it already
            probe = explorer.probe(race_suite, pair[0], tier=TIERS[0], timeout=timeout)
    verdict = Verdict.of(subject, runs[0], runs[1], explored, dependencies, probe)
    drawn, text = explorer.telling(race_suite, pair, sides, timeout=timeout)
    if verdict.verdict in ("publish", "fixed"):
        with writing(verdicts):
            if drawn:
                write_whole(kept.with_suffix(".svg"), drawn)
            write_whole(kept, verdict.to_json().encode())
    else:
        _explain(runs, explored, text, tell)
    _draw(picture, drawn)
    return asked(verdict, kept)


def prepare(
    official: Sequence[Path],
    patched: Sequence[Path],
    *,
    uploaded: datetime,
    environments: Path,
    python: str | None = None,
    extra: Sequence[str] = ("pytest",),
    optional: Sequence[str] = (),
) -> tuple[Environment, Environment]:
    """The environments of the official and of the patched wheels; see :func:`prove`."""
    ours = _both_versions(official, patched)[0]
    cache = Environments(environments)

    def both(extra: Sequence[str]) -> tuple[Environment, Environment]:
        here, there = (
            cache.prepare(wheels, uploaded=uploaded, python=python, extra=extra)
            for wheels in (official, patched)
        )
        return here, there

    try:
        pair = both([*extra, *optional])
        # official wheels that contradict each other allow another version than the patched ones
        unlike = {*_differing(pair, ours)}.intersection(map(canonicalize_name, optional))
    except EnvironmentUnresolvable:
        if not optional:
            raise
        unlike = {*optional}
    if unlike:
        pair = both(extra)
    for place in pair:
        environment.check(place, ours)
    return pair


def _both_versions(
    official: Sequence[Path], patched: Sequence[Path]
) -> tuple[dict[str, Version], dict[str, Version]]:
    here, there = _versions(official), _versions(patched)
    if here.keys() != there.keys():
        raise InvalidWheel(
            f"the official wheels are of {', '.join(here)}, the patched ones of {', '.join(there)}",
            next_step="hand in both distributions on both sides",
        )
    return here, there


def _draw(picture: Path | None, drawn: bytes) -> None:
    if picture is not None and drawn:
        with writing(picture.parent):
            write_whole(picture, drawn)


def _versions(wheels: Sequence[Path]) -> dict[str, Version]:
    found: dict[str, Version] = {}
    for wheel in wheels:
        try:
            name, version, _, _ = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename as error:
            raise InvalidWheel(str(error), next_step="name wheel files only") from error
        if name in found:
            raise InvalidWheel(
                f"two wheels of {name} on one side", next_step="name one wheel a distribution"
            )
        if not wheel.is_file():
            raise InvalidWheel(f"{wheel} is no file", next_step="repack the release, then prove")
        found[name] = version
    return dict(sorted(found.items()))


def _revision(version: Version) -> int:
    number = ([*(version.local or "").split("."), "0"])[1]
    return int(number) if number.isdigit() else 0


def _key(subject: Subject, tier: str, extra: Sequence[str], sources: Mapping[str, str]) -> str:
    inputs = {
        **vars(subject),
        **sources,
        "uploaded": subject.uploaded.isoformat(),
        "platform": sysconfig.get_platform(),
        "extra": sorted(extra),
        "tier": tier,
        "formats": [environment.FORMAT, FORMAT],
    }
    return sha256(json.dumps(inputs, sort_keys=True).encode())


def _known(path: Path) -> Verdict | None:
    try:
        return Verdict.parse(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, Malformed, UnicodeDecodeError):
        return None


def _differing(pair: Sequence[Environment], ours: Mapping[str, Version]) -> list[str]:
    here, there = (place.distributions() for place in pair)
    every = sorted(here.keys() | there.keys())
    return [name for name in every if name not in ours and here.get(name) != there.get(name)]


def _of(run: Run, expected: Mapping[str, Version]) -> Run:
    """``run``, unless it was not the expected distributions that it tested, or the machine was
    short of something while it did: that says nothing of the wheels."""
    if run.report is None:
        return run
    for test, outcome in run.report.tests.items():
        if outcome.outcome in ("failed", "error") and speaks_of_shortage(outcome.message):
            said = f"the machine is short of something: {test}: {outcome.message}"
            return replace(run, report=None, trouble=said)
    tested = {canonicalize_name(n): Version(v) for n, v in run.report.distributions.items()}
    for name, version in expected.items():
        if tested.get(canonicalize_name(name)) != version:
            trouble = f"{name} {tested.get(canonicalize_name(name))} was tested, not {version}"
            return replace(run, report=None, trouble=trouble)
    return run


def _explain(
    runs: Sequence[Run], explored: Explored, text: str, tell: Callable[[str], None]
) -> None:
    for side, run in zip(("official", "patched"), runs, strict=True):
        if run.report is None:
            tell(f"{side} wheels: {run.trouble}")
            for line in run.output.splitlines()[-20:]:
                tell(f"  {line}")
            continue
        failing = [
            f"{side} wheels: {test}: {outcome.message}"
            for test, outcome in run.report.tests.items()
            if outcome.outcome == "error" or (side == "patched" and outcome.outcome == "failed")
        ]
        for line in failing[:SHOWN]:
            tell(line)
        if len(failing) > SHOWN:
            tell(f"{side} wheels: and {len(failing) - SHOWN} more")
    if explored.trouble:
        for line in (explored.trouble, *explored.output.splitlines()[-20:]):
            tell(line)
    elif explored.exploration and explored.exploration.failing:
        for line in (f"patched wheels: replay {explored.exploration.failing}", *text.splitlines()):
            tell(line)
