"""The only place where a subprocess starts (git apart, which GitPython starts)."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import CommandFailed

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

    ``env`` is added to this process's environment; ``timeout`` is in seconds.
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
            env={**os.environ, **(env or {})},
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
