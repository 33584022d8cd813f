"""Publishers that are killed, publishers in a crowd, and a client that watches the index.

python tests/toolkit/support/torturing.py [--kills N] [--writers N] [--rounds N] [--seed N]
prints what happened as JSON; with --no-client, uv does not resolve from the index after each kill.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

from indexes import contents, look, pair_bundle, require_whole
from publishing import MOMENT

from toolkit.environments.interpreter import uv
from toolkit.index.ledger import Ledger
from toolkit.index.metapackage import PROJECT
from toolkit.index.pages import render
from toolkit.index.publish import publish
from toolkit.index.yank import unyank, yank

# A fork starts at once, and so can be killed early; this process has no threads.
FORK = multiprocessing.get_context("fork")


def change(index: Path, wheels: Path, release: str, action: str) -> int:
    """Publish a release, yank it, or undo that; how many files are new."""
    if action == "publish":
        return len(publish(pair_bundle(wheels, release), index).new)
    if action == "yank":
        yank(index, release, "for a reason", now=MOMENT)
    else:
        unyank(index, release, now=MOMENT)
    return 0


def change_until(write: int, *job: Any) -> None:
    """Make a change, and die before its ``write``-th write."""
    real, writes = Path.replace, count()

    def replace(draft: Path, target: Path) -> Path:
        if next(writes) == write:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(draft, target)

    Path.replace = replace  # type: ignore[method-assign,assignment]
    change(*job)


def run(index: Path, *job: object, until: float | None = None, write: int | None = None) -> bool:
    """Do a job in a process, kill it ``until`` seconds after its start; whether it ended.

    Or it dies before its ``write``-th write.
    """
    work = (change, ()) if write is None else (change_until, (write,))
    child = FORK.Process(target=work[0], args=(*work[1], index, *job))
    child.start()
    if until is not None:
        time.sleep(until)
        child.kill()
    child.join()
    assert child.exitcode in (0, -9), child.exitcode
    return child.exitcode == 0


def kills(folder: Path, number: int, seed: int, client: bool) -> Counter[str]:
    """Kill ``number`` publishers at random moments; what state they left, counted.

    After each kill the index is looked at as it lies, then the same job is run again, to be
    killed or to end. In the end the index is byte for byte one in which nobody was killed.
    """
    chance = random.Random(seed)  # noqa: S311
    index, reference, wheels = folder / "index", folder / "reference", folder / "wheels"
    result, release, usual = Counter[str](), 0, 0.05
    for place in (index, reference):
        run(place, wheels, "1.0.0", "publish")
    while result["killed"] < number:
        release += 1
        jobs = [(f"1.0.{release}", "publish")]
        if release % 4 == 0:
            jobs += [(f"1.0.{release - 1}", action) for action in ("yank", "unyank")]
        for job in jobs:
            began = time.monotonic()
            run(reference, wheels, *job)
            usual = 0.5 * usual + 0.5 * (time.monotonic() - began)
            while not run(index, wheels, *job, until=chance.uniform(0.0, 1.1 * usual)):
                result.update(("killed", state(index)))
                assert look(index) >= release, "what was published before is there"
                if client:
                    require_resolved(index, f"{PROJECT}==1.0.{max(0, release - 2)}.1")
    assert require_whole(index) == 3 * (release + 1)
    assert contents(index) == contents(reference)
    return result


def kills_at_writes(folder: Path) -> list[int]:
    """Kill a publisher before each of its writes; how many, in a new index and in a grown one.

    After each kill the same job ends, and the index is byte for byte one in which nobody was
    killed.
    """
    points, start, reference, wheels = [], folder / "start", folder / "whole", folder / "wheels"
    start.mkdir()
    for known, release in enumerate(("1.0.0", "1.0.1")):
        run(reference, wheels, release, "publish")
        for point in count():
            index = folder / f"{release}-{point}"
            shutil.copytree(start, index)
            ended = run(index, wheels, release, "publish", write=point)
            # the ledger of a new index is its first write
            assert (index / "index.jsonl").exists() == bool(known or point)
            assert look(index) >= known
            run(index, wheels, release, "publish")
            require_whole(index)
            assert contents(index) == contents(reference)
            if ended:
                break
        points.append(point)
        shutil.copytree(reference, start, dirs_exist_ok=True)
    return points


def state(index: Path) -> str:
    """How far a killed publisher came."""
    ledger = Ledger.read(index)
    pages = render(ledger).items()
    if any(not (index / p).exists() or (index / p).read_bytes() != text for p, text in pages):
        return "listed, pages behind"
    stored = {path.name for path in (index / "files").glob("*.whl")}
    if stored != set(ledger.files):
        return "files without a line"
    return "half a file" if list(index.rglob(".part-*")) else "nothing or everything"


def require_resolved(index: Path, requirement: str) -> None:
    """uv takes the metapackage with its pair from the index as it lies."""
    command = [uv(), "pip", "compile", "--quiet", "--no-config", "--no-header", "--no-annotate"]
    # the cache is for what uv knows of interpreters; pages are read anew
    command += ["--refresh", "--cache-dir", str(index.parent / "uv"), "--python", sys.executable]
    command += ["--default-index", f"{index.as_uri()}/simple/", "-"]
    done = subprocess.run(command, input=requirement, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 3, done.stdout


def crowd(folder: Path, writers: int, rounds: int) -> dict[str, int]:
    """Let ``writers`` publish at the same time, ``rounds`` times each, while a client watches.

    In each round a writer publishes a release of its own, one that all others publish too, and
    yanks its release of the round before. In the end each is there once.
    """
    index, new = folder / "index", FORK.SimpleQueue()
    looks = [look(index)]
    children = [
        FORK.Process(target=write, args=(number, index, folder / "wheels", rounds, new))
        for number in range(writers)
    ]
    for child in children:
        child.start()
    while any(child.is_alive() for child in children):
        looks.append(look(index))
        # a client in a hurry would take half of the time that the writers need
        time.sleep(0.01)
    assert [child.exitcode for child in children] == [0] * writers
    assert looks == sorted(looks), "what a client saw once, it sees ever after"
    files = require_whole(index)
    assert files == 3 * rounds * (writers + 1)
    assert sum(new.get() for _ in children) == files, "each is new to one writer"
    ledger = Ledger.read(index)
    assert len(ledger.yanked) == 3 * writers * (rounds - 1)
    assert ledger.text.count(b"\n") == files + len(ledger.yanked)
    return {"files": files, "looks": len(looks), "yanked": len(ledger.yanked)}


def write(number: int, index: Path, wheels: Path, rounds: int, new: SimpleQueue[int]) -> None:
    """One of a crowd of writers; puts how many files it found to be new."""
    found = 0
    for turn in range(rounds):
        for release in (f"2.{number}.{turn}", f"1.0.{turn}"):
            found += change(index, wheels / f"{number}", release, "publish")
        if turn:
            change(index, wheels, f"2.{number}.{turn - 1}", "yank")
    new.put(found)


def main() -> None:
    """The whole torture, and its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, usual in (("kills", 200), ("writers", 8), ("rounds", 50), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--client", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        killed = kills(Path(folder), options.kills, options.seed, options.client)
    with tempfile.TemporaryDirectory() as folder:
        points = kills_at_writes(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        together = crowd(Path(folder), options.writers, options.rounds)
    seconds = round(time.monotonic() - began, 1)
    result = {"kills": killed, "writes": points, "crowd": together, "seconds": seconds}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
