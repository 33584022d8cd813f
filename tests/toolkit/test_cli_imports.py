"""Whoever asks a verb for help does not wait for what it would need to work."""

from __future__ import annotations

import subprocess
import sys

import pytest

from toolkit.util.workspace import REPOSITORY

VERBS = sorted(path.stem for path in (REPOSITORY / "scripts").glob("*.py"))
# each takes longer to import than a verb may take for its help, or is needed only to work
HEAVY = {
    *("requests", "rich", "jinja2", "unidiff", "pypi_simple", "uv", "git", "filelock"),
    *("fastapi", "uvicorn", "httpx", "asyncio", "multiprocessing"),
    *("packaging.metadata", "toolkit.index.bundle"),
}
HELP = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code
print(*sys.modules, sep="\\n", file=sys.stderr)
"""


@pytest.mark.parametrize("verb", VERBS)
def test_help_imports_nothing_heavy(verb: str) -> None:
    command = [sys.executable, "-c", HELP, str(REPOSITORY / f"scripts/{verb}.py")]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert result.stdout.startswith("usage: ")
    assert not HEAVY & set(result.stderr.splitlines())
