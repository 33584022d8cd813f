"""Run the race suite on official and on patched wheels, and say what that proves.

Example:
    python scripts/prove.py --release 1.8.9 --uploaded 2026-10-24T02:32:37Z \\
        --official OFFICIAL/*.whl --patched PATCHED/*.whl --out verdict.json
"""

from __future__ import annotations

import argparse
import json
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from toolkit import environment, suite
from toolkit.environment import Environment, Environments
from toolkit.errors import EnvironmentUnresolvable, InvalidWheel, NotProved, run_verb
from toolkit.files import sha256, sha256_of, write_whole, writing
from toolkit.strict import Malformed
from toolkit.suite import Run
from toolkit.verdict import Subject, Verdict

# Plugins that subclass the patched session: the fix reaches them and must not break them.
SUBCLASSES = ("livekit-plugins-xai",)
RACE_SUITE = Path(__file__).resolve().parents[1] / "tests" / "race"
TIMEOUT = 600.0
# in the environment for the proof's sake only
_TOOLS = frozenset({"iniconfig", "pip", "pluggy", "pytest", "setuptools"})
SHOWN = 20
_NEXT = {
    "fixed": "upstream needs the series no more for this release: retire it there",
    "conflict": "refresh the series for this release",
    "regressed": "run the suite in the patched environment; the failures stand above",
    "inconclusive": "remove the cause and prove again; nothing was proved either way",
}


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
    timeout: float = TIMEOUT,
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Verdict:
    """Compare ``official`` wheels with ``patched`` ones under the race suite.

    Both lists hold every distribution; ``patched`` has the official partner where that needs
    no patch. ``uploaded`` dates the dependencies, ``series`` is the digest of what was applied,
    ``timeout`` (seconds) is for the whole suite, ``extra`` is installed beside the wheels, and
    ``optional`` too if there is a version of it for the release; the suite says what it left out.
    A verdict that lets things go on (``publish``, ``fixed``) is kept in ``verdicts``, and for
    the same inputs nothing runs again. Otherwise ``tell`` gets what failed, line by line.

    Raises InvalidWheel if the lists do not match, HashMismatch if an environment is not what
    its wheels say, and what Environments.prepare raises.
    """
    versions = [_versions(official), _versions(patched)]
    if versions[0].keys() != versions[1].keys():
        raise InvalidWheel(
            f"the official wheels are of {', '.join(versions[0])}, "
            f"the patched ones of {', '.join(versions[1])}",
            next_step="hand in both distributions on both sides",
        )
    subject = Subject(
        release=release,
        uploaded=uploaded,
        official={wheel.name: sha256_of(wheel) for wheel in official},
        patched={wheel.name: sha256_of(wheel) for wheel in patched},
        series=series,
        revision=max(_revision(version) for version in versions[1].values()),
        suite=suite.digest(race_suite),
        python=environment.find_interpreter(python).version,
    )
    kept = verdicts / f"{_key(subject, [*extra, *optional])}.json"
    if (known := _known(kept)) is not None:
        return known
    cache = Environments(environments)

    def prepare(extra: Sequence[str]) -> list[Environment]:
        return [
            cache.prepare(wheels, uploaded=uploaded, python=python, extra=extra)
            for wheels in (official, patched)
        ]

    try:
        pair = prepare([*extra, *optional])
    except EnvironmentUnresolvable:
        if not optional:
            raise
        pair = prepare(extra)
    for place in pair:
        environment.check(place, versions[0])
    if differing := _differing(pair, versions[0]):
        return Verdict.inconclusive(subject, f"other dependencies differ: {', '.join(differing)}")
    ran = suite.run_suite(race_suite, pair, timeout=timeout)
    runs = [_of(run, expected) for run, expected in zip(ran, versions, strict=True)]
    beside = pair[0].distributions().items()
    dependencies = {n: v for n, v in beside if n not in versions[0] and n not in _TOOLS}
    verdict = Verdict.of(subject, runs[0], runs[1], dependencies)
    if verdict.verdict in ("publish", "fixed"):
        with writing(verdicts):
            write_whole(kept, verdict.to_json().encode())
    else:
        _explain(runs, tell)
    return verdict


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
    number = (version.local or "0").rpartition(".")[2]
    return int(number) if number.isdigit() else 0


def _key(subject: Subject, extra: Sequence[str]) -> str:
    inputs = {
        **vars(subject),
        "uploaded": subject.uploaded.isoformat(),
        "platform": sysconfig.get_platform(),
        "extra": sorted(extra),
        "formats": [environment.FORMAT, 2],
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
    """``run``, unless it was not the expected distributions that it tested."""
    if run.report is None:
        return run
    tested = {canonicalize_name(n): Version(v) for n, v in run.report.distributions.items()}
    for name, version in expected.items():
        if tested.get(canonicalize_name(name)) != version:
            trouble = f"{name} {tested.get(canonicalize_name(name))} was tested, not {version}"
            return replace(run, report=None, trouble=trouble)
    return run


def _explain(runs: Sequence[Run], tell: Callable[[str], None]) -> None:
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


def main(argv: Sequence[str] | None = None) -> int:
    """Prove one release; exit code 0 only for the verdict ``publish``."""
    parser = argparse.ArgumentParser(
        prog="prove.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--official", nargs="+", type=Path, required=True, metavar="WHEEL")
    add("--patched", nargs="+", type=Path, required=True, metavar="WHEEL")
    add("--release", required=True, help="upstream's version")
    add("--uploaded", required=True, type=_moment, help="RFC 3339 time of the release's upload")
    add("--series", default="", metavar="DIGEST", help="digest of the series that was applied")
    add("--python", help="the Python to prove on (default: the running one)")
    add("--suite", type=Path, default=RACE_SUITE, help="the race suite (default: this project's)")
    add(
        "--timeout",
        type=float,
        default=TIMEOUT,
        help="seconds for the suite (default: %(default)g)",
    )
    add("--out", type=Path, help="write the verdict there")
    add("--json", action="store_true", help="print the verdict as JSON")
    chosen = parser.parse_args(argv)

    def body() -> int:
        from toolkit.workspace import Workspace

        workspace = Workspace.default()
        verdict = prove(
            chosen.official,
            chosen.patched,
            release=chosen.release,
            uploaded=chosen.uploaded,
            environments=workspace.environments,
            verdicts=workspace.verdicts,
            series=chosen.series,
            race_suite=chosen.suite,
            python=chosen.python,
            timeout=chosen.timeout,
            optional=SUBCLASSES,
        )
        if chosen.out:
            with writing(chosen.out.parent):
                write_whole(chosen.out, verdict.to_json().encode())
        print(verdict.to_json() if chosen.json else f"{verdict.verdict}: {verdict.reason}")
        if verdict.verdict != "publish":
            raise NotProved(
                f"{chosen.release}: {verdict.verdict}: {verdict.reason}",
                next_step=_NEXT[verdict.verdict],
            )
        return 0

    return run_verb(body)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


if __name__ == "__main__":
    sys.exit(main())
