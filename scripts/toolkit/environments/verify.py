"""Is an environment what was resolved for it, file by file? No installer checks that."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from livekit_dispatched.condition import read_record
from toolkit.environments.environment import RESOLUTION, Environment, project_of
from toolkit.util.errors import HashMismatch

# What uv itself puts beside the packages of a virtual environment.
_OF_UV = frozenset({"_virtualenv.py", "_virtualenv.pth"})


def verify_installed(environment: Environment, projects: Iterable[str]) -> None:
    """Compare what is installed with what was resolved, and each file with its RECORD.

    ``projects`` have to be among it. Raises HashMismatch with every distribution that should not
    be there or is not, and every file that is missing, altered or listed nowhere.
    """
    # Each distribution's files, by its RECORD.
    missing = {canonicalize_name(project) for project in projects}
    site = environment.site_packages
    listed: set[str] = set()
    problems: list[str] = []
    spoilt: list[str] = []
    for distribution in distributions(path=[str(site)]):
        text = distribution.read_text("RECORD") or ""
        rows = read_record(text)
        record = {file: digest for file, digest, _ in rows}
        listed |= record.keys()
        missing.discard(name := project_of(distribution))
        differences = [*_differences(record, site)]
        if len(rows) != len([*csv.reader(text.splitlines())]):
            differences.append(f"the RECORD of {name} has rows of other than three fields")
        if differences:
            problems += differences
            spoilt.append(name)
    # The distributions, and files that none of them lists.
    problems += [f"{name} is not installed" for name in sorted(missing)]
    problems += _unresolved(environment, missing)
    present = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    files = {file for file in present if "__pycache__/" not in file}
    problems += [f"{file} is in no RECORD" for file in sorted(files - listed - _OF_UV)]
    if problems:
        again = " ".join(["uv cache clean", *filter(None, spoilt)])
        raise HashMismatch(
            f"{environment.path} is not what its wheels say: " + "; ".join(problems),
            next_step=f"delete that folder{f' and run `{again}`' * bool(spoilt)}, "
            "so that it is made again",
        )


def _differences(record: Mapping[str, str], site: Path) -> Iterator[str]:
    # not Distribution.files: from Python 3.12 on it leaves out what is missing
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


def _unresolved(environment: Environment, skipped: Container[str]) -> list[str]:
    """Return where installed and resolved versions differ, but for the projects ``skipped``."""
    try:
        lines = (environment.path / RESOLUTION).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return [f"{RESOLUTION}, the list of what was resolved, cannot be read"]
    resolved = dict(_pin(Requirement(line)) for line in lines if line.strip())
    installed = environment.distributions()
    problems = []
    for name in sorted(resolved.keys() | installed.keys()):
        if name in skipped:
            continue
        if name not in resolved:
            problems.append(f"{name} {installed[name]} was not resolved")
        elif name not in installed:
            problems.append(f"{name} is not installed")
        elif resolved[name] not in (None, Version(installed[name])):
            versions = f"{installed[name]} is installed, and {resolved[name]} was resolved"
            problems.append(f"{name} {versions}")
    return problems


def _pin(line: Requirement) -> tuple[str, Version | None]:
    """Return a project and its version; None where a file that is no wheel was resolved."""
    name = canonicalize_name(line.name)
    if line.url is None:
        (specifier,) = line.specifier
        return name, Version(specifier.version)
    file = unquote(urlsplit(line.url).path).rpartition("/")[2]
    return name, parse_wheel_filename(file)[1] if file.endswith(".whl") else None
