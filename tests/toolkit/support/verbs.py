"""Runs a verb in this process, as its command line would."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

RunVerb = Callable[..., "Ran"]


@dataclass(frozen=True)
class Ran:
    """How a verb ended: its exit code, and what it wrote to stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)


def runner(capsys: pytest.CaptureFixture[str]) -> RunVerb:
    """Return ``run_verb(name, *words)``; words are converted with ``str``."""

    def run(name: str, *words: object) -> Ran:
        capsys.readouterr()
        try:
            code = importlib.import_module(name).main([str(word) for word in words])
        except SystemExit as error:  # argparse
            code = error.code if isinstance(error.code, int) else 1
        return Ran(code or 0, *capsys.readouterr())

    return run
