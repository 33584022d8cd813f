"""The only place where a subprocess starts.

A child gets the variables that :mod:`inherited` lists and those that its caller names, no other;
what it writes has the permissions of umask 022.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from toolkit.util import inherited
from toolkit.util.errors import CommandFailed, how_ended, masked, step_after

_children: set[subprocess.Popen[bytes]] = set()
_starting = threading.Lock()
_ending = threading.Event()
# -1 leaves it alone, as Windows has none
_UMASK = -1 if os.name == "nt" else 0o022

verbose = os.environ.get("LIVEKIT_DISPATCHED_VERBOSE") == "1"


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` to its end and return what it printed, as text.

    ``env`` is added to the variables of every child; ``timeout`` is in seconds.
    On Ctrl-C the child is ended before KeyboardInterrupt goes on.

    Raises CommandFailed if the program is missing, takes too long, or, with ``check``,
    ends with an exit code other than 0.
    """
    words = [str(word) for word in command]
    line = shlex.join(words)
    if verbose:
        print(f"+ {masked(line)}", file=sys.stderr, flush=True)
    try:
        with child_process(words, cwd, env, subprocess.PIPE, subprocess.PIPE) as child:
            printed = child.communicate(None, timeout)
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(
            f"`{line}` did not end within {timeout:g} s",
            next_step="run that command by hand to see where it hangs",
        ) from error
    out, err = (said.decode("utf-8", "replace") for said in printed)
    done = subprocess.CompletedProcess(words, child.returncode, out, err)
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise CommandFailed(
            f"`{line}` {how_ended(done.returncode)}:\n{said}",
            next_step="run that command by hand; what it printed stands above",
        )
    return done


@dataclass(frozen=True)
class Job:
    """One command for :func:`run_together`; ``cwd`` and ``env`` as in :func:`run`.

    ``stdin_until`` is the number of another job: when that has ended, so does this one's standard
    input. ``log`` is a file for what it prints.
    """

    command: Sequence[str | Path]
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stdin_until: int | None = None
    log: Path | None = None


@dataclass(frozen=True)
class Exited:
    """How a job ended. ``exit_code`` is None if it was killed as nothing moved."""

    exit_code: int | None
    output: str


def run_together(jobs: Sequence[Job], *, timeout: float) -> tuple[Exited, ...]:
    """Run ``jobs`` side by side until each has ended; kill what is left when nothing moves.

    That is when for ``timeout`` seconds no job has ended, or printed a line that is new. The time
    as such has no limit: a slow machine takes as long as it takes.

    ``output`` is stdout and stderr as they came. No job outlives this call, whatever ends it.

    Raises CommandFailed if a program is missing.
    """
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="livekit-dispatched-"))
        said = [job.log or Path(scratch, str(number)) for number, job in enumerate(jobs)]
        children = []
        for job, path in zip(jobs, said, strict=True):
            words = [str(word) for word in job.command]
            if verbose:
                print(f"+ {masked(shlex.join(words))}", file=sys.stderr, flush=True)
            file = stack.enter_context(path.open("wb"))
            stdin = subprocess.DEVNULL if job.stdin_until is None else subprocess.PIPE
            starting = child_process(words, job.cwd, job.env, file, subprocess.STDOUT, stdin)
            children.append(stack.enter_context(starting))
        patience = _Patience(timeout, said)
        codes: dict[int, int | None] = {}
        for number in sorted(
            range(len(jobs)), key=lambda number: jobs[number].stdin_until is not None
        ):
            child = children[number]
            if child.stdin is not None:
                child.stdin.close()
            codes[number] = patience.wait(child)
        return tuple(
            Exited(codes[number], path.read_bytes().decode("utf-8", "replace"))
            for number, path in enumerate(said)
        )


class _Patience:
    """How long children may do nothing new. Time in which we were stopped as well, as a laptop
    that sleeps stops everything, does not count."""

    def __init__(self, timeout: float, said: Sequence[Path]) -> None:
        self.timeout = timeout
        self._step = min(0.5, timeout / 4)
        self._read = dict.fromkeys(said, 0)
        self._seen: set[bytes] = set()
        self._idle = 0.0
        self._last = time.monotonic()

    def wait(self, child: subprocess.Popen[bytes]) -> int | None:
        """The exit code of ``child``; None if it was killed, as nothing moved."""
        while True:
            with suppress(subprocess.TimeoutExpired):
                code = child.wait(self._step)
                self._idle = 0.0
                return code
            now = time.monotonic()
            self._idle += min(now - self._last, 2 * self._step)
            self._last = now
            if self._moved():
                self._idle = 0.0
            elif self._idle >= self.timeout:
                child.kill()
                child.wait()
                return None

    def _moved(self) -> bool:
        """Whether a line was begun, or went on, that nobody had printed: one that hangs may
        well repeat itself."""
        lines: set[bytes] = set()
        for path, start in self._read.items():
            with path.open("rb") as file:
                file.seek(start)
                found = file.read().split(b"\n")
            lines.update(found)
            # the last one may go on
            self._read[path] += sum(len(line) + 1 for line in found[:-1])
        new = lines - self._seen
        self._seen |= new
        return bool(new - {b""})


def end_children() -> None:
    """End every child that runs, and let none start until :func:`allow_children`.

    For Ctrl-C while threads run programs: a thread that starts one meets KeyboardInterrupt.
    """
    with _starting:
        _ending.set()
        for child in _children:
            child.kill()


def allow_children() -> None:
    """Let children start again after :func:`end_children`."""
    _ending.clear()


def interrupted() -> bool:
    """Whether work in threads should end, as :func:`end_children` was called."""
    return _ending.is_set()


@contextmanager
def child_process(
    words: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    stdout: int | IO[bytes],
    stderr: int,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that does not outlive the block; ``env`` as in :func:`run`.

    Raises CommandFailed if the program is missing.
    """
    with _starting:
        if _ending.is_set():
            raise KeyboardInterrupt
        try:
            child = subprocess.Popen(
                words,
                cwd=cwd,
                env={**inherited.plain(), **(env or {})},
                umask=_UMASK,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
        except FileNotFoundError as error:
            raise CommandFailed(
                f"{words[0]} is not installed", next_step=f"install {words[0]} and run again"
            ) from error
        except OSError as error:
            raise CommandFailed(
                f"{words[0]} does not start: {error.strerror}", next_step=step_after(error.errno)
            ) from error
        _children.add(child)
    try:
        with child:
            try:
                yield child
            finally:
                if child.poll() is None:
                    child.kill()
    finally:
        with _starting:
            _children.discard(child)
