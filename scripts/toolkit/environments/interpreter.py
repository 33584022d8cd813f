"""The Pythons that environments are built on, and the uv program that builds them."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import dataclass
from functools import cache

from toolkit.util import child_environment
from toolkit.util.errors import CommandFailed, EnvironmentUnresolvable
from toolkit.util.process import run

_finding_uv = threading.Lock()
# Prints what decides which wheels fit an interpreter and which dependencies apply to it.
_DESCRIBE = """
import json, platform, sysconfig
kind = [sysconfig.get_config_var("SOABI"), sysconfig.get_platform(), *platform.libc_ver()]
print(json.dumps([platform.python_version(), " ".join(map(str, kind))]))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python to build environments on; ``version`` is the full one, such as 3.11.7.

    ``kind`` distinguishes those of one version: implementation, build, platform and C library.
    """

    executable: str
    version: str
    kind: str = ""


def find_interpreter(python: str | None = None) -> Interpreter:
    """Return the interpreter that uv finds for ``python``; without it, the running one.

    Raises EnvironmentUnresolvable if there is none.
    """
    return _describe(sys.executable) if python is None else _find(python)


@cache
def _find(python: str) -> Interpreter:
    try:
        find = ("python", "find", "--no-config", "--no-project", "--no-python-downloads")
        return _describe(run([uv(), *find, python], env=child_environment.for_uv()).stdout.strip())
    except CommandFailed as error:
        raise EnvironmentUnresolvable(
            f"uv finds no usable Python {python}",
            next_step=f"install one (`uv python install {python}`) or name another",
        ) from error


@cache
def _describe(executable: str) -> Interpreter:
    output = run([executable, "-I", "-c", _DESCRIBE], timeout=60.0).stdout
    return Interpreter(executable, *json.loads(output))


def uv() -> str:
    """Return the path of the uv program. Raises CommandFailed if it is not installed."""
    from uv import find_uv_bin

    try:
        # it asks sysconfig, whose first answers to several threads at once have holes
        with _finding_uv:
            return str(find_uv_bin())
    except FileNotFoundError as error:
        raise CommandFailed(
            "uv is not installed", next_step="pip install uv, then run again"
        ) from error
