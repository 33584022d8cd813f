"""Python environments with exactly given wheels, and everything else as of their upload.

Old releases do not import with today's dependencies, so uv resolves an environment as if
nothing newer than the release had been uploaded (``--exclude-newer``). Environments are cached
by what went into them; a half-built one is never seen under its final name.

uv links their files to its own cache, so that hundreds of them share their room, and whoever edits
an installed file anywhere edits it everywhere: :func:`check` sees it before anything is proved.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import platform
import shutil
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from filelock import FileLock
from packaging.utils import canonicalize_name, parse_wheel_filename

from .errors import CommandFailed, EnvironmentUnresolvable, HashMismatch, Unreachable
from .files import sha256, sha256_of, writing
from .run import run

FORMAT = 1
_STEERING = ("PYTHON", "PYTEST_", "VIRTUAL_ENV", "LIVEKIT_", "OPENAI_", "AZURE_OPENAI_")
# what uv itself puts beside the packages of a virtual environment
_OF_UV = frozenset({"_virtualenv.py", "_virtualenv.pth"})
_finding = threading.Lock()
_UNREACHED = ("Failed to fetch", "error sending request", "dns error", "timed out")


@dataclass(frozen=True)
class Interpreter:
    """A Python to build environments on; ``version`` is the full one, such as 3.11.7."""

    executable: str
    version: str


@dataclass(frozen=True)
class Environment:
    """A virtual environment and its interpreter."""

    path: Path
    python: Path
    version: str

    @property
    def site_packages(self) -> Path:
        """The folder that holds what was installed."""
        if os.name == "nt":
            return self.path / "Lib" / "site-packages"
        if found := next((self.path / "lib").glob("python*/site-packages"), None):
            return found
        raise EnvironmentUnresolvable(
            f"the environment {self.path} is gone", next_step="run again, and let nobody clean it"
        )

    def distributions(self) -> dict[str, str]:
        """What is installed: normalised project name -> version, sorted by name."""
        found = distributions(path=[str(self.site_packages)])
        return dict(sorted((_project(d), d.version) for d in found if _project(d)))


# Projects whose sdists need a compiler and C libraries; an older wheel serves as well.
BINARY_ONLY = ("--only-binary", "av")


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
        """The environment that holds exactly ``wheels``, built unless it is in the cache.

        ``uploaded`` (with a time zone) is the moment as of which dependencies and ``extra``
        (requirements in PEP 508 form) resolve. ``python`` is anything that uv takes for an
        interpreter, by default the running one.

        Raises EnvironmentUnresolvable with uv's reason, Unreachable if the package index does
        not answer, and NotWritable.
        """
        interpreter = find_interpreter(python)
        cutoff = cutoff_of(uploaded)
        inputs = {
            "format": FORMAT,
            "wheels": sorted((wheel.name, sha256_of(wheel)) for wheel in wheels),
            "cutoff": cutoff,
            "python": [interpreter.version, sysconfig.get_platform()],
            "extra": sorted(extra),
        }
        key = sha256(json.dumps(inputs, sort_keys=True).encode())
        final = self.root / key
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / f"{key}.lock"):
                # whose interpreter may be gone since
                if not _python(final).exists():
                    self._build(final, interpreter, [*_requirements(wheels), *extra], cutoff)
        return Environment(final, _python(final), interpreter.version)

    def _build(
        self, final: Path, interpreter: Interpreter, requirements: Sequence[str], cutoff: str
    ) -> None:
        partial = final.with_name(f"{final.name}.part")
        for old in (partial, final):
            shutil.rmtree(old, ignore_errors=True)
        try:
            _uv("venv", "--relocatable", "--python", interpreter.executable, partial)
            _uv(
                *("pip", "install", "--python", _python(partial), "--exclude-newer", cutoff),
                *(*BINARY_ONLY, *requirements),
                cwd=partial,
            )
            partial.replace(final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def find_interpreter(python: str | None = None) -> Interpreter:
    """The interpreter that uv understands by ``python``; the running one without it.

    Raises EnvironmentUnresolvable if there is none.
    """
    if python is None:
        return Interpreter(sys.executable, platform.python_version())
    return _ask_uv(python)


@cache
def _ask_uv(python: str) -> Interpreter:
    try:
        path, version = (
            run([uv(), "python", "find", *flags, python]).stdout.strip()
            for flags in ((), ("--show-version",))
        )
    except CommandFailed as error:
        raise EnvironmentUnresolvable(
            f"uv finds no usable Python {python}",
            next_step=f"install one (`uv python install {python}`) or name another",
        ) from error
    return Interpreter(path, version)


def uv() -> str:
    """The path of the uv program.

    Raises CommandFailed if it is not installed.
    """
    from uv import find_uv_bin

    try:
        # it asks sysconfig, whose first answers to several threads at once have holes
        with _finding:
            return str(find_uv_bin())
    except FileNotFoundError as error:
        raise CommandFailed(
            "uv is not installed", next_step="pip install uv, then run again"
        ) from error


def isolated(**extra: str) -> Mapping[str, str | None]:
    """The changes to this process's variables under which tests say the same for everyone.

    Whatever would steer the interpreter, pytest or the clients under test is removed.
    """
    return {**{name: None for name in os.environ if name.startswith(_STEERING)}, **extra}


def check(environment: Environment, projects: Iterable[str]) -> None:
    """Compare what is installed with its RECORD, which no installer does.

    ``projects`` have to be among it. Raises HashMismatch with every file that is missing, altered
    or listed nowhere.
    """
    missing = {canonicalize_name(project) for project in projects}
    site = environment.site_packages
    listed: set[str] = set()
    problems: list[str] = []
    spoilt: list[str] = []
    for distribution in distributions(path=[str(site)]):
        record = _record(distribution)
        listed |= record.keys()
        missing.discard(name := _project(distribution))
        if found := [*_differences(record, site)]:
            problems += found
            spoilt.append(name)
    problems += [f"{name} is not installed" for name in sorted(missing)]
    present = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    ours = {file for file in present if "__pycache__/" not in file}
    problems += [f"{file} is in no RECORD" for file in sorted(ours - listed - _OF_UV)]
    if problems:
        again = " ".join(["uv cache clean", *filter(None, spoilt)])
        raise HashMismatch(
            f"{environment.path} is not what its wheels say: " + "; ".join(problems),
            next_step=f"delete that folder{f' and run `{again}`' * bool(spoilt)}, "
            "so that it is made again",
        )


def _project(distribution: Distribution) -> str:
    # None, whatever its type says, for a dist-info without METADATA.
    return canonicalize_name(distribution.name or "")


def _record(distribution: Distribution) -> dict[str, str]:
    # Not distribution.files: from Python 3.12 on it leaves out what is missing.
    rows = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    return {row[0]: row[1] for row in rows if row}


def _differences(record: Mapping[str, str], site: Path) -> Iterator[str]:
    for file, announced in record.items():
        path = site / file
        if not path.is_file():
            yield f"{file} is missing"
        elif announced:
            algorithm, _, value = announced.partition("=")
            digest = hashlib.new(algorithm, path.read_bytes()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != value:
                yield f"{file} was altered"
        elif not file.endswith((".dist-info/RECORD", ".pyc")):
            yield f"{file} has no hash in RECORD"


def _requirements(wheels: Sequence[Path]) -> list[str]:
    # "name @ file:" makes uv take exactly these, whatever its indexes hold.
    return [f"{parse_wheel_filename(w.name)[0]} @ {w.resolve().as_uri()}" for w in wheels]


def cutoff_of(uploaded: datetime) -> str:
    """The moment for uv's ``--exclude-newer`` that still admits what was ``uploaded`` then."""
    if uploaded.tzinfo is None:
        raise ValueError(f"{uploaded} has no time zone")
    return (uploaded.astimezone(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _uv(*arguments: str | Path, cwd: Path | None = None) -> None:
    # A cwd outside any project keeps a pyproject.toml from configuring uv.
    command = [uv(), *arguments]
    done = run(command, cwd=cwd, env=isolated(), check=False)
    if done.returncode == 0:
        return
    reason = done.stderr.strip()
    if any(sign in reason for sign in _UNREACHED):
        raise Unreachable(
            f"the package index did not answer uv:\n{reason}",
            next_step="check the network (or UV_DEFAULT_INDEX, if you set it) and run again",
        )
    if done.returncode < 0:
        raise CommandFailed(
            f"uv was ended by signal {-done.returncode}", next_step="run the same command again"
        )
    raise EnvironmentUnresolvable(
        "uv cannot make the environment:\n" + "\n".join(reason.splitlines()[:12]),
        next_step="see which requirement uv names; another --python often admits it",
    )
