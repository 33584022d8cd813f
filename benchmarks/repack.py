"""How long it takes to get from the official files to patched wheels, three ways.

Whole processes, from warm caches, interleaved; the median of each is shown:

  repack    scripts/repack.py, without its cache of finished wheels
  uv build  `git am` of the series on the sdists, then `uv build --wheel` of what it changes
  build     `git am` of the series on the sdists, then `python -m build --wheel` of the same

The sdists come from PyPI once and are laid out as upstream's monorepo; resetting that tree
between runs is not timed. From 1.8.3 on the series changes livekit-agents only. `repack` asks no
index (--offline), as its cache is warm.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from packaging.version import Version  # noqa: E402
from uv import find_uv_bin  # noqa: E402

from toolkit.cli import verb  # noqa: E402
from toolkit.patches.series import Series  # noqa: E402
from toolkit.releases.official import Settings  # noqa: E402
from toolkit.releases.pypi import ENDPOINT_VARIABLE  # noqa: E402
from toolkit.util import child_environment  # noqa: E402
from toolkit.util.errors import UnknownRelease  # noqa: E402
from toolkit.util.process import run  # noqa: E402
from toolkit.util.workspace import CACHE_VARIABLE, Workspace  # noqa: E402

GIT = (
    *("git", "-c", "user.name=benchmark", "-c", "user.email=benchmark@invalid"),
    *("-c", "commit.gpgSign=false"),
)


class Contest:
    """One release, and the three ways to its patched wheels."""

    def __init__(self, version: str, workspace: Workspace, folder: Path, build: Path) -> None:
        self.version = version
        self.workspace = workspace
        self.out = folder / "out"
        self.tree = folder / "monorepo"
        self.build = build
        fetched = Settings(workspace).fetch(version)
        series = Series.load(workspace.patches)
        variants = series.variants_for(fetched.release.version)
        self.patches = [variant.path for variant in variants]
        changed = {
            series.locate(change.path)[0] for variant in variants for change in variant.changes
        }
        self.projects = []
        for distribution in series.distributions:
            if distribution.name not in changed:
                continue
            partner = fetched.release.of(distribution.name)[0].version
            target = self.tree / distribution.tree
            _unpack(_sdist(distribution.name, partner, folder), target)
            self.projects.append(target)
        run([*GIT, "init", "--quiet", self.tree])
        run([*GIT, "add", "--all", "--force"], cwd=self.tree)
        run([*GIT, "commit", "--quiet", "-m", "sdists"], cwd=self.tree)
        run([*GIT, "tag", "pristine"], cwd=self.tree)

    def ways(self) -> Mapping[str, Callable[[], float]]:
        """Each way, as a function that does it once and returns the seconds it took."""
        return {
            "repack": self.repack,
            "uv build": lambda: self.rebuild(find_uv_bin(), "build"),
            "build": lambda: self.rebuild(self.build, "-m", "build"),
        }

    def repack(self) -> float:
        """One process that applies and repacks."""
        shutil.rmtree(self.out, ignore_errors=True)
        verb = REPOSITORY / "scripts/repack.py"
        options = ("--offline", "--no-cache", "--patches", self.workspace.patches)
        return _seconds(
            [sys.executable, verb, self.version, "--out", self.out, *options],
            env={CACHE_VARIABLE: str(self.workspace.root)},
        )

    def rebuild(self, *frontend: str | Path) -> float:
        """`git am`, and a build frontend for each project that the series changes."""
        shutil.rmtree(self.out, ignore_errors=True)
        run([*GIT, "reset", "--quiet", "--hard", "pristine"], cwd=self.tree)
        took = _seconds([*GIT, "am", "--quiet", *self.patches], cwd=self.tree)
        for project in self.projects:
            took += _seconds([*frontend, "--wheel", "-o", self.out, project])
        return took


def _seconds(
    command: Sequence[str | Path], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> float:
    start = time.perf_counter()
    run(command, cwd=cwd, env={**child_environment.for_uv(), **(env or {})})
    return time.perf_counter() - start


def _sdist(name: str, version: str, folder: Path) -> Path:
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple

    with PyPISimple(os.environ.get(ENDPOINT_VARIABLE) or PYPI_SIMPLE_ENDPOINT) as client:
        for package in client.get_project_page(name).packages:
            same = package.version is not None and Version(package.version) == Version(version)
            if package.package_type == "sdist" and same:
                client.download_package(package, folder / package.filename)
                return folder / package.filename
    raise UnknownRelease(f"{name} {version} has no sdist", next_step="compare another release")


def _unpack(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as sdist, tempfile.TemporaryDirectory() as folder:
        sdist.extractall(folder, filter="data")
        (top,) = Path(folder).iterdir()
        shutil.copytree(top, target)


def measure(
    versions: Sequence[str], workspace: Workspace, runs: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds by release and way, one for each run, after one run of each to warm up."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = folder / "env/bin/python"
        run([find_uv_bin(), "venv", "--quiet", folder / "env"])
        install = [find_uv_bin(), "pip", "install", "--quiet", "--python", python, "build"]
        run(install, env=child_environment.for_uv())
        contests = [Contest(v, workspace, folder / v, python) for v in versions]
        seconds: dict[str, dict[str, list[float]]] = {}
        for number in range(runs + 1):
            for contest in contests:
                for way, once in contest.ways().items():
                    took = once()
                    if number:
                        seconds.setdefault(contest.version, {}).setdefault(way, []).append(took)
    return seconds


def show(seconds: Mapping[str, Mapping[str, list[float]]]) -> None:
    """Print the medians, and how many times longer each way takes than ours."""
    from rich.console import Console
    from rich.table import Table

    table = Table("release", "way", "median s", "min s", "max s", "times repack")
    for version, ways in seconds.items():
        ours = statistics.median(ways["repack"])
        for way, taken in ways.items():
            median = statistics.median(taken)
            row = (median, min(taken), max(taken), median / ours)
            table.add_row(version, way, *(f"{value:.2f}" for value in row[:3]), f"{row[3]:.1f}")
    Console().print(table)


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("release", nargs="*", default=["1.8.9", "1.4.6"], metavar="RELEASE")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each (%(default)s)")
    parser.add_argument("--patches", type=Path, metavar="DIR", help="another series")
    parser.add_argument("--json", action="store_true", help="print every run, in seconds")
    options = parser.parse_args(argv)

    workspace = Workspace.default(options.patches)
    seconds = measure(options.release, workspace, options.runs)
    if options.json:
        print(json.dumps(seconds, indent=1))
    else:
        show(seconds)


if __name__ == "__main__":
    sys.exit(main())
