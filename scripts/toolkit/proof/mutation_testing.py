"""Run the race suite on mutants of one environment, each up to its first failure."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue

from toolkit.environments.environment import Environment
from toolkit.environments.pair import prepare
from toolkit.patches.mutants import Mutant, mutants_of
from toolkit.patches.series import Series
from toolkit.proof.race_suite import SuiteReport, suite_variables
from toolkit.releases.official import OfficialWheels
from toolkit.releases.repack import repack_release
from toolkit.releases.sources import touched_files
from toolkit.util.console import progress_bar
from toolkit.util.errors import CommandFailed
from toolkit.util.files import not_writable_errors, sha256, tree_digest
from toolkit.util.parallel import map_parallel
from toolkit.util.process import Job, interrupted, run_together
from toolkit.util.store import Store
from toolkit.util.strict_json import Malformed, decode, encode, load
from toolkit.util.workspace import Workspace

FORMAT = 1

# A wheel's member and the text to give it; None changes nothing.
Replacement = tuple[str, bytes] | None


@dataclass(frozen=True)
class MutantResult:
    """What became of a mutant.

    ``outcome``: ``caught`` (``by`` names the test), ``does not import``, ``does not end`` or
    ``survived``. ``passed`` counts the tests that passed before the end.
    """

    outcome: str
    by: str = ""
    message: str = ""
    passed: int = 0


@dataclass(frozen=True)
class MutationRunner:
    """A suite, and an environment that passes it and is never written to.

    ``folder`` is for private copies of it, ``store`` caches results by what they depend on.
    ``timeout`` is how many seconds a run may stand still.
    """

    suite: Path
    environment: Environment
    folder: Path
    store: Store
    timeout: float = 600.0
    _idle: SimpleQueue[Environment] = field(default_factory=SimpleQueue)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @cached_property
    def passing(self) -> int:
        """How many tests pass without a mutant; raises CommandFailed unless none fails."""
        result = self._cached_run(None)
        if result.outcome != "survived":
            raise CommandFailed(
                "without a mutant the suite is not green: "
                f"{result.outcome} {result.by} {result.message}",
                next_step="make the suite pass on these wheels first",
            )
        return result.passed

    def run(
        self, mutants: Sequence[Replacement], jobs: int
    ) -> Iterator[tuple[Replacement, MutantResult]]:
        """Yield each mutant with its result, ``jobs`` at a time, in the order in which they end."""
        passing = self.passing
        for mutant, result in map_parallel(self._cached_run, mutants, jobs=jobs):
            if result.outcome == "survived" and result.passed < passing:
                fewer = f"only {result.passed} of {passing} tests ran"
                yield mutant, replace(result, outcome="caught", by=fewer)
            else:
                yield mutant, result

    def _cached_run(self, mutant: Replacement) -> MutantResult:
        inputs = [*self._inputs, *([mutant[0], sha256(mutant[1])] if mutant else [])]
        if (cached := self.store.get(inputs, _parse)) is not None:
            return cached
        with self._copy() as copy, _replaced(copy, mutant, next(self._numbers)):
            result = self._run(copy)
        if result.outcome != "does not end":  # perhaps the machine was busy
            self.store.put(inputs, json.dumps(encode(result)).encode())
        return result

    @cached_property
    def _inputs(self) -> list[object]:
        # an environment's folder is named by the digest of what went into it
        return [FORMAT, self.environment.path.name, tree_digest(self.suite), self.timeout]

    @contextmanager
    def _copy(self) -> Iterator[Environment]:
        """Yield a private copy of the environment, which goes on to the next mutant."""
        try:
            copy = self._idle.get_nowait()
        except Empty:
            original = self.environment
            path = self.folder / f"environment-{next(self._numbers)}"
            with not_writable_errors(self.folder):
                ignore = shutil.ignore_patterns("pycache", "__pycache__")
                shutil.copytree(original.path, path, symlinks=True, ignore=ignore)
            python = path / original.python.relative_to(original.path)
            copy = Environment(path, python, original.version)
        yield copy
        self._idle.put(copy)

    def _run(self, environment: Environment) -> MutantResult:
        report = environment.path / "report.json"
        report.unlink(missing_ok=True)
        command: list[str | Path] = [
            # not by its path, in which pytest takes [ for the begin of a parameter
            *(environment.python, "-m", "pytest", ".", "-c", "pytest.ini"),
            *("-p", "no:cacheprovider", "-x", "--tb=no", f"--race-report={report}"),
        ]
        job = Job(command, self.suite.resolve(), suite_variables(environment))
        (exited,) = run_together([job], timeout=self.timeout)
        if exited.exit_code is None:
            return MutantResult("does not end", message=f"it stood still for {self.timeout:g} s")
        if interrupted():
            raise KeyboardInterrupt
        if exited.exit_code < 0 or "KeyboardInterrupt" in exited.output:
            raise CommandFailed(
                f"the suite was ended from outside (exit code {exited.exit_code})",
                next_step="run the same command again; what was found so far is kept",
            )
        return _result(report, exited.exit_code, exited.output)


def _parse(data: bytes) -> MutantResult:
    return decode(MutantResult, load(data, "a mutant's result"), "a mutant's result")


def _result(report: Path, exit_code: int, output: str) -> MutantResult:
    try:
        tests = SuiteReport.parse(report.read_text(encoding="utf-8")).tests
    except (FileNotFoundError, Malformed):
        tests = {}
    passed = sum(outcome.outcome == "passed" for outcome in tests.values())
    if exit_code == 0 and passed:
        return MutantResult("survived", passed=passed)
    for test, outcome in tests.items():
        # an error without a message is a test that did not run
        if outcome.outcome == "failed" or (outcome.outcome == "error" and outcome.message):
            return MutantResult("caught", test, outcome.message, passed)
    errors = [line for line in output.splitlines() if line.startswith(("E  ", "ERROR "))]
    if not errors:
        raise CommandFailed(
            f"the suite ended with exit code {exit_code} and no test ran:\n{output.strip()}",
            next_step="run the suite by hand in the environment of the proof",
        )
    return MutantResult("does not import", message=errors[-1].strip())


@contextmanager
def _replaced(environment: Environment, mutant: Replacement, number: int) -> Iterator[None]:
    """Give a member another text inside the block. ``number`` is another one each time."""
    if mutant is None:
        yield
        return
    path = environment.site_packages / mutant[0]
    original = path.read_bytes()
    try:
        _write(path, mutant[1], number)
        yield
    finally:
        _write(path, original, 0)


def _write(path: Path, text: bytes, number: int) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(text)
    # Python recognises a stale .pyc by the source's size and its time in whole seconds
    os.utime(path, (number, number))


@dataclass(frozen=True)
class MutatedRelease:
    """One release's mutants with their results, and how many tests pass without a mutant."""

    release: str
    passing: int
    mutants: tuple[tuple[Mutant, MutantResult], ...]


def mutate(
    official: OfficialWheels,
    series: Series,
    workspace: Workspace,
    *,
    suite: Path,
    python: str | None,
    jobs: int,
) -> MutatedRelease:
    """Test every mutant of one release, ``jobs`` at a time, in the environment of the proof."""
    release = str(official.release.version)
    variants = series.variants_for(official.release.version)
    mutants = list(mutants_of(variants, touched_files(official, series, variants)))
    replacements = {m: (series.locate(m.path)[1], m.text) for m in mutants if not m.inert}
    pair = repack_release(official, series, workspace).pair(python)
    _, patched = prepare(pair, workspace.environments, python=python)
    results: dict[Replacement, MutantResult] = {}
    with (
        workspace.scratch() as folder,
        progress_bar(f"{release}: mutants", len(replacements)) as progress,
    ):
        runner = MutationRunner(suite, patched, folder, Store(workspace.mutants))
        for replacement, result in runner.run(list(replacements.values()), jobs):
            results[replacement] = result
            progress(result.by)
    skipped = MutantResult("skipped", message="dropping it changes no code")
    every = ((m, results[replacements[m]] if m in replacements else skipped) for m in mutants)
    return MutatedRelease(release, runner.passing, tuple(every))
