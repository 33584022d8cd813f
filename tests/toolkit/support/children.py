"""Runs Python in processes of its own, with the toolkit on its path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from toolkit.util.workspace import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"
# Names of folders that shells, TOML, URLs, options, PATH and file systems read in their own way.
ODD_NAMES = ("a [1] 'b' \"c\"", "50%25 #ü雪;&$HOME\\*?", "-dash", "x:y", f"{'x' * 200}/y")
ENV = {**os.environ, "PYTHONPATH": str(SCRIPTS)}


def command(script: str, *args: object) -> list[str]:
    """Return the command that runs a script's text."""
    return [sys.executable, "-c", script, *map(str, args)]


def python(script: str, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script's text to its end."""
    return call(*command(script, *args), env={**ENV, **env})


def call(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, without a check of its exit code."""
    line = [word if isinstance(word, Path) else str(word) for word in args]
    return subprocess.run(line, check=False, capture_output=True, text=True, **options)
