"""A release that upstream fixed: official wheels with the series in them, under a later version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from wheels import contents_of, write_archive

from toolkit.patches.series import Series
from toolkit.releases.official import OfficialWheels
from toolkit.releases.sources import apply_series, by_member


def plant(fetched: OfficialWheels, series: Series, version: str, folder: Path) -> list[Path]:
    """The official wheels of a release as upstream would make them at ``version``, having taken
    the series: no notices, no local version, no pins."""
    changed = by_member(series, apply_series(fetched, series))
    return [
        _again(path, changed.get(artefact.distribution, {}), version, folder)
        for path, artefact in zip(fetched.paths, fetched.release.artefacts, strict=True)
    ]


def _again(wheel: Path, changed: Mapping[str, bytes], version: str, folder: Path) -> Path:
    name, old, tag = wheel.stem.split("-", 2)
    was, now = f"{name}-{old}.dist-info/", f"{name}-{version}.dist-info/"
    contents = {}
    for member, text in contents_of(wheel).items():
        text = (
            re.sub(rb"# Modified by [^\n]*\n", b"", changed[member]) if member in changed else text
        )
        if member == f"{was}METADATA":
            text = text.replace(
                f"\nVersion: {old}\n".encode(), f"\nVersion: {version}\n".encode(), 1
            )
        elif member.endswith("version.py"):
            text = text.replace(f'"{old}"'.encode(), f'"{version}"'.encode())
        if member != f"{was}RECORD":
            contents[member.replace(was, now)] = text
    return write_archive(folder / f"{name}-{version}-{tag}.whl", contents, f"{now}RECORD")
