"""``patches/releases.toml``: which bytes carry which revision. Generated, and committed."""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from .errors import InvalidSeries
from .files import sha256, write_whole, writing
from .strict import Malformed, mapping_of, members

_HEADER = "# Generated: which revision of a release has which bytes. Never edit it by hand.\n"


@dataclass(frozen=True)
class Row:
    """What was recorded for a release: ``wheels`` maps patched file names to sha256 in hex."""

    revision: int
    series: str
    wheels: Mapping[str, str]


def read_ledger(path: Path) -> dict[Version, Row]:
    """Every row, by release; empty if there is no file. Raises InvalidSeries if it is damaged."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
        found = {}
        table = members(raw, path.name, {}, {"release": dict}).get("release", {})
        for name, value in table.items():
            where = f"{path.name}: {name}"
            row = members(value, where, {"revision": int, "series": str, "wheels": dict}, {})
            wheels = mapping_of(row["wheels"], str, where)
            found[Version(name)] = Row(row["revision"], row["series"], wheels)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, Malformed, InvalidVersion) as error:
        raise InvalidSeries(
            f"{path.name} is damaged: {error}", next_step=f"restore {path} from git"
        ) from error
    return found


def revision_for(row: Row | None, repack: Callable[[int], Mapping[str, str]]) -> int:
    """The revision for a release: it grows only when the bytes of its patched wheels change.

    ``repack`` makes the wheels at a revision and returns their sha256 by file name.
    """
    if row is None:
        return 1
    return row.revision if repack(row.revision) == row.wheels else row.revision + 1


def record(path: Path, release: Version, row: Row) -> None:
    """Put ``row`` in the ledger, sorted by release. Nothing is written if it stands there.

    Raises NotWritable, and InvalidSeries if the file that is there is damaged.
    """
    from filelock import FileLock

    # Not beside the ledger: the lock's file stays, and patches/ is under version control.
    name = f"livekit-dispatched-{sha256(str(path.resolve()).encode())[:16]}.lock"
    lock = FileLock(Path(tempfile.gettempdir(), name))
    with writing(path.parent), lock:
        rows = read_ledger(path)
        if rows.get(release) != row:
            write_whole(path, _dump({**rows, release: row}).encode())


def _dump(rows: Mapping[Version, Row]) -> str:
    parts = [_HEADER]
    for release, row in sorted(rows.items()):
        parts.append(
            f'\n[release."{release}"]\nrevision = {row.revision}\nseries = "{row.series}"\n'
            f'\n[release."{release}".wheels]\n'
        )
        # JSON's quoted strings are TOML's basic strings, for the ASCII of wheel names.
        parts += [f'{json.dumps(name)} = "{sha}"\n' for name, sha in sorted(row.wheels.items())]
    return "".join(parts)
