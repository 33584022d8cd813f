"""Patches, tables and verdicts that were made to harm; the fuzzer found most of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from making import AGENTS
from packaging.version import Version

from toolkit.releases.catalogue import Catalogue, Entry, dump
from toolkit.releases.release import Artefact
from toolkit.util.errors import InvalidSeries

ARTEFACT = Artefact(
    distribution=AGENTS,
    version="1.8.9",
    filename="livekit_agents-1.8.9-py3-none-any.whl",
    url="",
    sha256="ab" * 32,
    size=1,
    upload_time=datetime(2026, 1, 2, tzinfo=UTC),
    requires_python=">=3.10",
    yanked=None,
)


def test_catalogue_keeps_any_reason(tmp_path: Path) -> None:
    """TOML has no halves of a character, which JSON has."""
    reason = 'broken 🙂 "quoted" \\ é'
    entry = Entry(Version("1.8.9"), (replace(ARTEFACT, yanked=reason),))
    path = tmp_path / "releases.toml"
    path.write_text(dump({entry.version: entry}), "utf-8")
    assert Catalogue.read(path)[entry.version] == entry


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("size = 1,", f"size = {'9' * 5000},"),
        ("size = 1,", f"size = {'[' * 5000},"),
        ("size = 1,", "size = -1,"),
        ("2026-01-02T00:00:00Z", "0001-01-01T00:00:00+14:00"),
        ("ab" * 32, "../../x"),
        ("ab" * 32, "AB" * 32),
        ('release."1.8.9"]', f'release."{"9" * 5000}"]'),
    ],
)
def test_catalogues_that_explode(tmp_path: Path, old: str, new: str) -> None:
    text = dump({Version("1.8.9"): Entry(Version("1.8.9"), (ARTEFACT,))})
    assert old in text
    path = tmp_path / "releases.toml"
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(InvalidSeries, match=r"releases\.toml is damaged"):
        dict(Catalogue.read(path))
