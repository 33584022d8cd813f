"""The only place where a subprocess starts (git apart, which GitPython starts)."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .errors import CommandFailed

verbose = os.environ.get("LIVEKIT_DISPATCHED_VERBOSE") == "1"


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    timeout: float | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` to its end and return what it printed, as text.

    ``env`` is added to this process's environment, where None removes a variable;
    ``timeout`` is in seconds.
    On Ctrl-C the child is ended before KeyboardInterrupt goes on.

    Raises CommandFailed if the program is missing, takes too long, or, with ``check``,
    ends with an exit code other than 0.
    """
    words = [str(word) for word in command]
    line = shlex.join(words)
    if verbose:
        print(f"+ {line}", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=_environment(env),
            timeout=timeout,
            check=False,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise CommandFailed(
            f"{words[0]} is not installed", next_step=f"install {words[0]} and run again"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(
            f"`{line}` did not end within {timeout:g} s",
            next_step="run that command by hand to see where it hangs",
        ) from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise CommandFailed(
            f"`{line}` ended with exit code {done.returncode}:\n{said}",
            next_step="run that command by hand; what it printed stands above",
        )
    return done


@dataclass(frozen=True)
class Job:
    """One command for :func:`run_together`; ``cwd`` and ``env`` as in :func:`run`."""

    command: Sequence[str | Path]
    cwd: Path | None = None
    env: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a job ended. ``exit_code`` is None if it did not end in time and was killed."""

    exit_code: int | None
    output: str


def run_together(jobs: Sequence[Job], *, timeout: float) -> tuple[Ended, ...]:
    """Run ``jobs`` side by side until each has ended or ``timeout`` seconds have passed.

    ``output`` is stdout and stderr as they came. No job outlives this call, whatever ends it.

    Raises CommandFailed if a program is missing.
    """
    with ExitStack() as stack:
        children = []
        for job in jobs:
            words = [str(word) for word in job.command]
            if verbose:
                print(f"+ {shlex.join(words)}", file=sys.stderr, flush=True)
            said = stack.enter_context(tempfile.TemporaryFile())
            try:
                child = subprocess.Popen(
                    words,
                    cwd=job.cwd,
                    env=_environment(job.env),
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                )
            except FileNotFoundError as error:
                raise CommandFailed(
                    f"{words[0]} is not installed", next_step=f"install {words[0]} and run again"
                ) from error
            stack.callback(_end, child)
            children.append((child, said))
        deadline = time.monotonic() + timeout
        ended = []
        for child, said in children:
            try:
                exit_code: int | None = child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                exit_code = None
            _end(child)
            said.seek(0)
            ended.append(Ended(exit_code, said.read().decode("utf-8", "replace")))
        return tuple(ended)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.kill()
        child.wait()


def _environment(changes: Mapping[str, str | None] | None) -> dict[str, str]:
    merged = {**os.environ, **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}
