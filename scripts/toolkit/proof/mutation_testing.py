"""Run the race suite on mutants of one environment, each up to its first failure."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue

from toolkit.environments.environment import Environment
from toolkit.proof.race_report import Report
from toolkit.proof.race_suite import surroundings
from toolkit.util.errors import CommandFailed
from toolkit.util.files import not_writable_errors, sha256, tree_digest, write_whole
from toolkit.util.parallel import map_parallel
from toolkit.util.process import Job, interrupted, run_together
from toolkit.util.strict_json import Malformed, members

FORMAT = 1

# A wheel's member and the text to give it; None changes nothing.
Change = tuple[str, bytes] | None


@dataclass(frozen=True)
class Bite:
    """What became of a mutant.

    ``outcome``: ``caught`` (``by`` says which test), ``does not import``, ``does not end`` or
    ``survived``. ``passed`` counts the tests that passed before the end.
    """

    outcome: str
    by: str = ""
    message: str = ""
    passed: int = 0

    @classmethod
    def parse(cls, text: str) -> Bite:
        """Read what was kept of a mutant; raises Malformed."""
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise Malformed(f"not JSON: {error}") from error
        keys = {"outcome": str, "by": str, "message": str, "passed": int}
        return cls(**members(document, "what became of a mutant", keys, {}))


@dataclass(frozen=True)
class Teeth:
    """A suite, and an environment that passes it and is never written to.

    ``folder`` is for private copies of it, ``kept`` keeps outcomes by what they depend on.
    ``timeout`` is how many seconds a run may stand still.
    """

    suite: Path
    environment: Environment
    folder: Path
    kept: Path
    timeout: float = 600.0
    _idle: SimpleQueue[Environment] = field(default_factory=SimpleQueue)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @cached_property
    def passing(self) -> int:
        """How many tests pass without a mutant; raises CommandFailed unless none fails."""
        bite = self._bite(None)
        if bite.outcome != "survived":
            raise CommandFailed(
                f"without a mutant the suite is not green: {bite.outcome} {bite.by} {bite.message}",
                next_step="make the suite pass on these wheels first",
            )
        return bite.passed

    def bite(self, changes: Sequence[Change], jobs: int) -> Iterator[tuple[Change, Bite]]:
        """Each mutant with what becomes of it, ``jobs`` at a time, as soon as that is known."""
        passing = self.passing
        for change, bite in map_parallel(self._bite, changes, jobs=jobs):
            if bite.outcome == "survived" and bite.passed < passing:
                said = f"only {bite.passed} of {passing} tests ran"
                yield change, replace(bite, outcome="caught", by=said)
            else:
                yield change, bite

    def _bite(self, change: Change) -> Bite:
        kept = self.kept / f"{self._key(change)}.json"
        with suppress(FileNotFoundError, Malformed, UnicodeDecodeError):
            return Bite.parse(kept.read_text(encoding="utf-8"))
        with self._copy() as copy, _changed(copy, change, next(self._numbers)):
            bite = self._run(copy)
        if bite.outcome != "does not end":  # perhaps the machine was busy
            with not_writable_errors(self.kept):
                write_whole(kept, json.dumps(asdict(bite)).encode())
        return bite

    @cached_property
    def _inputs(self) -> list[object]:
        # an environment's folder is named by the digest of what went into it
        return [FORMAT, self.environment.path.name, tree_digest(self.suite), self.timeout]

    def _key(self, change: Change) -> str:
        said = [change[0], sha256(change[1])] if change else []
        return sha256(json.dumps([*self._inputs, *said]).encode())

    @contextmanager
    def _copy(self) -> Iterator[Environment]:
        try:
            copy = self._idle.get_nowait()
        except Empty:
            official = self.environment
            path = self.folder / f"environment-{next(self._numbers)}"
            with not_writable_errors(self.folder):
                ignore = shutil.ignore_patterns("pycache", "__pycache__")
                shutil.copytree(official.path, path, symlinks=True, ignore=ignore)
            python = path / official.python.relative_to(official.path)
            copy = Environment(path, python, official.version)
        yield copy
        self._idle.put(copy)

    def _run(self, place: Environment) -> Bite:
        report = place.path / "report.json"
        report.unlink(missing_ok=True)
        job = Job(
            [
                # not by its path, in which pytest takes [ for the begin of a parameter
                *(place.python, "-m", "pytest", ".", "-c", "pytest.ini"),
                *("-p", "no:cacheprovider", "-x", "--tb=no", f"--race-report={report}"),
            ],
            cwd=self.suite.resolve(),
            env=surroundings(place),
        )
        (ended,) = run_together([job], timeout=self.timeout)
        if ended.exit_code is None:
            return Bite("does not end", message=f"it stood still for {self.timeout:g} s")
        if interrupted():
            raise KeyboardInterrupt
        if ended.exit_code < 0 or "KeyboardInterrupt" in ended.output:
            raise CommandFailed(
                f"the suite was ended from outside (exit code {ended.exit_code})",
                next_step="run the same command again; what was found so far is kept",
            )
        return _read(report, ended.exit_code, ended.output)


def _read(report: Path, exit_code: int, output: str) -> Bite:
    try:
        tests = Report.parse(report.read_text(encoding="utf-8")).tests
    except (FileNotFoundError, Malformed):
        tests = {}
    passed = sum(outcome.outcome == "passed" for outcome in tests.values())
    if exit_code == 0 and passed:
        return Bite("survived", passed=passed)
    for test, outcome in tests.items():
        # a test that did not run says nothing of itself
        if outcome.outcome == "failed" or (outcome.outcome == "error" and outcome.message):
            return Bite("caught", test, outcome.message, passed)
    errors = [line for line in output.splitlines() if line.startswith(("E  ", "ERROR "))]
    if not errors:
        raise CommandFailed(
            f"the suite ended with exit code {exit_code} and no test ran:\n{output.strip()}",
            next_step="run the suite by hand in the environment of the proof",
        )
    return Bite("does not import", message=errors[-1].strip())


@contextmanager
def _changed(place: Environment, change: Change, number: int) -> Iterator[None]:
    """Give a member another text for a while. ``number`` is another one each time."""
    if change is None:
        yield
        return
    path = place.site_packages / change[0]
    original = path.read_bytes()
    try:
        _write(path, change[1], number)
        yield
    finally:
        _write(path, original, 0)


def _write(path: Path, text: bytes, number: int) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(text)
    # Python tells a stale .pyc by the source's size and its time in whole seconds
    os.utime(path, (number, number))
