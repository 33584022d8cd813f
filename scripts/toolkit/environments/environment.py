"""Python environments with exactly given wheels, and everything else as of their upload.

Old releases do not import with today's dependencies, so uv resolves an environment as if
nothing newer than the release had been uploaded (``--exclude-newer``). The result is a list of
pinned versions; the environment gets just these, and keeps the list. Environments are cached
by what went into them; a half-built one is never seen under its final name.

uv links their files to its own cache, so that hundreds of them share their room, and whoever edits
an installed file anywhere edits it everywhere: ``verify_installed`` notices before a proof.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import Distribution, distributions, version
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename

from toolkit.environments.interpreter import Interpreter, find_interpreter, uv
from toolkit.util import child_environment
from toolkit.util.errors import (
    CommandFailed,
    EnvironmentUnresolvable,
    NotWritable,
    Unreachable,
)
from toolkit.util.files import not_writable_errors, sha256_of
from toolkit.util.process import run
from toolkit.util.store import Store

FORMAT = 2
# Projects whose sdists need a compiler and C libraries; an older wheel serves as well.
BINARY_ONLY = ("--only-binary", "av")
# The pinned requirements that uv resolved, in the environment's folder.
RESOLUTION = "resolution.txt"
_UNREACHED = ("Failed to fetch", "error sending request", "dns error", "timed out")
# What uv prints about a folder of its own or of ours: Rust's words, and the numbers of Unix.
_UNWRITABLE = re.compile(r"Failed to initialize cache|\(os error (?:1|13|20|28|30|122)\)")


@dataclass(frozen=True)
class Environment:
    """A virtual environment and its interpreter."""

    path: Path
    python: Path
    version: str

    @property
    def site_packages(self) -> Path:
        """The folder that holds what was installed. Raises EnvironmentUnresolvable."""
        if os.name == "nt":
            return self.path / "Lib" / "site-packages"
        if folder := next((self.path / "lib").glob("python*/site-packages"), None):
            return folder
        raise EnvironmentUnresolvable(
            f"the environment {self.path} is gone", next_step="run again, and let nobody clean it"
        )

    def distributions(self) -> dict[str, str]:
        """Return what is installed: normalised project name -> version, sorted by name."""
        installed = distributions(path=[str(self.site_packages)])
        versions = {project_of(each): each.version for each in installed}
        return dict(sorted((name, number) for name, number in versions.items() if name))


def project_of(distribution: Distribution) -> str:
    """Return the normalised name of an installed project; empty without METADATA."""
    # None, whatever its type says, for a dist-info without METADATA
    return canonicalize_name(distribution.name or "")


@dataclass(frozen=True)
class Environments:
    """The cache of environments below ``root``."""

    root: Path

    def prepare(
        self,
        wheels: Sequence[Path],
        *,
        uploaded: datetime,
        python: str | None = None,
        extra: Sequence[str] = ("pytest",),
    ) -> Environment:
        """Return the environment that holds exactly ``wheels``; build it unless it is cached.

        Dependencies and ``extra`` (requirements in PEP 508 form) are resolved as of ``uploaded``,
        which has a time zone. ``python`` is anything that uv takes for an interpreter, by default
        the running one.

        Raises EnvironmentUnresolvable with uv's reason, Unreachable if the package index does
        not answer, and NotWritable.
        """
        from filelock import FileLock

        interpreter = find_interpreter(python)
        cutoff = cutoff_of(uploaded)
        inputs = {
            "format": FORMAT,
            "wheels": sorted((wheel.name, sha256_of(wheel)) for wheel in wheels),
            "cutoff": cutoff,
            "python": [interpreter.version, interpreter.kind],
            "extra": sorted(extra),
            "uv": version("uv"),
        }
        with not_writable_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            # Offline, an environment that was resolved with a network serves as well.
            for sources in child_environment.sources():
                final = Store(self.root).path({**inputs, **sources}, "")
                if _python(final).exists():
                    break
            with FileLock(final.with_suffix(".lock")):
                # Another process may have built it, or removed the interpreter that it links to.
                if not _python(final).exists():
                    _build(final, interpreter, [*_requirements(wheels), *extra], cutoff)
        return Environment(final, _python(final), interpreter.version)


def _build(final: Path, interpreter: Interpreter, requirements: Sequence[str], cutoff: str) -> None:
    """Resolve ``requirements``, and install exactly the result."""
    partial = final.with_name(f"{final.name}.part")
    for folder in (partial, final):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        partial.mkdir()
        venv = ("venv", "--allow-existing", "--no-project", "--relocatable")
        _uv(*venv, "--python", interpreter.executable, ".", cwd=partial)
        (partial / "requirements.in").write_text("\n".join(requirements), "utf-8")
        options = ("--python", _python(partial), "--exclude-newer", cutoff, *BINARY_ONLY)
        output = ("--no-header", "--no-annotate", "--output-file", RESOLUTION)
        _uv("pip", "compile", *options, *output, "requirements.in", cwd=partial)
        _uv("pip", "sync", *options, RESOLUTION, cwd=partial)
        partial.replace(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _requirements(wheels: Sequence[Path]) -> list[str]:
    # "name @ file:" makes uv take exactly these, whatever its indexes hold
    return [f"{parse_wheel_filename(w.name)[0]} @ {w.resolve().as_uri()}" for w in wheels]


def cutoff_of(uploaded: datetime) -> str:
    """Return the moment for uv's ``--exclude-newer`` that still admits that upload.

    Raises ValueError for a time without a zone.
    """
    if uploaded.tzinfo is None:
        raise ValueError(f"{uploaded} has no time zone")
    return (uploaded.astimezone(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _uv(*arguments: str | Path, cwd: Path) -> None:
    """Run uv; raises what fits its message if it fails."""
    command = [uv(), *arguments, "--no-config"]
    result = run(command, cwd=cwd, env=child_environment.for_uv(), check=False)
    if result.returncode == 0:
        return
    reason = result.stderr.strip()
    if any(sign in reason for sign in _UNREACHED):
        raise Unreachable(
            f"the package index did not answer uv:\n{reason}",
            next_step="check the network (or UV_DEFAULT_INDEX, if you set it) and run again",
        )
    if result.returncode < 0:
        raise CommandFailed(
            f"uv was ended by signal {-result.returncode}", next_step="run the same command again"
        )
    if _UNWRITABLE.search(reason):
        raise NotWritable(
            f"uv cannot write to its cache or to {cwd}:\n{reason}",
            next_step="make room there, or name other folders with UV_CACHE_DIR and "
            "LIVEKIT_DISPATCHED_CACHE",
        )
    raise EnvironmentUnresolvable(
        "uv cannot make the environment:\n" + "\n".join(reason.splitlines()[:12]),
        next_step="see which requirement uv names; another --python often admits it",
    )
