"""Prove a release, or wheels named by hand, as the verb prove does, and replay a schedule."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolkit.environments.pair import WheelPair, prepare
from toolkit.patches.series import Series
from toolkit.proof.prove import prove
from toolkit.proof.replay import Replay, replay
from toolkit.proof.settings import RACE_SUITE, ProofSettings
from toolkit.proof.store import VerdictStore, VerdictSummary
from toolkit.proof.verdict import Proof, Verdict, read_verdict
from toolkit.releases.official import Settings
from toolkit.releases.repack import repack_release
from toolkit.util.console import step_status
from toolkit.util.errors import NotProved, PatchConflict
from toolkit.util.files import not_writable_errors, write_whole

_NEXT = {
    "fixed": "if the tier full says so too of the newest release, `nox -s retire` ends the series",
    "conflict": "refresh the series for this release",
    "regressed": "replay the schedule, or run the suite in the patched environment",
    "inconclusive": "remove the cause and prove again; nothing was proved either way",
}


@contextmanager
def repacked_pair(
    name: str | None, settings: Settings, proof: ProofSettings
) -> Iterator[tuple[WheelPair, str]]:
    """Fetch and repack a release (None: the newest); yield its wheels, and the verdict's key.

    The key is empty for another race suite than this project's. A conflict is stored, then raised
    as PatchConflict.
    """
    workspace = settings.workspace
    official = settings.fetch(name)
    series = Series.load(workspace.patches)
    store = VerdictStore.open(workspace.outcomes, proof.python)
    key = store.key(official.release, series.digest(official.release.version), proof.tier)
    with workspace.scratch() as folder:
        try:
            repacked = repack_release(official, series, workspace, folder)
        except PatchConflict as error:
            store.write(key, error)
            raise
        yield repacked.pair(proof.python), key if proof.race_suite == RACE_SUITE else ""


def prove_pair(pair: WheelPair, key: str, settings: ProofSettings) -> tuple[Verdict, bytes]:
    """Return the verdict, and its counterexample as SVG; store both under ``key``, if there is one.

    Prints what failed on standard error.
    """
    with settings.workspace.scratch(small=True) as folder:
        path = folder / "picture.svg"
        verdict = prove(pair, settings, picture=path, tell=_print_error, watch=step_status)
        svg = path.read_bytes() if path.is_file() else b""
    if key:
        store = VerdictStore.open(settings.workspace.outcomes, settings.python)
        store.write(key, VerdictSummary.of(verdict), Proof.of(verdict))
        write_file(store.picture(key), svg)
    return verdict, svg


def _print_error(line: str) -> None:
    print(line, file=sys.stderr)


def write_file(target: Path, data: bytes) -> None:
    """Write a file and its folder, unless there is no data. Raises NotWritable."""
    if data:
        with not_writable_errors(target.parent):
            write_whole(target, data)


def write_verdict(target: Path, verdict: Verdict, svg: bytes) -> None:
    """Write a verdict, and its picture beside it.

    A verdict of the tier full stays if the new one is of the tier quick and of the same things.
    """
    try:
        old = read_verdict(target)
    except NotProved:
        old = None
    if old and old.exploration and verdict.exploration and verdict.verdict == "publish":
        same = (old.wheels, old.series, old.suite) == (
            verdict.wheels,
            verdict.series,
            verdict.suite,
        )
        if same and (old.exploration.tier, verdict.exploration.tier) == ("full", "quick"):
            return
    write_file(target, verdict.to_json().encode())
    write_file(target.with_suffix(".svg"), svg)


def require_publish(release: str, verdict: Verdict) -> None:
    """Raise NotProved, with the next step, unless the verdict is ``publish``."""
    if verdict.verdict != "publish":
        problem = f"{release}: {verdict.verdict}: {verdict.reason}"
        raise NotProved(problem, next_step=_NEXT[verdict.verdict])


@dataclass(frozen=True)
class ReplayedPair:
    """One schedule, run again on both sides."""

    schedule: str
    official: Replay
    patched: Replay

    @property
    def sides(self) -> dict[str, Replay]:
        """The replays by the name of their side."""
        return {"official": self.official, "patched": self.patched}

    @property
    def document(self) -> dict[str, object]:
        """What each side breaks and what was recorded, for machines."""
        broken = {
            side: {"violations": result.violations, "recorded": result.recorded}
            for side, result in self.sides.items()
        }
        return {"schedule": self.schedule, **broken}

    def write(self, target: Path) -> None:
        """Write the document, and a picture of each side beside it."""
        for side, result in self.sides.items():
            write_file(target.with_suffix(f".{side}.svg"), result.svg.encode())
        write_file(target, f"{json.dumps(self.document, indent=2)}\n".encode())

    def require_not_worse(self) -> None:
        """Raise NotProved if the patched wheels break the flag, or more than the official ones."""
        official, patched = self.official, self.patched
        worse = [n for n in patched.violations if patched.flag or n not in official.violations]
        if worse:
            raise NotProved(
                f"{self.schedule} breaks {', '.join(worse)} on the patched wheels",
                next_step="look in the picture for what they do there; no proof lets such wheels "
                "pass",
            )


def replay_pair(
    pair: WheelPair, schedule: str, settings: ProofSettings, *, colour: bool
) -> ReplayedPair:
    """Run one schedule on both sides. Raises NotProved if a side cannot run it."""
    environments = prepare(pair, settings.workspace.environments, python=settings.python)
    replays = replay(
        settings.race_suite, environments, schedule, timeout=settings.timeout, colour=colour
    )
    replayed = ReplayedPair(schedule, *replays)
    for side, result in replayed.sides.items():
        if result.trouble:
            raise NotProved(
                f"on the {side} wheels: {result.trouble}\n{result.text.strip()}",
                next_step="copy a schedule from a verdict, in quotes",
            )
    return replayed
