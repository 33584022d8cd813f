"""Is what is installed what its wheels would install? Compared file by file, RECORD apart.

RECORD is read for its meaning (PEP 376): installers write it anew. What they add themselves, such
as INSTALLER and compiled modules, is passed over; what else lies inside the packages is told.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from io import BytesIO
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename

from livekit_dispatched.condition import carried, read_expected, read_record, strangers
from toolkit.index.metapackage import EXPECTED
from toolkit.util.errors import AuditFailed
from toolkit.util.process import run

_ASK = "import json, sysconfig; print(json.dumps(sysconfig.get_path('purelib')))"


def site_packages(target: Path) -> Path | None:
    """The folder of installed files that belongs to a virtual environment or a Python; or None.

    A Python of a virtual environment is not run; another is asked for its folder.
    Raises CommandFailed if it does not answer.
    """
    home = target.parent.parent if target.is_file() else target
    if target.is_dir() and any(target.glob("*.dist-info")):
        return target
    if (home / "pyvenv.cfg").is_file():
        found = [*home.glob("lib/python*/site-packages"), *home.glob("Lib/site-packages")]
        if not found:
            raise AuditFailed(
                f"{home} has no site-packages", next_step="name a virtual environment or a Python"
            )
        return found[0]
    if target.is_file() and target.suffix not in (".whl", ".zip"):
        import json

        return Path(json.loads(run([target, "-I", "-c", _ASK], timeout=30.0).stdout))
    return None


def installed(site: Path, projects: Sequence[str]) -> Iterator[Distribution]:
    """The distributions of ``projects`` that are installed in a folder."""
    for distribution in distributions(path=[str(site)]):
        if canonicalize_name(distribution.name or "") in projects:
            yield distribution


def likely_name(distribution: Distribution) -> str:
    """The name of the wheel that a distribution came from, its tags apart."""
    return f"{distribution.name.replace('-', '_')}-{distribution.version}-py3-none-any.whl"


def wheel_of(distribution: Distribution, wheels: Mapping[str, bytes]) -> str | None:
    """Which of ``wheels`` (by file name) was installed: that of its version and of its tags."""
    said = [
        line.partition(":")[2].strip()
        for line in (distribution.read_text("WHEEL") or "").splitlines()
        if line.startswith("Tag:")
    ]
    for name in wheels:
        project, version, _, tags = parse_wheel_filename(name)
        same = project == canonicalize_name(distribution.name)
        if same and str(version) == distribution.version and set(said) == set(map(str, tags)):
            return name
    return None


def series_said(site: Path) -> str:
    """The digest of the series that the companion in a folder speaks of; or nothing."""
    try:
        return read_expected(site / EXPECTED).series
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""


def differences(distribution: Distribution, wheel: bytes) -> Iterator[str]:
    """In what an installed distribution is not what ``wheel`` would install."""
    site = Path(str(distribution.locate_file("")))
    with zipfile.ZipFile(BytesIO(wheel)) as archive:
        files = {i.filename: archive.read(i) for i in archive.infolist() if not i.is_dir()}
    record = next(name for name in files if name.endswith(".dist-info/RECORD"))
    rows = set(carried(read_record(files.pop(record).decode())))
    for name, data in sorted(files.items()):
        path = site / name
        if not path.is_file():
            yield f"{name} is missing"
        elif path.read_bytes() != data:
            yield f"{name} was altered"
    here = set(carried(read_record(distribution.read_text("RECORD") or "")))
    for name in sorted({row[0] for row in here ^ rows}):
        yield f"RECORD's row of {name} is not the wheel's"
    yield from (f"{name} is in no wheel" for name in strangers(site, files))
