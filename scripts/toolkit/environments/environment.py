"""Python environments with exactly given wheels, and everything else as of their upload.

Old releases do not import with today's dependencies, so uv resolves an environment as if
nothing newer than the release had been uploaded (``--exclude-newer``). The result is a list of
pinned versions; the environment gets just these, and keeps the list. Environments are cached
by what went into them; a half-built one is never seen under its final name.

uv links their files to its own cache, so that hundreds of them share their room, and whoever edits
an installed file anywhere edits it everywhere: :func:`verify_installed` notices before a proof.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from toolkit.util import inherited
from toolkit.util.errors import (
    CommandFailed,
    EnvironmentUnresolvable,
    HashMismatch,
    NotWritable,
    Unreachable,
)
from toolkit.util.files import not_writable_errors, sha256, sha256_of
from toolkit.util.process import run

FORMAT = 2
_RESOLUTION = "resolution.txt"
# what uv itself puts beside the packages of a virtual environment
_OF_UV = frozenset({"_virtualenv.py", "_virtualenv.pth"})
_finding = threading.Lock()
_UNREACHED = ("Failed to fetch", "error sending request", "dns error", "timed out")
# what uv says of a folder of its own or of ours: Rust's words, and the numbers of Unix
_UNWRITABLE = re.compile(r"Failed to initialize cache|\(os error (?:1|13|20|28|30|122)\)")
# what of an interpreter decides which wheels fit and which dependencies apply
_ABOUT = """
import json, platform, sysconfig
about = [sysconfig.get_config_var("SOABI"), sysconfig.get_platform(), *platform.libc_ver()]
print(json.dumps([platform.python_version(), " ".join(map(str, about))]))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python to build environments on; ``version`` is the full one, such as 3.11.7.

    ``kind`` tells apart those of one version: implementation, build, platform and C library.
    """

    executable: str
    version: str
    kind: str = ""


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
            "python": [interpreter.version, interpreter.kind],
            "extra": sorted(extra),
            "uv": version("uv"),
        }
        with not_writable_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            for sources in inherited.sources():
                key = sha256(json.dumps({**inputs, **sources}, sort_keys=True).encode())
                final = self.root / key
                if _python(final).exists():
                    break
            with FileLock(self.root / f"{key}.lock"):
                # whose interpreter may be gone since
                if not _python(final).exists():
                    self._build(final, interpreter, [*_requirements(wheels), *extra], cutoff)
        return Environment(final, _python(final), interpreter.version)

    def _build(
        self, final: Path, interpreter: Interpreter, requirements: Sequence[str], cutoff: str
    ) -> None:
        """Resolve ``requirements``, and install exactly what that gave."""
        partial = final.with_name(f"{final.name}.part")
        for old in (partial, final):
            shutil.rmtree(old, ignore_errors=True)
        try:
            partial.mkdir()
            venv = ("venv", "--allow-existing", "--no-project", "--relocatable")
            _uv(*venv, "--python", interpreter.executable, ".", cwd=partial)
            (partial / "requirements.in").write_text("\n".join(requirements), "utf-8")
            options = ("--python", _python(partial), "--exclude-newer", cutoff, *BINARY_ONLY)
            plain = ("--no-header", "--no-annotate", "--output-file", _RESOLUTION)
            _uv("pip", "compile", *options, *plain, "requirements.in", cwd=partial)
            _uv("pip", "sync", *options, _RESOLUTION, cwd=partial)
            partial.replace(final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def find_interpreter(python: str | None = None) -> Interpreter:
    """The interpreter that uv understands by ``python``; the running one without it.

    Raises EnvironmentUnresolvable if there is none.
    """
    return _ask(sys.executable) if python is None else _ask_uv(python)


@cache
def _ask_uv(python: str) -> Interpreter:
    try:
        find = ("python", "find", "--no-config", "--no-project", "--no-python-downloads")
        found = run([uv(), *find, python], env=inherited.for_uv()).stdout.strip()
        return _ask(found)
    except CommandFailed as error:
        raise EnvironmentUnresolvable(
            f"uv finds no usable Python {python}",
            next_step=f"install one (`uv python install {python}`) or name another",
        ) from error


@cache
def _ask(executable: str) -> Interpreter:
    said = json.loads(run([executable, "-I", "-c", _ABOUT], timeout=60.0).stdout)
    return Interpreter(executable, *said)


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


def verify_installed(environment: Environment, projects: Iterable[str]) -> None:
    """Compare what is installed with what was resolved, and each file with its RECORD.

    No installer does that. ``projects`` have to be among it. Raises HashMismatch with every
    distribution that should not be there or is not, and every file that is missing, altered or
    listed nowhere.
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
    problems += _unresolved(environment, missing)
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


def _unresolved(environment: Environment, known: Container[str]) -> list[str]:
    """Where what is installed is not what was resolved, leaving out the projects ``known``."""
    try:
        lines = (environment.path / _RESOLUTION).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return [f"{_RESOLUTION}, the list of what was resolved, cannot be read"]
    wanted = dict(_pin(Requirement(line)) for line in lines if line.strip())
    found = environment.distributions()
    problems = []
    for name in sorted(wanted.keys() | found.keys()):
        if name in known:
            continue
        if name not in wanted:
            problems.append(f"{name} {found[name]} was not resolved")
        elif name not in found:
            problems.append(f"{name} is not installed")
        elif wanted[name] not in (None, Version(found[name])):
            problems.append(f"{name} {found[name]} is installed, and {wanted[name]} was resolved")
    return problems


def _pin(line: Requirement) -> tuple[str, Version | None]:
    """A project and its version; None where only an address that is no wheel's was resolved."""
    name = canonicalize_name(line.name)
    if line.url is None:
        (specifier,) = line.specifier
        return name, Version(specifier.version)
    file = unquote(urlsplit(line.url).path).rpartition("/")[2]
    return name, parse_wheel_filename(file)[1] if file.endswith(".whl") else None


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


def _uv(*arguments: str | Path, cwd: Path) -> None:
    command = [uv(), *arguments, "--no-config"]
    done = run(command, cwd=cwd, env=inherited.for_uv(), check=False)
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
