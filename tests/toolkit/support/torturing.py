"""Publishers that are killed and publishers in a crowd, and a client that watches the index.

As a script, the whole torture: python tests/toolkit/support/torturing.py [--kills N] [--writers N]
[--rounds N] [--seed N].
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from publishing import MOMENT, generated_from, make_wheel
from pypi_simple import ProjectPage

from toolkit.environments.interpreter import uv
from toolkit.index.bundle import Bundle
from toolkit.index.ledger import Ledger
from toolkit.index.pages import render
from toolkit.index.publish import publish_all
from toolkit.index.yank import unyank, yank
from toolkit.proof.verdict import Proof
from toolkit.util.errors import ToolkitError
from toolkit.util.files import sha256_of

AGENTS, PLUGIN, COMPANION = "livekit-agents", "livekit-plugins-openai", "livekit-dispatched"
WORD = "+dispatched.1"


def pair_bundle(folder: Path, release: str, text: str = "") -> Bundle:
    """A pair in which the plugin pins its partner, and a companion that pins both."""
    version = f"{release}{WORD}"
    pin = f"{AGENTS}=={version}"
    wheels = [
        make_wheel(folder, AGENTS, version, {"agents.py": text}),
        make_wheel(folder, PLUGIN, version, {"plugin.py": text}, requires=[pin]),
    ]
    both = [pin, f"{PLUGIN}=={version}"]
    companion = make_wheel(folder, COMPANION, f"{release}.1", requires=both)
    named = {wheel.name: sha256_of(wheel) for wheel in wheels}
    # nothing of a verdict matters here but the wheels that it names
    data = json.dumps({"release": release, "verdict": "publish", "wheels": named}).encode()
    proof = Proof(release, "publish", "", named, {}, data)
    return Bundle.of(
        wheels,
        proof,
        now=MOMENT,
        generated=[generated_from(companion)],
        statements={wheel.name: b"{}\n" for wheel in (*wheels, companion)},
    )


def offered(index: Path, project: str) -> set[str]:
    """The versions that a page offers, once every link of it was followed; yanked ones too."""
    try:
        text = (index / "simple" / project / "index.html").read_text(encoding="utf-8")
    except FileNotFoundError:
        return set()
    packages = ProjectPage.from_html(project, text).packages
    for package in packages:
        wheel = index / "files" / package.filename
        metadata = wheel.with_name(f"{wheel.name}.metadata")
        assert package.digests == {"sha256": sha256_of(wheel)}, wheel
        assert package.metadata_digests == {"sha256": sha256_of(metadata)}, wheel
    return {str(package.version) for package in packages}


def look(index: Path) -> int:
    """Look at the index as a client that reads page after page; how many versions it may choose.

    Whatever it sees first, what must be taken with it is there when it asks for that.
    """
    companions = offered(index, COMPANION)
    agents = offered(index, AGENTS)
    plugins = offered(index, PLUGIN)
    assert {f"{version.removesuffix('.1')}{WORD}" for version in companions} <= agents
    assert agents <= plugins
    return len(companions)


def require_whole(index: Path) -> int:
    """The pages are the rendering of the list, and nothing is left over; how many files."""
    ledger = Ledger.read(index)
    for page, wanted in render(ledger).items():
        assert (index / page).read_bytes() == wanted, page
    assert list(index.rglob(".part-*")) == []
    stored = {path.name for path in (index / "files").glob("*.whl")}
    assert stored == set(ledger.files)
    look(index)
    return len(stored)


class Forks:
    """A process with one thread that forks publishers: they start at once, and can be killed."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_env(),
        )

    def run(self, job: dict[str, str], until: float | None = None) -> bool:
        """Do a job; kill it ``until`` seconds after its start. Whether it came to its end."""
        assert self._server.stdin
        assert self._server.stdout
        print(json.dumps(job), file=self._server.stdin, flush=True)
        child = int(self._server.stdout.readline())
        if until is not None:
            time.sleep(until)
            os.kill(child, signal.SIGKILL)
        # the server reaps a child only after it was told to
        print("reap", file=self._server.stdin, flush=True)
        status = int(self._server.stdout.readline())
        assert status in (0, -signal.SIGKILL), status
        return status == 0

    def close(self) -> None:
        """End the process."""
        self._server.communicate()
        assert self._server.returncode == 0


def serve() -> None:
    """What the forking process does: a job, and the word to reap its child."""
    while line := sys.stdin.readline():
        if (child := os.fork()) == 0:
            try:
                do(**json.loads(line))
            except BaseException as error:  # noqa: BLE001 - a child never comes back from here
                print(f"a publisher failed: {error!r}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def do(index: str, wheels: str, release: str, action: str = "publish") -> None:
    """One job: publish a release, yank it, or undo that."""
    if action == "publish":
        bundle = pair_bundle(Path(wheels), release)
        for done in publish_all([bundle], Path(index)):
            if isinstance(done, ToolkitError):
                raise done
    elif action == "yank":
        yank(Path(index), release, "for a reason", now=MOMENT)
    else:
        unyank(Path(index), release, now=MOMENT)


def kills(folder: Path, number: int, seed: int = 0, client: bool = False) -> Counter[str]:
    """Kill ``number`` publishers at random moments; what state they left, counted.

    After each kill the index is looked at as it lies, and with ``client`` uv resolves from it;
    then the same job is run again, to be killed or to end. In the end nothing is lost, nothing is
    there twice, and the index is byte for byte one that nobody was killed in.
    """
    chance = random.Random(seed)  # noqa: S311
    index, reference, wheels = folder / "index", folder / "reference", folder / "wheels"
    forks, found = Forks(), Counter[str]()
    release = 0
    try:
        began = time.monotonic()
        forks.run({"index": str(reference), "wheels": str(wheels), "release": "1.0.0"})
        usual = time.monotonic() - began
        forks.run({"index": str(index), "wheels": str(wheels), "release": "1.0.0"})
        while found["killed"] < number:
            release += 1
            job = {"wheels": str(wheels), "release": f"1.0.{release}"}
            jobs = [job]
            if release % 4 == 0:
                before = f"1.0.{release - 1}"
                jobs += [{**job, "release": before, "action": a} for a in ("yank", "unyank")]
            for one in jobs:
                began = time.monotonic()
                forks.run({**one, "index": str(reference)})
                usual = 0.5 * usual + 0.5 * (time.monotonic() - began)
                while not forks.run({**one, "index": str(index)}, chance.uniform(0.0, 1.1 * usual)):
                    found["killed"] += 1
                    found[state(index)] += 1
                    seen = look(index)
                    assert seen >= release, "what was published before is there"
                    if client:
                        require_resolved(index, f"{COMPANION}==1.0.{max(0, release - 2)}.1")
        assert require_whole(index) == 3 * (release + 1)
        assert contents(index) == contents(reference)
        found["releases"] = release
    finally:
        forks.close()
    return found


def state(index: Path) -> str:
    """How far a killed publisher came."""
    ledger = Ledger.read(index)
    pages = render(ledger)
    if any(not (index / p).exists() or (index / p).read_bytes() != b for p, b in pages.items()):
        return "listed, pages behind"
    stored = {path.name for path in (index / "files").glob("*.whl")}
    if stored != set(ledger.files):
        return "files without a line"
    return "half a file" if list(index.rglob(".part-*")) else "nothing or everything"


def contents(index: Path) -> dict[str, bytes]:
    """Every file of an index but its lock."""
    paths = (path for path in index.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(index).as_posix(): path.read_bytes() for path in paths}


def require_resolved(index: Path, requirement: str) -> None:
    """uv takes the companion with its pair from the index as it lies."""
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
    index = folder / "index"
    words = [str(index), str(folder / "wheels"), str(rounds)]
    looks = [look(index)]
    children = [
        subprocess.Popen([sys.executable, __file__, "--write", str(number), *words], env=_env())
        for number in range(writers)
    ]
    while any(child.poll() is None for child in children):
        looks.append(look(index))
        # a client in a hurry would take half of the time that the writers need
        time.sleep(0.01)
    assert [child.returncode for child in children] == [0] * writers
    assert looks == sorted(looks), "what a client saw once, it sees ever after"
    files = require_whole(index)
    assert files == 3 * rounds * (writers + 1)
    ledger = Ledger.read(index)
    assert len(ledger.yanked) == 3 * writers * (rounds - 1)
    assert ledger.text.count(b"\n") == files + len(ledger.yanked)
    return {"files": files, "looks": len(looks), "yanked": len(ledger.yanked)}


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def write(number: int, index: Path, wheels: Path, rounds: int) -> None:
    """One of a crowd of writers."""
    for turn in range(rounds):
        own, common = f"2.{number}.{turn}", f"1.0.{turn}"
        for release in (own, common):
            do(str(index), str(wheels / f"{number}"), release)
        if turn:
            do(str(index), str(wheels), f"2.{number}.{turn - 1}", "yank")


def main() -> int:
    """The whole torture, and its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, usual in (("kills", 200), ("writers", 8), ("rounds", 50), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    if options.write:
        number, index, wheels, rounds = options.write
        write(int(number), Path(index), Path(wheels), int(rounds))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        found = kills(Path(folder), options.kills, options.seed, client=True)
        print(f"kills: {dict(found)}, {time.monotonic() - began:.1f} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        print(f"crowd: {crowd(Path(folder), options.writers, options.rounds)}", end="")
        print(f", {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
