"""The only module that starts programs.

A child gets the variables that :mod:`child_environment` lists and those of its caller, no other;
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

from toolkit.util import child_environment
from toolkit.util.errors import CommandFailed, how_ended, masked, step_after

_children: set[subprocess.Popen[bytes]] = set()
_starting = threading.Lock()
_ending = threading.Event()
_UMASK = -1 if os.name == "nt" else 0o022  # Windows has none

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

    ``env`` is added to the variables of every child; ``timeout`` is in seconds. On Ctrl-C the
    child is ended before KeyboardInterrupt goes on. Raises CommandFailed if the program is
    missing, takes too long, or, with ``check``, ends with an exit code other than 0.
    """
    args = _echoed(command)
    try:
        result = communicate(args, cwd=cwd, env=env, timeout=timeout)
    except TimeoutError as error:
        raise CommandFailed(
            f"`{shlex.join(args)}` {error}",
            next_step="run that command by hand to see where it hangs",
        ) from error
    out, err = (text.decode("utf-8", "replace") for text in (result.stdout, result.stderr))
    if check and result.returncode != 0:
        raise CommandFailed(
            f"`{shlex.join(args)}` {how_ended(result.returncode)}:\n{(err or out).strip()}",
            next_step="run that command by hand; what it printed stands above",
        )
    return subprocess.CompletedProcess(args, result.returncode, out, err)


def communicate(
    args: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end; return what it printed.

    ``env`` as in :func:`run`; ``stdin`` is by default empty. Raises TimeoutError, CommandFailed.
    """
    pipes = (subprocess.PIPE, subprocess.PIPE)
    with _child(args, cwd, env, *pipes, stdin or subprocess.DEVNULL) as child:
        try:
            out, err = child.communicate(None, timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"did not end within {timeout:g} s") from error
    return subprocess.CompletedProcess(args, child.returncode, out, err)


def _echoed(command: Sequence[str | Path]) -> list[str]:
    """Return the command as texts, after printing it in verbose mode."""
    args = [str(word) for word in command]
    if verbose:
        print(f"+ {masked(shlex.join(args))}", file=sys.stderr, flush=True)
    return args


@dataclass(frozen=True)
class Job:
    """One command for :func:`run_together`; ``cwd`` and ``env`` as in :func:`run`.

    Its standard input ends with the job of the number ``stdin_until``; ``log`` gets its output.
    """

    command: Sequence[str | Path]
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stdin_until: int | None = None
    log: Path | None = None


@dataclass(frozen=True)
class Exited:
    """How a job ended. ``exit_code`` is None if it was killed because nothing moved."""

    exit_code: int | None
    output: str


def run_together(jobs: Sequence[Job], *, timeout: float) -> tuple[Exited, ...]:
    """Run ``jobs`` side by side until each has ended; kill what is left when nothing moves.

    That is when for ``timeout`` seconds no job has ended, or printed a line that is new. The time
    as such has no limit: a slow machine takes as long as it takes. ``output`` is stdout and
    stderr as they came. No job outlives this call. Raises CommandFailed if a program is missing.
    """
    with ExitStack() as stack:
        # Start all of them, each printing to a file that the watchdog reads.
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="livekit-dispatched-"))
        logs = [job.log or Path(scratch, str(number)) for number, job in enumerate(jobs)]
        children = []
        for job, log in zip(jobs, logs, strict=True):
            file = stack.enter_context(log.open("wb"))
            stdin = subprocess.DEVNULL if job.stdin_until is None else subprocess.PIPE
            args = _echoed(job.command)
            starting = _child(args, job.cwd, job.env, file, subprocess.STDOUT, stdin)
            children.append(stack.enter_context(starting))
        # Wait for those first that others wait for.
        watchdog = _Watchdog(timeout, logs)
        codes: dict[Path, int | None] = {}
        for child, log in sorted(
            zip(children, logs, strict=True), key=lambda c: c[0].stdin is not None
        ):
            if child.stdin is not None:
                child.stdin.close()
            codes[log] = watchdog.wait(child)
        return tuple(
            Exited(codes[log], log.read_bytes().decode("utf-8", "replace")) for log in logs
        )


class _Watchdog:
    """Waits for children, and kills one when none has done anything new for ``timeout`` seconds.

    Time in which this process was stopped as well, as by a laptop that sleeps, does not count.
    """

    def __init__(self, timeout: float, logs: Sequence[Path]) -> None:
        self.timeout = timeout
        self._step = min(0.5, timeout / 4)
        self._offsets = dict.fromkeys(logs, 0)
        self._lines: set[bytes] = set()
        self._idle = 0.0
        self._last = time.monotonic()

    def wait(self, child: subprocess.Popen[bytes]) -> int | None:
        """Return the exit code of ``child``; None if it was killed."""
        while True:
            with suppress(subprocess.TimeoutExpired):
                code = child.wait(self._step)
                self._idle = 0.0
                return code
            now = time.monotonic()
            self._idle += min(now - self._last, 2 * self._step)
            self._last = now
            if self._has_new_lines():
                self._idle = 0.0
            elif self._idle >= self.timeout:
                child.kill()
                child.wait()
                return None

    def _has_new_lines(self) -> bool:
        """Whether any child has printed what none had: one that hangs may repeat itself."""
        lines: set[bytes] = set()
        for log, offset in self._offsets.items():
            with log.open("rb") as file:
                file.seek(offset)
                *whole, rest = file.read().split(b"\n")
            lines.update(whole, (rest,))
            # the last line may go on
            self._offsets[log] += sum(len(line) + 1 for line in whole)
        new = lines - self._lines - {b""}
        self._lines |= new
        return bool(new)


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
    """Return whether work in threads should end, after :func:`end_children`."""
    return _ending.is_set()


@contextmanager
def _child(
    args: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    stdout: int | IO[bytes],
    stderr: int,
    stdin: int | IO[bytes],
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a child that does not outlive the block. Raises CommandFailed."""
    # whoever ends the children has to find each of them
    with _starting:
        if _ending.is_set():
            raise KeyboardInterrupt
        try:
            child = subprocess.Popen(
                args,
                cwd=cwd,
                env={**child_environment.plain(), **(env or {})},
                umask=_UMASK,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
        except OSError as error:
            reason, step = f"does not start: {error.strerror}", step_after(error.errno)
            if isinstance(error, FileNotFoundError):
                reason, step = "is not installed", f"install {args[0]} and run again"
            raise CommandFailed(f"{args[0]} {reason}", next_step=step) from error
        _children.add(child)
    with child:
        try:
            yield child
        finally:
            child.kill()  # which does nothing to one that has ended
            with _starting:
                _children.discard(child)
