"""Prove a release: both sets of wheels under the race suite and its explorer, to a verdict."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from packaging.version import Version

from toolkit.environments import environment
from toolkit.environments.interpreter import find_interpreter
from toolkit.environments.pair import WheelPair, differing, prepare
from toolkit.proof.exploration import Explored
from toolkit.proof.explorer import explore
from toolkit.proof.fault_injection import inject_fault
from toolkit.proof.race_suite import checked_run
from toolkit.proof.replay import counterexample
from toolkit.proof.rules import compare_reports, incomparable, no_loss
from toolkit.proof.settings import TIERS, ProofSettings
from toolkit.proof.summary import SHOWN, explain
from toolkit.proof.verdict import FORMAT, Subject, Verdict
from toolkit.util import child_environment, files
from toolkit.util.console import StepStatus, no_status
from toolkit.util.files import not_writable_errors, sha256_of, write_whole
from toolkit.util.store import Store

# What is in an environment for the proof's sake only.
_TOOLS = frozenset({"iniconfig", "pip", "pluggy", "pytest", "setuptools"})

Tell = Callable[[str], None]


def prove(
    pair: WheelPair,
    settings: ProofSettings,
    *,
    picture: Path | None = None,
    tell: Tell | None = None,
    watch: StepStatus = no_status,
) -> Verdict:
    """Compare official wheels with patched ones under the race suite.

    A verdict that lets things go on (``publish``, ``fixed``) is cached, and the same inputs run
    nothing again; a verdict of the tier full serves the tier quick as well. Otherwise ``tell``
    (None: standard error) gets what failed, line by line. A suite that stands still is ended; what
    it finished is kept and not run again. ``watch`` is told of each step. The counterexample of
    the verdict, if there is one, is drawn at ``picture`` as SVG. Upstream's own tests run once the
    suite lets the patched wheels go on.

    Raises InvalidWheel if the sides do not match, HashMismatch if an environment is not what its
    wheels say, UpstreamNotRun as ``settings.upstream`` demands, and what Environments.prepare
    raises.
    """
    tell = tell or _stderr(pair)
    versions = pair.versions()[1]
    subject = _subject(pair, versions, settings)
    store = Store(settings.workspace.verdicts)

    # An earlier verdict on the same inputs, or a new one
    for tier, sources in product(
        dict.fromkeys((TIERS[-1], settings.tier)), child_environment.sources()
    ):
        inputs = _inputs(subject, tier, settings, sources)
        kept, drawing = store.path(inputs), store.path(inputs, ".svg")
        if (verdict := store.get(inputs, Verdict.parse)) is not None:
            svg = drawing.read_bytes() if drawing.is_file() else b""
            break
    else:
        verdict, svg = _prove_anew(pair, subject, settings, kept, tell=tell, watch=watch)
        if verdict.verdict in ("publish", "fixed"):
            _draw(drawing, svg)
            store.put(inputs, verdict.to_json().encode())
    _draw(picture, svg)

    # Upstream's own tests, unless the verdict has their result or stands without it
    upstream = settings.upstream
    if upstream is None or verdict.verdict != "publish" or not upstream.asks(verdict.upstream):
        return verdict
    with watch("upstream's own tests", ()):
        result = upstream.run(pair, settings.python, settings.optional)
    both = verdict.beside(result)
    if both.verdict == "publish":
        store.put(inputs, both.to_json().encode())
    else:
        with not_writable_errors(kept.parent):
            kept.unlink(missing_ok=True)
    for test, problem in [*result.regressed.items()][:SHOWN]:
        tell(f"upstream's own tests: {test}: {problem}")
    return both


def _prove_anew(
    pair: WheelPair,
    subject: Subject,
    settings: ProofSettings,
    kept: Path,
    *,
    tell: Tell,
    watch: StepStatus,
) -> tuple[Verdict, bytes]:
    """Run the suite on both sides; return the verdict and its counterexample as SVG."""
    versions = pair.versions()
    suite, timeout = settings.race_suite, settings.timeout
    with _environments(settings) as environments:
        # Both environments, alike but for the wheels
        with watch("environments", ()):
            sides = prepare(
                pair,
                environments,
                python=settings.python,
                extra=settings.extra,
                optional=settings.optional,
            )
        if unlike := differing(sides, versions[0]):
            reason = f"other dependencies differ: {', '.join(unlike)}"
            return Verdict.inconclusive(subject, reason), b""

        # The suite's tests and schedules on both
        ran = explore(
            suite,
            sides,
            tier=settings.tier,
            timeout=timeout,
            status=watch,
            kept=kept.with_suffix(".sides"),
        )
        runs = [checked_run(run, of) for run, of in zip(ran.tests, versions, strict=True)]
        explored = Explored(None) if incomparable(*runs) else ran.explored

        # If nothing is lost: does the suite notice what it should?
        probe, result = None, explored.exploration
        if result and no_loss(compare_reports(*(run.report for run in runs)), result):
            with watch("does the suite notice a planted fault?", ()):
                # the smallest tier is part of each, and has to notice it already
                probe = inject_fault(suite, sides[0], tier=TIERS[0], timeout=timeout)

        # The verdict, and the schedule that shows most
        installed = sides[0].distributions().items()
        dependencies = {n: v for n, v in installed if n not in versions[0] and n not in _TOOLS}
        verdict = Verdict.of(subject, runs[0], runs[1], explored, dependencies, probe)
        svg, text = counterexample(suite, sides, ran, timeout=timeout)
    if verdict.verdict not in ("publish", "fixed"):
        for line in explain(runs, explored, text):
            tell(line)
    return verdict, svg


@contextmanager
def _environments(settings: ProofSettings) -> Iterator[Path]:
    if settings.keep_environments:
        yield settings.workspace.environments
        return
    with settings.workspace.scratch() as folder:
        yield folder


def _stderr(pair: WheelPair) -> Tell:
    def tell(line: str) -> None:
        # that official wheels fail tests is no news
        if pair.patched != pair.official:
            print(f"{pair.release}: {line}", file=sys.stderr)

    return tell


def _subject(pair: WheelPair, patched: Mapping[str, Version], settings: ProofSettings) -> Subject:
    return Subject(
        release=pair.release,
        uploaded=pair.uploaded,
        official={wheel.name: sha256_of(wheel) for wheel in pair.official},
        patched={wheel.name: sha256_of(wheel) for wheel in pair.patched},
        series=pair.series,
        revision=max(_revision(version) for version in patched.values()),
        suite=files.tree_digest(settings.race_suite),
        python=find_interpreter(settings.python).version,
        others={wheel.name: sha256_of(wheel) for wheel in pair.others},
    )


def _draw(picture: Path | None, svg: bytes) -> None:
    if picture is not None and svg:
        with not_writable_errors(picture.parent):
            write_whole(picture, svg)


def _revision(version: Version) -> int:
    number = ([*(version.local or "").split("."), "0"])[1]
    return int(number) if number.isdigit() else 0


def _inputs(
    subject: Subject, tier: str, settings: ProofSettings, sources: Mapping[str, str]
) -> dict[str, object]:
    """Return everything that a verdict depends on."""
    return {
        **vars(subject),
        **sources,
        "uploaded": subject.uploaded.isoformat(),
        "platform": sysconfig.get_platform(),
        "extra": sorted([*settings.extra, *settings.optional]),
        "tier": tier,
        "formats": [environment.FORMAT, FORMAT],
    }
