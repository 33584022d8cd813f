"""A bug report for upstream: a script that loses a call on official wheels, and what it shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet

from toolkit.environments.environment import Environment, cutoff_of
from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Series
from toolkit.proof import replay
from toolkit.proof.exploration import LOSS, Exploration
from toolkit.proof.prove import RACE_SUITE, STANDSTILL
from toolkit.releases.release import Release
from toolkit.util.errors import NotProved
from toolkit.util.names import PARTNER
from toolkit.util.process import run
from toolkit.util.templates import text_template

# what the script does, as the race suite names it
SCHEDULE = "agent/openai/call/fresh-copy-history:3g3dAh"
SCRIPT, REPORT = "lost_call.py", "report.md"
LOST, KEPT = 1, 0
_PATIENCE = 120.0
_ID = re.compile(r"item_[0-9a-f]{6,}")
_TEMPLATES = Path(__file__).parent / "templates"
_NEXT = "prove this release first; there is nothing to report without a loss"


@dataclass(frozen=True)
class Evidence:
    """What the script printed on the official and on the patched wheels, and a schedule's picture.

    ``schedule`` loses a call on the official wheels, and ``picture`` draws that as text. It is the
    ``shortest`` of those that a proof found, or else what the script does.
    """

    python: str
    official: str
    patched: str
    schedule: str
    picture: str
    shortest: bool = False


def script_for(release: Release) -> str:
    """A script that needs nothing but a release's wheels; exit code LOST or KEPT, else 2.

    Its head (PEP 723) names them and the day as of which they import, for ``uv run``.
    """
    supported = {wheel.requires_python or ">=3" for wheel in release.artefacts}
    text = text_template(_TEMPLATES / f"{SCRIPT}.j2").render(
        release=release.version,
        partner=release.of(PARTNER)[0].version,
        cutoff=cutoff_of(release.uploaded),
        python=SpecifierSet(",".join(supported)),
        name=SCRIPT,
    )
    return text + "\n"


def gather(script: Path, pair: Sequence[Environment], exploration: Exploration | None) -> Evidence:
    """Run the script on official and patched wheels (``pair``), and a schedule on official ones.

    The schedule is the shortest that ``exploration`` found, or else the script's own.
    Raises NotProved unless the official wheels lose the call in both, and the patched keep it.
    """
    printed: list[str] = []
    for environment, code, wheels in zip(pair, (LOST, KEPT), ("official", "patched"), strict=True):
        done = run([environment.python, script], timeout=_PATIENCE, check=False)
        if done.returncode != code:
            wanted = {LOST: "lost", KEPT: "kept"}[code]
            raise NotProved(
                f"on the {wheels} wheels the call is not {wanted}:\n{done.stdout}{done.stderr}",
                next_step=_NEXT,
            )
        printed.append(_numbered(done.stdout.strip()))
    is_proved = exploration is not None and exploration.loses
    schedules = [SCHEDULE]
    if exploration and is_proved:
        schedules.insert(0, exploration.official.violations[LOSS].shortest)
    for schedule in schedules:
        (shown,) = replay.replay(RACE_SUITE, pair[:1], schedule, timeout=STANDSTILL)
        if LOSS in shown.violations:
            shortest = is_proved and schedule == schedules[0]
            picture = shown.text.strip()
            version, (official, patched) = pair[0].version, printed
            return Evidence(version, official, patched, schedule, picture, shortest=shortest)
    raise NotProved(f"{schedules[-1]} loses no call here. {shown.trouble}", next_step=_NEXT)


def links_of(series: Series) -> list[str]:
    """Where upstream spoke of it."""
    return list(dict.fromkeys([series.upstream, *(patch.upstream for patch in series.patches)]))


def cover(release: Release, series: Series) -> str:
    """What the cover letter says."""
    return text_template(_TEMPLATES / "cover.txt.j2").render(
        release=release.version,
        title=series.why,
        script=SCRIPT,
        report=REPORT,
        links=links_of(series),
    )


def report(
    release: Release,
    series: Series,
    variants: Sequence[Variant],
    evidence: Evidence,
    figures: tuple[str, str] | None,
) -> str:
    """The bug report, as Markdown; ``figures`` say how much each side loses under the suite."""
    text = text_template(_TEMPLATES / "report.md.j2").render(
        release=release.version,
        partner=release.of(PARTNER)[0].version,
        title=series.why,
        script=SCRIPT,
        cutoff=cutoff_of(release.uploaded),
        own=SCHEDULE,
        links=links_of(series),
        patches=[(one.header["Description"], _why(series, one)) for one in variants],
        evidence=evidence,
        figures=figures,
    )
    return text + "\n"


def _numbered(text: str) -> str:
    """``text`` with the item ids that the client draws counted instead, the same every time."""
    ids = list(dict.fromkeys(_ID.findall(text)))
    return _ID.sub(lambda found: f"item_{ids.index(found[0]) + 1}", text)


def _why(series: Series, variant: Variant) -> str:
    return next(patch.why for patch in series.patches if patch.name == variant.patch)
