"""Compare an environment with what its wheels would install, file by file.

RECORD is compared by its meaning (PEP 376): installers write it anew. What they add themselves,
such as INSTALLER and compiled modules, is skipped; any other module in the packages is reported.
"""

from __future__ import annotations

import json
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

_PRINT_FOLDER = "import json, sysconfig; print(json.dumps(sysconfig.get_path('purelib')))"


def site_packages(target: Path) -> Path | None:
    """Return the folder of installed files of a virtual environment or a Python, else None.

    A Python of a virtual environment is not run; another prints its folder.
    Raises CommandFailed if it does not, AuditFailed if an environment has no such folder.
    """
    home = target.parent.parent if target.is_file() else target
    if target.is_dir() and any(target.glob("*.dist-info")):
        return target
    if (home / "pyvenv.cfg").is_file():
        folders = [*home.glob("lib/python*/site-packages"), *home.glob("Lib/site-packages")]
        if not folders:
            raise AuditFailed(
                f"{home} has no site-packages", next_step="name a virtual environment or a Python"
            )
        return folders[0]
    if target.is_file() and target.suffix not in (".whl", ".zip"):
        output = run([target, "-I", "-c", _PRINT_FOLDER], timeout=30.0).stdout
        return Path(json.loads(output))
    return None


def find_installed(site: Path, projects: Sequence[str]) -> list[Distribution]:
    """Return the distributions of ``projects`` that are installed in a folder."""
    every = distributions(path=[str(site)])
    return [d for d in every if canonicalize_name(d.name or "") in projects]


def likely_name(distribution: Distribution) -> str:
    """Return the name of the wheel that a distribution came from, except for its tags."""
    return f"{distribution.name.replace('-', '_')}-{distribution.version}-py3-none-any.whl"


def installed_wheel(distribution: Distribution, names: Mapping[str, bytes]) -> str | None:
    """Return which wheel, by file name, was installed: that of its version and of its tags."""
    tags = {
        line.partition(":")[2].strip()
        for line in (distribution.read_text("WHEEL") or "").splitlines()
        if line.startswith("Tag:")
    }
    for name in names:
        project, version, _, own_tags = parse_wheel_filename(name)
        same = project == canonicalize_name(distribution.name)
        if same and str(version) == distribution.version and tags == set(map(str, own_tags)):
            return name
    return None


def claimed_series(site: Path) -> str:
    """Return the series' digest that the metapackage in a folder claims; empty without one."""
    try:
        return read_expected(site / EXPECTED).series
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""


def compare_installed(distribution: Distribution, wheel: bytes) -> Iterator[str]:
    """Yield each difference between an installed distribution and what ``wheel`` installs."""
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
    installed_rows = set(carried(read_record(distribution.read_text("RECORD") or "")))
    for name in sorted({row[0] for row in installed_rows ^ rows}):
        yield f"RECORD's row of {name} is not the wheel's"
    yield from (f"{name} is in no wheel" for name in strangers(site, files))
