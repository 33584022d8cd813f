"""Run one schedule again, and draw it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.environments.environment import Environment
from toolkit.proof.explorer import Evidence
from toolkit.proof.explorer_run import Replays, Unusable, explorer_job, read_document
from toolkit.util.process import Exited, run_together


@dataclass(frozen=True)
class Replay:
    """One schedule, run again: what it broke, the picture as text and as SVG, or the trouble.

    ``flag`` says whether an invariant of the flag is among what it broke.
    """

    violations: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    flag: bool = False
    text: str = ""
    svg: str = ""
    trouble: str = ""


def replay(
    suite: Path,
    environments: Sequence[Environment],
    schedule: str,
    *,
    timeout: float,
    colour: bool = False,
) -> tuple[Replay, ...]:
    """Run ``schedule`` in each of ``environments``, side by side, and draw it."""
    with tempfile.TemporaryDirectory(prefix="livekit-dispatched-") as scratch:
        folder = Path(scratch)
        stems = [folder / f"{number}" for number in range(len(environments))]
        jobs = []
        for stem, environment in zip(stems, environments, strict=True):
            arguments = ["--replay", schedule, "--json", f"{stem}.json", "--svg", f"{stem}.svg"]
            job = explorer_job(suite, environment, arguments, folder)
            jobs.append(replace(job, env={**job.env, "FORCE_COLOR": "1"}) if colour else job)
        every = run_together(jobs, timeout=timeout)
        return tuple(_read(*ended, schedule) for ended in zip(stems, every, strict=True))


def _read(stem: Path, exited: Exited, schedule: str) -> Replay:
    try:
        document = read_document(
            Replays, stem.with_suffix(".json"), exited, "replaying", exit_codes=(0, 1)
        )
        broken = document.replays[schedule]
        svg = stem.with_suffix(".svg").read_text(encoding="utf-8")
    except Unusable as error:
        return Replay(text=error.output, trouble=error.reason)
    except (KeyError, OSError) as error:
        return Replay(text=exited.output, trouble=f"replaying: {error}")
    flag = exited.exit_code == 1
    return Replay(broken.violations, broken.recorded, flag, exited.output, svg)


def counterexample(
    suite: Path, pair: Sequence[Environment], evidence: Evidence, *, timeout: float
) -> tuple[bytes, str]:
    """Return the simplest schedule that shows the verdict, as SVG and as text.

    That is one on which the patched wheels do what they must not, or else the simplest on which
    the official ones lose a call, without a text; both are empty if there is none.
    """
    exploration = evidence.explored.exploration
    if exploration is None or not exploration.failing:
        return evidence.svg if exploration else b"", ""
    (picture,) = replay(suite, [pair[1]], exploration.failing, timeout=timeout)
    return picture.svg.encode(), picture.text
