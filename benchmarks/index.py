"""How long an index of many wheels takes, side by side with dumb-pypi.

Whole processes, interleaved; the median of each is shown, in seconds of wall clock and of CPU:

  one new     scripts/publish.py puts one release into an index that holds all the others
  whole       scripts/publish.py makes every page of the index again
  dumb-pypi   dumb-pypi makes every page of the same wheels

In two shapes: a few projects with many versions, as here, and as many projects as wheels.
dumb-pypi comes from PyPI, into an environment of its own. Both make an HTML and a JSON page for
each project; what else dumb-pypi makes is as little as its options allow. It syncs no file to the
disk; we do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "scripts"), str(REPOSITORY / "tests" / "toolkit")]

from publishing import make_pair, proof_of  # noqa: E402

from toolkit.cli import verb  # noqa: E402
from toolkit.environments.interpreter import uv  # noqa: E402
from toolkit.index.ledger import Ledger, Listed  # noqa: E402
from toolkit.util import child_environment  # noqa: E402
from toolkit.util.process import run  # noqa: E402

PUBLISH = REPOSITORY / "scripts" / "publish.py"


def entries(wheels: int, projects: int) -> list[Listed]:
    """A list of ``wheels``, divided among ``projects``; none of them is looked at."""
    made = []
    for number in range(wheels):
        project = f"livekit-project-{number % projects}"
        version = f"1.{number // projects // 10}.{number // projects % 10}+dispatched.1"
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        made.append(
            Listed(
                filename=f"{project.replace('-', '_')}-{version}-py3-none-any.whl",
                project=project,
                version=version,
                sha256=digest,
                size=600_000 + number,
                upload_time="2026-11-22T15:00:00Z",
                requires_python="<3.15,>=3.10",
                metadata_sha256=digest[::-1],
                verdict_sha256=digest,
            )
        )
    return made


def lay_out(folder: Path, files: Sequence[Listed]) -> Path:
    """An index that holds ``files``, which are empty."""
    index = folder / "index"
    (index / "files").mkdir(parents=True)
    ledger = Ledger()
    for entry in files:
        ledger.append(entry)
        for suffix in ("", ".metadata"):
            (index / "files" / f"{entry.filename}{suffix}").touch()
    (index / "index.jsonl").write_bytes(ledger.text)
    run([sys.executable, PUBLISH, "--index", index])
    return index


def package_list(folder: Path, files: Sequence[Listed]) -> Path:
    """The same wheels as dumb-pypi wants to be told of them."""
    path = folder / "packages.json"
    lines = [
        {
            "filename": entry.filename,
            "hash": f"sha256={entry.sha256}",
            "requires_python": entry.requires_python,
            "core_metadata": f"sha256={entry.metadata_sha256}",
            "upload_timestamp": 1763823600,
        }
        for entry in files
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def timed(command: Sequence[str | Path]) -> tuple[float, float]:
    """Seconds of wall clock and of CPU that a command takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run(command)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    spent = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return ended - began, spent


def contest(folder: Path, dumb: Path, wheels: int, projects: int, rounds: int) -> dict[str, object]:
    """Medians of wall clock and CPU by what was done, and how many pages that was."""
    folder.mkdir()
    files = entries(wheels, projects)
    index, packages = lay_out(folder, files), package_list(folder, files)
    figures: dict[str, list[tuple[float, float]]] = {}
    for number in range(rounds):
        pair = make_pair(folder / f"new-{number}", f"+dispatched.{number}")[:1]
        verdict = folder / f"{number}.json"
        verdict.write_text(proof_of(pair).to_json())
        new = [sys.executable, PUBLISH, "--index", index, "--verdict", verdict, *pair]
        figures.setdefault("one new", []).append(timed(new))
        shutil.rmtree(index / "simple")
        whole = [sys.executable, PUBLISH, "--index", index]
        figures.setdefault("whole", []).append(timed(whole))
        shutil.rmtree(folder / "dumb", ignore_errors=True)
        theirs = [dumb, "--package-list-json", packages, "--packages-url", "../../files/"]
        theirs += ["--no-per-release-json", "--no-generate-timestamp"]
        theirs += ["--output-dir", folder / "dumb"]
        figures.setdefault("dumb-pypi", []).append(timed(theirs))
    medians: dict[str, object] = {
        name: {
            "seconds": round(statistics.median(wall for wall, _ in found), 3),
            "cpu": round(statistics.median(cpu for _, cpu in found), 3),
        }
        for name, found in figures.items()
    }
    pages = {name: count(folder / name) for name in ("index/simple", "dumb")}
    return {"wheels": wheels, "projects": projects, "pages": pages, **medians}


def count(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the contest in both shapes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheels", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run([uv(), "venv", "--quiet", folder / "env", "--python", sys.executable])
        python = folder / "env" / "bin" / "python"
        install = [uv(), "pip", "install", "--quiet", "--python", python, "dumb-pypi"]
        run(install, env=child_environment.for_uv())
        dumb = python.with_name("dumb-pypi")
        found = [
            contest(folder / f"{projects}", dumb, options.wheels, projects, options.rounds)
            for projects in (3, options.wheels)
        ]
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for shape in found:
        print(f"{shape['wheels']} wheels of {shape['projects']} projects")
        for name in ("one new", "whole", "dumb-pypi"):
            figures = shape[name]
            assert isinstance(figures, dict)
            print(f"  {name:10} {figures['seconds']:7.3f} s, CPU {figures['cpu']:7.3f} s")
        print(f"  pages: {shape['pages']}")


if __name__ == "__main__":
    sys.exit(main())
