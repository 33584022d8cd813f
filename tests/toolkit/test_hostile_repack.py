"""Wheels in which a fix would have no effect, or a partner would escape its pin."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from making import (
    AGENTS,
    ENGINE,
    PLUGIN,
    VERSION_FILES,
    contents_of,
    engine_patch,
    make_wheel,
    source,
    write_archive,
    write_series,
)
from packaging.version import Version

from toolkit.patches.series import Series
from toolkit.releases.verify import verify_repacked
from toolkit.util.errors import InvalidWheel
from toolkit.wheels.rewrite import rewrite as repack
from toolkit.wheels.wheelfile import Wheel

LOCAL = Version("1.8.9+dispatched.1")
PINS = {PLUGIN: Version("1.8.9")}
PATCHED = source(line9="first = 1").encode()
METADATA = "livekit_agents-1.8.9.dist-info/METADATA"
RECORD = "livekit_agents-1.8.9.dist-info/RECORD"


def said(tmp_path: Path, changes: dict[str, bytes]) -> str:
    """What repacking, or the gate behind it, says of a wheel with other members."""
    path = make_wheel(tmp_path / "official", AGENTS, "1.8.9")
    contents = contents_of(path) | changes
    del contents[RECORD]
    official = Wheel.open(write_archive(path, contents, RECORD))
    folder = write_series(tmp_path / "patches", {"a": {"1.0": engine_patch(line9="first = 1")}})
    series = Series.load(folder)
    version_file = VERSION_FILES[AGENTS]
    with pytest.raises(InvalidWheel) as caught:
        verify_repacked(
            official,
            repack(
                official,
                {ENGINE: PATCHED},
                version=LOCAL,
                pins=PINS,
                version_file=version_file,
                out_dir=tmp_path / "out",
            ),
            series=series,
            variants=series.variants_for(Version("1.8.9")),
            version=LOCAL,
            pins=PINS,
            version_file=version_file,
        )
    return caught.value.problem


@pytest.mark.parametrize(
    "name",
    [
        "livekit/agents/engine.abi3.so",
        "livekit/agents/engine.cpython-311-x86_64-linux-gnu.so",
        "livekit/agents/engine.pyd",
        "livekit/agents/engine.pyc",
        "livekit/agents/__pycache__/engine.cpython-311.pyc",
        "livekit/agents/engine/__init__.py",
        "livekit/agents/version.abi3.so",
    ],
)
def test_patched_module_that_python_would_not_import(tmp_path: Path, name: str) -> None:
    assert f"{name} would be imported instead" in said(tmp_path, {name: b"\x7fELF"})


def test_modules_beside_are_left_alone(tmp_path: Path) -> None:
    names = ("engines.so", "__pycache__/engine2.pyc", "engine.pyi", "engine/x.py", "other.abi3.so")
    path = make_wheel(tmp_path / "official", AGENTS, "1.8.9")
    contents = contents_of(path) | {f"livekit/agents/{name}": b"" for name in names}
    del contents[RECORD]
    official = Wheel.open(write_archive(path, contents, RECORD))
    out, version_file = tmp_path / "out", VERSION_FILES[AGENTS]
    changed = {ENGINE: PATCHED}
    assert repack(
        official, changed, version=LOCAL, pins=PINS, version_file=version_file, out_dir=out
    )


@pytest.mark.parametrize(
    "lines",
    [
        "Requires-Dist:\n livekit-plugins-openai>=1\n",
        "Requires-Dist: livekit-plugins-openai>=1,\n <2\n",
        "Requires-Dist: livekit-plugins-openai @ https://example.org/x.whl\n",
        "Requires-Dist: livekit-plugins-openai" + " " * 200_000 + "@\n",
        "Requires-Dist: livekit-plugins-openai[" + "[a" * 100_000 + "@\n",
        "Requires-Dist: >=1\n",
    ],
)
def test_partner_that_would_escape_its_pin(tmp_path: Path, lines: str) -> None:
    metadata = contents_of(make_wheel(tmp_path, AGENTS, "1.8.9"))[METADATA].decode()
    text = metadata.replace("\n\n", f"\n{lines}\n", 1)
    started = time.process_time()
    problem = said(tmp_path, {METADATA: text.encode()})
    assert "METADATA" in problem or "cannot be pinned" in problem
    assert time.process_time() - started < 5


def test_version_of_5000_digits(tmp_path: Path) -> None:
    text = f'__version__ = "1.8.{"9" * 5000}"\n'.encode()
    assert "no single line" in said(tmp_path, {VERSION_FILES[AGENTS]: text})
