"""pip and uv in environments of their own, whatever steers those who run the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from toolkit.environments.interpreter import uv

_STEERING = ("UV_", "PIP_", "PYTHON", "VIRTUAL_ENV", "POETRY_", "PDM_", "XDG_", "NOX")


def clean_environment(folder: Path) -> dict[str, str]:
    """The variables of a client that works in ``folder``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_STEERING) and not name.lower().endswith("_proxy")
    }
    own = {"HOME": str(folder), "UV_CACHE_DIR": str(folder / "uv")}
    return {**kept, **own, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@dataclass(frozen=True)
class Client:
    """pip or uv at work in ``folder``, with the indexes named ``ours`` before ``public``.

    Without ``public`` that is PyPI.
    """

    tool: str
    folder: Path
    ours: tuple[str, ...] = ()
    public: str = ""

    @property
    def python(self) -> Path:
        """The interpreter of the environment, which is made when it is first asked for."""
        python = self.folder / "venv" / "bin" / "python"
        if not python.exists():
            command = ["venv", "-q", "--python", sys.executable, str(self.folder / "venv")]
            self.run(uv(), *command)
        return python

    def install(self, *requirements: str) -> dict[str, str]:
        """What is installed afterwards; nothing if the tool refuses."""
        if self.tool == "pip":
            flags = [f for url in self.ours for f in ("--extra-index-url", url)]
            flags += ["--no-cache-dir", *(["--index-url", self.public] if self.public else [])]
        else:
            flags = [f for url in self.ours for f in ("--index", url)]
            flags += ["--default-index", self.public] if self.public else []
        done = self.pip("install", "-q", *flags, *requirements)
        if done.returncode:
            print(done.stderr)
            return {}
        return self.versions()

    def fresh(self, *requirements: str) -> dict[str, str]:
        """The same in an empty environment."""
        self.run(uv(), "venv", "-q", "--clear", "--python", sys.executable, self.folder / "venv")
        return self.install(*requirements)

    def pip(self, *words: object) -> subprocess.CompletedProcess[str]:
        """``pip`` or ``uv pip``, for the environment."""
        if self.tool == "pip":
            command = [sys.executable, "-m", "pip", "--isolated", "--python", self.python]
            return self.run(*command, *words, check=False)
        verb, *rest = words
        command = [uv(), "pip", verb, "--no-config", "--python", self.python]
        return self.run(*command, *rest, check=False)

    def versions(self) -> dict[str, str]:
        """What is installed, by project."""
        words = ("pip", "list", "-q", "--format", "json", "--python", self.python)
        return {row["name"]: row["version"] for row in json.loads(self.run(uv(), *words).stdout)}

    def run(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program as the client would."""
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [*map(str, words)],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=clean_environment(self.folder),
        )
        assert not check or done.returncode == 0, done.stderr
        return done
