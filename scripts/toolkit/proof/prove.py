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

from packaging.utils import canonicalize_name
from packaging.version import Version

from toolkit.environments import environment
from toolkit.environments.pair import _both_versions, _differing, prepare
from toolkit.proof import explorer
from toolkit.proof.exploration import TIERS, Explored
from toolkit.proof.race_suite import Run
from toolkit.proof.rules import compare, lossless, troubles
from toolkit.proof.verdict import FORMAT, Subject, Verdict
from toolkit.util import files, inherited
from toolkit.util.console import StepStatus, no_status
from toolkit.util.errors import reports_shortage
from toolkit.util.files import not_writable_errors, sha256, sha256_of, write_whole
from toolkit.util.strict_json import Malformed

if TYPE_CHECKING:
    from toolkit.proof.upstream_tests import Asker
from contextlib import ExitStack

from toolkit.environments.platforms import fitting
from toolkit.proof.upstream_tests import Asker
from toolkit.releases.repack import RepackedRelease
from toolkit.util.workspace import Workspace

# Plugins that subclass the patched session: the fix reaches them and must not break them.
SUBCLASSES = ("livekit-plugins-xai",)
RACE_SUITE = Path(__file__).resolve().parents[3] / "tests" / "race"
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
    watch: StepStatus = no_status,
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
        suite=files.tree_digest(race_suite),
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
        with not_writable_errors(verdicts):
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
        with not_writable_errors(verdicts):
            if drawn:
                write_whole(kept.with_suffix(".svg"), drawn)
            write_whole(kept, verdict.to_json().encode())
    else:
        _explain(runs, explored, text, tell)
    _draw(picture, drawn)
    return asked(verdict, kept)


def _draw(picture: Path | None, drawn: bytes) -> None:
    if picture is not None and drawn:
        with not_writable_errors(picture.parent):
            write_whole(picture, drawn)


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


def _of(run: Run, expected: Mapping[str, Version]) -> Run:
    """``run``, unless it was not the expected distributions that it tested, or the machine was
    short of something while it did: that says nothing of the wheels."""
    if run.report is None:
        return run
    for test, outcome in run.report.tests.items():
        if outcome.outcome in ("failed", "error") and reports_shortage(outcome.message):
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


def prove_release(
    repacked: RepackedRelease,
    workspace: Workspace,
    prove: Callable[..., Verdict],
    *,
    tier: str,
    python: str | None = None,
    keep_environments: bool = True,
    picture: Path | None = None,
    upstream: Asker | None = None,
    timeout: float = PATIENCE,
) -> Verdict:
    """What :func:`prove` says of a release; what fails is told on standard error."""
    release = repacked.release
    patched = fitting([*repacked.wheels, *repacked.passthrough], python)

    def tell(line: str) -> None:
        # that official wheels alone fail tests is no news
        if repacked.series_digest:
            print(f"{release.version}: {line}", file=sys.stderr)

    with ExitStack() as stack:
        root = workspace.environments
        if not keep_environments:
            root = stack.enter_context(workspace.scratch())
        return prove(
            fitting(repacked.official, python),
            patched,
            others=[wheel for wheel in repacked.wheels if wheel not in patched],
            release=str(release.version),
            uploaded=release.uploaded,
            environments=root,
            verdicts=workspace.verdicts,
            series=repacked.series_digest,
            python=python,
            optional=SUBCLASSES,
            tier=tier,
            picture=picture,
            upstream=upstream,
            timeout=timeout,
            tell=tell,
        )
