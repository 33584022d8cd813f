"""Patch, repack and index every release; the same again with nothing to do; and the usual way.

Each run is a whole process on a warm cache: official wheels and verdicts are there, repacked
wheels and the index are not. The proof is no part of it: a stand-in judges. The usual way is
`git am` on the sdists' files and `uv build --wheel` of what the series changes, one release after
the other; ours is timed for the very same releases. Growing numbers of releases show whether the
time for each stays the same.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
# behind this folder, whose repack.py is meant below
sys.path.insert(1, str(REPOSITORY / "scripts"))

# release puts its own folder first, where repack is the verb
from repack import Contest  # noqa: E402

# isort: split
from packaging.version import Version  # noqa: E402

import release  # noqa: E402
from toolkit.cli import verb  # noqa: E402
from toolkit.environments.pair import WheelPair  # noqa: E402
from toolkit.patches.series import Series  # noqa: E402
from toolkit.pipeline import release as flow  # noqa: E402
from toolkit.proof.rules import Compared  # noqa: E402
from toolkit.proof.settings import ProofSettings  # noqa: E402
from toolkit.proof.verdict import SuiteCounts, Verdict  # noqa: E402
from toolkit.releases.catalogue import Catalogue  # noqa: E402
from toolkit.releases.official import Settings  # noqa: E402
from toolkit.releases.sources import apply_series  # noqa: E402
from toolkit.util.errors import ToolkitError  # noqa: E402
from toolkit.util.files import sha256_of  # noqa: E402
from toolkit.util.workspace import CACHE_VARIABLE, Workspace  # noqa: E402

# as many as the race suite has, give or take
TESTS = {
    f"tests/race/test_{number % 12}.py::test_some_name[{number}]": Compared(
        "failed" if number < 500 else "passed", "passed", "loses-calls", number < 500, ""
    )
    for number in range(1400)
}
CHILD = "--as-child"


def prove(pair: WheelPair, settings: ProofSettings, **_: object) -> Verdict:
    """A stand-in for the proof: it always comes to `publish`."""
    wheels = {wheel.name: sha256_of(wheel) for wheel in [*pair.patched, *pair.others]}
    local = next(name for name in wheels if "+" in name).split("-")[1]
    return Verdict(
        release=pair.release,
        verdict="publish",
        reason="a benchmark says so",
        official=SuiteCounts({wheel.name: sha256_of(wheel) for wheel in pair.official}, 900, 500),
        patched=SuiteCounts({wheel.name: wheels[wheel.name] for wheel in pair.patched}, 1400),
        wheels=wheels,
        series=pair.series,
        revision=int(local.rpartition(".")[2]),
        suite="0" * 64,
        python="3",
        uploaded="2026-01-01T00:00:00Z",
        tests=TESTS,
    )


class Track:
    """A cache, a copy of the series and an index of their own, and runs over them."""

    def __init__(self, folder: Path, workspace: Workspace) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.patches = folder / "patches"
        self.index = folder / "index"
        shutil.copytree(workspace.patches, self.patches)
        for name in ("artefacts", "sound"):
            source = getattr(workspace, name)
            shutil.copytree(source, self.cache / name, copy_function=os.link)

    def forget(self) -> None:
        """Back to official wheels and verdicts."""
        shutil.rmtree(self.index, ignore_errors=True)
        shutil.rmtree(self.cache / "repacked", ignore_errors=True)

    def run(self, releases: Sequence[str]) -> dict[str, float]:
        """One process; seconds of wall and CPU time, and the peak of its memory in MB."""
        words = [*releases, "--yanked", "--upstream", "no"]
        words += ["--index", str(self.index), "--patches", str(self.patches)]
        log = self.folder / "log"
        start = time.perf_counter()
        pid = os.fork()
        if not pid:
            os.environ[CACHE_VARIABLE] = str(self.cache)
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.execv(sys.executable, [sys.executable, __file__, CHILD, *words])  # noqa: S606
        _, status, used = os.wait4(pid, 0)
        wall = time.perf_counter() - start
        if code := os.waitstatus_to_exitcode(status):
            sys.exit(f"release.py ended with {code}:\n{log.read_text('utf-8')[-3000:]}")
        return {
            "wall": wall,
            "cpu": used.ru_utime + used.ru_stime,
            "megabytes": used.ru_maxrss / 1024,
        }

    def best(self, releases: Sequence[str], runs: int) -> dict[str, float]:
        """The shortest of some runs that have all to do."""
        figures = []
        for _ in range(runs):
            self.forget()
            figures.append(self.run(releases))
        return min(figures, key=lambda figure: figure["wall"])


def carried(workspace: Workspace, only: Sequence[str]) -> list[str]:
    """The releases that the series can be applied to, after their official wheels are fetched.

    They are those of ``only``, if it names any.
    """
    series, found = Series.load(workspace.patches), []
    for version, entry in Catalogue.read(workspace.catalogue).items():
        if only and str(version) not in only:
            continue
        try:
            series.digest(version)
            apply_series(Settings(workspace).fetch(entry.release), series)
        except ToolkitError as error:
            print(f"{version} is left out: {error.problem}", file=sys.stderr)
            continue
        found.append(str(version))
    return found


def usual_way(releases: Sequence[str], workspace: Workspace) -> dict[str, float]:
    """Seconds of wall and CPU time that `git am` and `uv build` take for all of ``releases``."""
    from toolkit.environments.interpreter import uv

    wall, cpu = 0.0, 0.0
    for version in releases:
        with tempfile.TemporaryDirectory() as folder:
            contest = Contest(version, workspace, Path(folder), Path(sys.executable))
            before = _children()
            wall += contest.rebuild(uv(), "build")
            cpu += _children() - before
    return {"wall": wall, "cpu": cpu}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def sample(releases: Sequence[str], size: int) -> list[str]:
    """``size`` of the releases, evenly spread, the last one included."""
    size = min(size, len(releases))
    return [releases[len(releases) * (n + 1) // size - 1] for n in range(size)]


def _number(text: str) -> int:
    return sys.maxsize if text == "all" else int(text)


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark; return its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == [CHILD]:
        flow.prove = prove  # type: ignore[assignment]
        sys.exit(release.main(words[1:]))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("release", nargs="*", help="only these releases (default: all)")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each (%(default)s)")
    parser.add_argument("--steps", type=int, default=4, help="numbers of releases (%(default)s)")
    parser.add_argument(
        "--usual",
        type=_number,
        default=8,
        metavar="N",
        help="releases to build the usual way, 0 for none (%(default)s); `all`, or more than there "
        "are: each that is not yanked and has a wheel for all platforms",
    )
    parser.add_argument("--patches", type=Path, metavar="DIR", help="another series")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    options = parser.parse_args(words)

    workspace = Workspace.default(options.patches)
    releases = carried(workspace, options.release)
    figures: dict[str, object] = {"releases": len(releases)}
    known = Catalogue.read(workspace.catalogue)
    pure = [name for name in releases if len(known[Version(name)].official) == 2]
    workspace.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.root) as folder:
        track = Track(Path(folder), workspace)
        track.run(releases)
        # native ones weigh as much as all the others together: they come with the last step
        steps = (round(len(pure) * n / options.steps) for n in range(1, options.steps))
        sets = [sample(pure, size) for size in sorted({min(10, len(pure)), *steps, len(pure)})]
        for chosen in [*sets, releases]:
            size = len(chosen)
            made, idle = [], []
            for _ in range(options.runs):
                track.forget()
                made.append(track.run(chosen))
                idle.append(track.run(chosen))
            figures[f"{size} made"], figures[f"{size} idle"] = made, idle
            if not options.json:
                best, rest = (min(runs, key=lambda r: r["wall"]) for runs in (made, idle))
                print(
                    f"{size:4} releases: {best['wall']:6.2f} s, "
                    f"{1000 * best['wall'] / size:5.0f} ms each, {best['cpu']:6.2f} s of CPU, "
                    f"{max(r['megabytes'] for r in made):4.0f} MB; "
                    f"nothing to do: {rest['wall']:5.2f} s, {rest['megabytes']:4.0f} MB",
                    flush=True,
                )
        if options.usual:
            good = [name for name in pure if known[Version(name)].yanked is None]
            chosen = sample(good, options.usual)
            ours, usual = track.best(chosen, options.runs), usual_way(chosen, workspace)
            ratio = {key: usual[key] / ours[key] for key in usual}
            figures["usual"] = {
                "releases": chosen,
                "ours": ours,
                "usual": usual,
                "ratio": ratio,
            }
            if not options.json:
                print(
                    f"{len(chosen):4} releases by git am + uv build: {usual['wall']:.2f} s, "
                    f"{usual['cpu']:.2f} s of CPU; ours: {ours['wall']:.2f} s, "
                    f"{ours['cpu']:.2f} s of CPU; {ratio['wall']:.1f} and {ratio['cpu']:.1f} "
                    "times as much"
                )
    if options.json:
        print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    sys.exit(main())
