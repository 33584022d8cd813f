"""A bug report for upstream: a script that loses a call on official wheels, and what it shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet

from toolkit.environments.environment import Environment, cutoff_of
from toolkit.forward.pull_requests import links_of
from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Series
from toolkit.proof import replay
from toolkit.proof.exploration import LOSS, Exploration
from toolkit.proof.settings import RACE_SUITE, STANDSTILL
from toolkit.releases.release import Release
from toolkit.util.distributions import PARTNER
from toolkit.util.errors import NotProved
from toolkit.util.process import run
from toolkit.util.templates import text_template

# what the script does, as the race suite names it
SCHEDULE = "agent/openai/call/fresh-copy-history:3g3dAh"
SCRIPT, REPORT = "lost_call.py", "report.md"
LOST, KEPT = 1, 0
_TIMEOUT = 120.0  # seconds
_ID = re.compile(r"item_[0-9a-f]{6,}")
_NEXT = "prove this release first; there is nothing to report without a loss"


@dataclass(frozen=True)
class Demonstration:
    """What the script printed on the ``official`` and on the ``patched`` wheels, and a picture.

    ``schedule`` loses a call on the official wheels, and ``picture`` draws that as text. It is the
    ``shortest`` of those that a proof found, or else that of the script.
    """

    python: str
    official: str
    patched: str
    schedule: str
    picture: str
    shortest: bool = False


def script_for(release: Release) -> str:
    """Return a script that needs only a release's wheels; its exit code is LOST or KEPT, else 2.

    Its head (PEP 723) names them and the day as of which they import, for ``uv run``.
    """
    supported = {wheel.requires_python or ">=3" for wheel in release.artefacts}
    return _render(f"{SCRIPT}.j2", release, python=SpecifierSet(",".join(supported)))


def demonstrate(
    script: Path, pair: Sequence[Environment], exploration: Exploration | None
) -> Demonstration:
    """Run the script on official and patched wheels (``pair``), and a schedule on official ones.

    The schedule is the shortest that ``exploration`` found, or else the script's own.
    Raises NotProved unless the official wheels lose the call in both, and the patched keep it.
    """
    # Run the script on both sides.
    printed: list[str] = []
    for environment, code, side in zip(pair, (LOST, KEPT), ("official", "patched"), strict=True):
        result = run([environment.python, script], timeout=_TIMEOUT, check=False)
        if result.returncode != code:
            wanted = {LOST: "lost", KEPT: "kept"}[code]
            raise NotProved(
                f"on the {side} wheels the call is not {wanted}:\n{result.stdout}{result.stderr}",
                next_step=_NEXT,
            )
        printed.append(_number_ids(result.stdout.strip()))
    # Draw the first schedule that loses a call.
    official, patched = printed
    schedules = [(SCHEDULE, False)]
    if exploration and exploration.loses:
        schedules.insert(0, (exploration.official.violations[LOSS].shortest, True))
    for schedule, shortest in schedules:
        (shown,) = replay.replay(RACE_SUITE, pair[:1], schedule, timeout=STANDSTILL)
        if LOSS in shown.violations:
            picture = shown.text.strip()
            return Demonstration(pair[0].version, official, patched, schedule, picture, shortest)
    raise NotProved(f"{SCHEDULE} loses no call here. {shown.trouble}", next_step=_NEXT)


def cover(release: Release, series: Series) -> str:
    """Return the text of the cover letter."""
    links = links_of(series, related=False)
    return _render("cover.txt.j2", release, title=series.why, links=links, report=REPORT)


def report(
    release: Release,
    series: Series,
    variants: Sequence[Variant],
    demonstration: Demonstration,
    figures: tuple[str, str] | None,
) -> str:
    """Return the bug report, as Markdown; ``figures`` say how much each side loses in the suite."""
    reasons = {patch.name: patch.why for patch in series.patches}
    return _render(
        "report.md.j2",
        release,
        title=series.why,
        own=SCHEDULE,
        links=links_of(series, related=False),
        patches=[(v.header["Description"], reasons[v.patch]) for v in variants],
        demonstration=demonstration,
        figures=figures,
    )


def _render(template: str, release: Release, **facts: object) -> str:
    text = text_template(Path(__file__).parent / "templates" / template).render(
        release=release.version,
        partner=release.of(PARTNER)[0].version,
        cutoff=cutoff_of(release.uploaded),
        script=SCRIPT,
        **facts,
    )
    return text + "\n"


def _number_ids(text: str) -> str:
    """Number the item ids that the client draws at random, so that the text is reproducible."""
    ids = list(dict.fromkeys(_ID.findall(text)))
    return _ID.sub(lambda match: f"item_{ids.index(match[0]) + 1}", text)
